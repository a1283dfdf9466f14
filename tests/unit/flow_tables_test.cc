// The flow tables on DPDK's heap, which needs neither root nor hugepages here.
#include <rte_eal.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "lib/flow/proxy_table.hh"
#include "lib/flow/worker_table.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using flow::FlowIndex;
using flow::kNoFlow;
using flow::ProxyTable;
using flow::TagIndex;
using flow::WorkerTable;

WorkerTable make_table(uint32_t capacity) {
  auto table = WorkerTable::create(capacity, 0x5eed);
  if (!table) fail_msg("%s", table.error().message.c_str());
  return std::move(*table);
}

struct Client {
  wire::Endpoint endpoint;
  uint16_t vip = 0;
};

wire::IpAddress v6(uint32_t n) {
  uint8_t octets[16] = {0x20, 0x01, 0x0d, 0xb8};
  base::store_be32(octets + 12, n);
  return wire::IpAddress::load_v6(octets);
}

// Clients as a NAT shows them: few addresses, many ports. Every other one has IPv6.
Client client(uint32_t n) {
  const auto port = static_cast<uint16_t>(1024 + n % 50000);
  if (n % 2 != 0) return {{v6(n / 50000), port}, uint16_t(3 + n % 3)};
  return {{wire::IpAddress::v4(0xc6120000 + n / 50000), port}, uint16_t(n % 3)};
}

FlowIndex add(WorkerTable& table, const Client& c) { return table.add(c.endpoint, c.vip); }
FlowIndex lookup(const WorkerTable& table, const Client& c) {
  return table.lookup(c.endpoint, c.vip);
}

// What is promised is had, to the last flow, and not one more.
void test_worker_capacity(void**) {
  for (const uint32_t capacity : {1U, 7U, 8U, 9U, 64U, 1000U, 1024U, 20000U, 65536U}) {
    WorkerTable table = make_table(capacity);
    std::vector<bool> used(capacity);
    for (uint32_t n = 0; n < capacity; ++n) {
      const FlowIndex index = add(table, client(n));
      if (index == kNoFlow) fail_msg("%u of %u flows", n, capacity);
      assert_in_range(index, 0, table.index_limit() - 1);
      assert_false(used[index]);
      used[index] = true;
    }
    assert_int_equal(table.size(), capacity);
    assert_int_equal(add(table, client(capacity)), kNoFlow);
    assert_int_equal(table.size(), capacity);
    assert_int_equal(lookup(table, client(capacity)), kNoFlow);
    // One leaves, one comes.
    table.remove(lookup(table, client(capacity / 2)));
    assert_int_not_equal(add(table, client(capacity)), kNoFlow);
    assert_int_equal(add(table, client(capacity / 2)), kNoFlow);
  }
}

void test_worker_lookups_agree(void**) {
  WorkerTable table = make_table(5000);
  for (uint32_t n = 0; n < 5000; n += 2) assert_int_not_equal(add(table, client(n)), kNoFlow);
  std::mt19937 random(13);
  for (int i = 0; i < 3000; ++i) {
    const auto number = static_cast<uint32_t>(random() % 6000);
    const Client sought = client(number);
    WorkerTable::Search search = table.begin(sought.endpoint, sought.vip);
    table.fetch(search);
    const FlowIndex found = table.finish(search, sought.endpoint.address);
    const bool there = number < 5000 && number % 2 == 0;
    assert_int_equal(found != kNoFlow, there);
    assert_int_equal(found, lookup(table, client(number)));
    if (!there) continue;
    assert_int_equal(table[found].key.port, sought.endpoint.port);
    assert_int_equal(table[found].key.vip, sought.vip);
  }
}

// What happens to the table between the steps of a search counts.
void test_worker_search_sees_changes(void**) {
  enum class Change { none, add, remove, replace };
  for (const Change change : {Change::none, Change::add, Change::remove, Change::replace}) {
    for (const bool fetched : {true, false}) {
      WorkerTable table = make_table(100);
      for (uint32_t n = 0; n < 50; ++n) assert_int_not_equal(add(table, client(n)), kNoFlow);
      const uint32_t number = change == Change::add ? 70 : 7;
      const Client sought = client(number);
      WorkerTable::Search search = table.begin(sought.endpoint, sought.vip);
      if (fetched) table.fetch(search);
      if (change == Change::remove || change == Change::replace) {
        table.remove(lookup(table, client(number)));
      }
      // Takes the record that was given back.
      if (change == Change::replace) assert_int_not_equal(add(table, client(80)), kNoFlow);
      if (change == Change::add) assert_int_not_equal(add(table, client(number)), kNoFlow);
      if (!fetched) table.fetch(search);
      const FlowIndex found = table.finish(search, sought.endpoint.address);
      assert_int_equal(found, lookup(table, client(number)));
      assert_int_equal(found != kNoFlow, change == Change::none || change == Change::add);
    }
  }
}

// Each part of the key counts.
void test_worker_key(void**) {
  WorkerTable table = make_table(16);
  const auto v4 = [](uint32_t bits) { return wire::IpAddress::v4(bits); };
  const std::pair<Client, std::vector<Client>> rows[] = {
      {{{v4(0xc6120001), 5000}, 1},
       {{{v4(0xc6120002), 5000}, 1}, {{v4(0xc6120001), 5001}, 1}, {{v4(0xc6120001), 5000}, 0}}},
      {{{v6(1), 5000}, 2},
       {{{v6(2), 5000}, 2}, {{v6(1), 5001}, 2}, {{v6(1), 5000}, 3}, {{v4(1), 5000}, 2}}},
  };
  for (const auto& [base, others] : rows) {
    const FlowIndex index = add(table, base);
    assert_int_equal(lookup(table, base), index);
    assert_true(table.client_address(index, base.endpoint.address.is_v4()) ==
                base.endpoint.address);
    for (const Client& other : others) assert_int_equal(lookup(table, other), kNoFlow);
  }
}

// Of so many addresses, some must have the same 32-bit hash.
void test_worker_equal_hashes(void**) {
  constexpr uint32_t kCount = 400'000;
  WorkerTable table = make_table(kCount);
  std::set<uint32_t> hashes;
  std::vector<FlowIndex> flows;
  for (uint32_t n = 0; n < kCount; ++n) {
    flows.push_back(table.add({v6(n), 5000}, 1));
    hashes.insert(table[flows.back()].key.address);
  }
  assert_true(hashes.size() < kCount);
  const auto check = [&](uint32_t n, FlowIndex expected) {
    WorkerTable::Search search = table.begin({v6(n), 5000}, 1);
    table.fetch(search);
    assert_int_equal(table.finish(search, v6(n)), expected);
  };
  for (uint32_t n = 0; n < kCount; ++n) check(n, flows[n]);
  for (uint32_t n = 0; n < kCount; n += 2) table.remove(flows[n]);
  for (uint32_t n = 0; n < kCount; ++n) check(n, n % 2 == 0 ? kNoFlow : flows[n]);
}

void test_worker_generations(void**) {
  WorkerTable table = make_table(8);
  std::map<FlowIndex, uint16_t> latest;
  for (uint32_t n = 0; n < 70000; ++n) {
    const FlowIndex index = add(table, client(n));
    assert_true(table[index].state == flow::WorkerState::free);
    assert_int_equal(table.rest(index).client_id_hash, 0);
    assert_int_equal(table[index].proxy_flow, kNoFlow);
    assert_int_equal(table[index].flags, 0);
    const uint16_t generation = table.rest(index).generation;
    if (const auto it = latest.find(index); it != latest.end()) {
      assert_int_equal(generation, static_cast<uint16_t>(it->second + 1));
    }
    latest[index] = generation;
    table[index].state = flow::WorkerState::spliced;
    table[index].flags = 0xff;
    table[index].proxy_flow = 5;
    table.rest(index).client_id_hash = 99;
    table.remove(index);
    assert_true(table[index].state == flow::WorkerState::free);
    assert_int_equal(lookup(table, client(n)), kNoFlow);
  }
}

// Coming and going at a full table, against a std::map.
void test_worker_churn(void**) {
  constexpr uint32_t kCapacity = 30000;
  WorkerTable table = make_table(kCapacity);
  std::mt19937 random(14);
  std::map<uint32_t, FlowIndex> present;
  std::vector<uint32_t> numbers;
  for (uint32_t step = 0; step < 400000; ++step) {
    const bool come = present.size() < kCapacity && random() % 8 != 0;
    if (come) {
      const auto n = static_cast<uint32_t>(random() % 1'000'000);
      if (present.count(n) != 0) continue;
      const FlowIndex index = add(table, client(n));
      assert_int_not_equal(index, kNoFlow);
      present.emplace(n, index);
      numbers.push_back(n);
      continue;
    }
    std::swap(numbers[random() % numbers.size()], numbers.back());
    const auto it = present.find(numbers.back());
    numbers.pop_back();
    assert_int_equal(lookup(table, client(it->first)), it->second);
    table.remove(it->second);
    assert_int_equal(lookup(table, client(it->first)), kNoFlow);
    present.erase(it);
  }
  assert_int_equal(table.size(), present.size());
  std::set<FlowIndex> indices;
  for (const auto& [n, index] : present) {
    assert_int_equal(lookup(table, client(n)), index);
    assert_true(table.client_address(index, n % 2 == 0) == client(n).endpoint.address);
    assert_int_equal(table[index].key.port, client(n).endpoint.port);
    assert_true(indices.insert(index).second);
  }
}

// Keys that share a home bucket, and a tag too: all are found where they went, beyond the last
// bucket as well, and none once it left.
void test_index_of_crowded_buckets(void**) {
  constexpr uint32_t kKeys = 100;
  TagIndex index(kKeys);
  assert_true(index.valid());
  for (const uint64_t home : {0x00000000U, 0x80000000U, 0xffffffffU}) {
    for (const uint64_t tags : {1U, 3U, 256U}) {
      const auto place = [&](uint32_t n) { return index.place_of(home << 32 | n % tags); };
      const auto found = [&](uint32_t n) {
        return index.lookup(place(n), [n](FlowIndex i) { return i == n; });
      };
      for (uint32_t n = 0; n < kKeys; ++n) {
        assert_int_equal(found(n), kNoFlow);
        index.add(place(n), n);
      }
      assert_int_not_equal(index.first(place(0)), kNoFlow);
      for (uint32_t n = 0; n < kKeys; n += 2) index.remove(place(n), n);
      for (uint32_t n = 0; n < kKeys; ++n) assert_int_equal(found(n), n % 2 == 0 ? kNoFlow : n);
      for (uint32_t n = 0; n < kKeys; n += 2) index.add(place(n), n);
      for (uint32_t n = 0; n < kKeys; ++n) assert_int_equal(found(n), n);
      for (uint32_t n = kKeys; n-- > 0;) index.remove(place(n), n);
      for (uint32_t n = 0; n < kKeys; ++n) assert_int_equal(index.first(place(n)), kNoFlow);
    }
  }
}

// Sequential ports, one address: what a single NAT or a load generator looks like.
void test_worker_hash_spreads(void**) {
  WorkerTable table = make_table(60000);
  for (uint32_t port = 1024; port < 61024; ++port) {
    const wire::Endpoint client{wire::IpAddress::v4(0xc6120001), static_cast<uint16_t>(port)};
    assert_int_not_equal(table.add(client, 0), kNoFlow);
  }
}

void test_worker_refuses_too_much(void**) {
  const auto table = WorkerTable::create(100'000'000, 1);
  assert_false(table.has_value());
  assert_non_null(strstr(table.error().message.c_str(), "100000000"));
}

void test_proxy_table(void**) {
  for (const uint32_t capacity : {1U, 2U, 33U, 10000U}) {
    auto table = ProxyTable::create(capacity);
    assert_true(table.has_value());
    std::set<FlowIndex> taken;
    for (uint32_t i = 0; i < capacity; ++i) {
      const FlowIndex index = table->take();
      assert_in_range(index, 0, capacity - 1);
      assert_true(taken.insert(index).second);
      (*table)[index].state = flow::ProxyState::spliced;
      (*table)[index].client_port = 77;
      (*table)[index].worker_flow = 3;
    }
    assert_int_equal(table->take(), kNoFlow);
    assert_int_equal(table->size(), capacity);
    assert_int_equal(table->capacity(), capacity);
    // Given back in another order, all can be had again, and fresh.
    std::vector<FlowIndex> order(taken.begin(), taken.end());
    std::shuffle(order.begin(), order.end(), std::mt19937(15));
    for (const FlowIndex index : order) {
      table->give_back(index);
      assert_true((*table)[index].state == flow::ProxyState::free);
    }
    assert_int_equal(table->size(), 0);
    for (uint32_t i = 0; i < capacity; ++i) {
      const FlowIndex index = table->take();
      assert_int_equal(taken.erase(index), 1);
      assert_int_equal((*table)[index].client_port, 0);
      assert_int_equal((*table)[index].worker_flow, kNoFlow);
    }
    assert_int_equal(table->take(), kNoFlow);
  }
  assert_false(ProxyTable::create(100'000'000).has_value());
}

bool start_eal(char* program) {
  const char* arguments[] = {program, "--no-huge", "--no-shconf", "--no-pci",  "--no-telemetry",
                             "-m",    "64",        "--log-level", "*:critical"};
  std::vector<char*> argv;
  for (const char* a : arguments) argv.push_back(const_cast<char*>(a));
  return rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0;
}

}  // namespace

int main(int, char** argv) {
  if (!start_eal(argv[0])) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_worker_capacity),
      cmocka_unit_test(test_worker_lookups_agree),
      cmocka_unit_test(test_worker_search_sees_changes),
      cmocka_unit_test(test_worker_key),
      cmocka_unit_test(test_worker_equal_hashes),
      cmocka_unit_test(test_worker_generations),
      cmocka_unit_test(test_index_of_crowded_buckets),
      cmocka_unit_test(test_worker_churn),
      cmocka_unit_test(test_worker_hash_spreads),
      cmocka_unit_test(test_worker_refuses_too_much),
      cmocka_unit_test(test_proxy_table),
  };
  const int failed = cmocka_run_group_tests(tests, nullptr, nullptr);
  rte_eal_cleanup();
  return failed;
}
