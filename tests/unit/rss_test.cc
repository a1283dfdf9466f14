// RSS: what is asked of a port, what the port says it does, and what it does.
#include "lib/dpdk/rss.hh"

#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_thash.h>

#include <algorithm>
#include <random>

#include "lib/dpdk/ports.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using config::CoreRole;
using config::PortRole;
using dpdk::RssAbility;
using dpdk::RssKey;
using dpdk::Spread;
using wire::Endpoint;
using wire::IpAddress;

constexpr uint64_t kTcp = RTE_ETH_RSS_NONFRAG_IPV4_TCP;

RssKey some_key() {
  RssKey key;
  std::mt19937 random(3);
  for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
  return key;
}

// A device of which each call can be made to fail or to lie.
struct FakeDevice : dpdk::RssDevice {
  bool writes_hash = true, reads_hash = true, writes_table = true, reads_table = true;
  size_t wrong_key_byte = SIZE_MAX, wrong_entry = SIZE_MAX;
  uint64_t knows = ~uint64_t{0};

  uint64_t functions = 0;
  std::vector<uint8_t> key;
  std::vector<uint16_t> table;

  bool write_hash(uint64_t f, std::span<const uint8_t> k) override {
    if (!writes_hash) return false;
    functions = f & knows;
    key.assign(k.begin(), k.end());
    if (wrong_key_byte < key.size()) key[wrong_key_byte] ^= 1;
    return true;
  }
  bool read_hash(uint64_t& f, std::span<uint8_t> k) override {
    f = functions;
    std::copy_n(key.begin(), std::min(key.size(), k.size()), k.begin());
    return reads_hash;
  }
  bool write_table(std::span<const uint16_t> t) override {
    if (!writes_table) return false;
    table.assign(t.begin(), t.end());
    if (wrong_entry < table.size()) ++table[wrong_entry];
    return true;
  }
  bool read_table(std::span<uint16_t> t) override {
    std::copy_n(table.begin(), std::min(table.size(), t.size()), t.begin());
    return reads_table;
  }
};

void test_what_a_device_says(void**) {
  const struct {
    const char* what;
    void (*adjust)(FakeDevice& device);
    Spread spread;
  } rows[] = {
      {"does as it is told", [](FakeDevice&) {}, Spread::rss},
      {"does not say its key", [](FakeDevice& d) { d.reads_hash = false; }, Spread::hand_over},
      {"does not say its table", [](FakeDevice& d) { d.reads_table = false; }, Spread::hand_over},
      {"keeps another key", [](FakeDevice& d) { d.writes_hash = false; }, Spread::rss_mismatch},
      {"keeps another table", [](FakeDevice& d) { d.writes_table = false; }, Spread::rss_mismatch},
      {"has one byte of the key wrong", [](FakeDevice& d) { d.wrong_key_byte = 15; },
       Spread::rss_mismatch},
      {"has one entry wrong", [](FakeDevice& d) { d.wrong_entry = 127; }, Spread::rss_mismatch},
      {"hashes addresses only", [](FakeDevice& d) { d.knows = RTE_ETH_RSS_IPV4; },
       Spread::rss_mismatch},
  };
  const RssKey key = some_key();
  const RssAbility ability{kTcp | RTE_ETH_RSS_IPV4, 40, 128};
  const auto table = dpdk::rss_table(128, 128, 3);
  for (const auto& row : rows) {
    print_message("  %s\n", row.what);
    FakeDevice device;
    row.adjust(device);
    assert_int_equal(dpdk::program_rss(device, ability, std::span(key).first(40), table),
                     row.spread);
  }
  // Refuses to be told, but has all from its configuration.
  FakeDevice device;
  assert_int_equal(dpdk::program_rss(device, ability, std::span(key).first(40), table),
                   Spread::rss);
  device.writes_hash = device.writes_table = false;
  assert_int_equal(dpdk::program_rss(device, ability, std::span(key).first(40), table),
                   Spread::rss);
}

void test_what_can_be_foretold(void**) {
  const struct {
    RssAbility ability;
    bool foretells;
  } rows[] = {
      {{kTcp, 40, 128}, true},
      {{kTcp, 52, 512}, true},
      {{kTcp, 64, 2048}, true},
      {{kTcp, 16, 1}, true},
      {{RTE_ETH_RSS_IPV4, 40, 128}, false},
      {{0, 40, 128}, false},
      {{kTcp, 12, 128}, false},  // shorter than what reaches the hash
      {{kTcp, 65, 128}, false},  // longer than what we have
      {{kTcp, 40, 0}, false},
      {{kTcp, 40, 96}, false},
  };
  for (const auto& row : rows) assert_int_equal(row.ability.foretells(), row.foretells);
}

void test_what_it_comes_to(void**) {
  const struct {
    Spread spread;
    uint64_t missteered;
    Spread comes_to;
  } rows[] = {
      {Spread::rss, 0, Spread::rss},
      {Spread::rss, 64, Spread::rss},
      {Spread::rss, 65, Spread::rss_mismatch},
      {Spread::rss, UINT64_MAX, Spread::rss_mismatch},
      {Spread::rss_mismatch, 0, Spread::rss_mismatch},
      {Spread::hand_over, 1000, Spread::hand_over},
      {Spread::one_queue, 1000, Spread::one_queue},
      {Spread::one_core, 1000, Spread::one_core},
  };
  for (const auto& row : rows) {
    assert_int_equal(dpdk::judge(row.spread, row.missteered), row.comes_to);
  }
}

// Ports with tables of different sizes bring the same packet to the same queue.
void test_tables_agree(void**) {
  for (const uint16_t queues : std::initializer_list<uint16_t>{1, 2, 3, 5, 16}) {
    const auto small = dpdk::rss_table(128, 128, queues);
    for (const size_t entries : {128U, 256U, 512U, 2048U}) {
      const auto table = dpdk::rss_table(entries, 128, queues);
      assert_int_equal(table.size(), entries);
      for (size_t i = 0; i < entries; ++i) {
        assert_int_equal(table[i], small[i % 128]);
        assert_true(table[i] < queues);
      }
    }
  }
}

struct Deployment {
  const char* name;
  std::vector<PortRole> ports;
  std::vector<CoreRole> cores;
  bool with_key;
  std::vector<Spread> spreads;
};

// Where a port with this key and table brings a packet, by DPDK's own arithmetic.
uint16_t queue_by_dpdk(uint16_t port, const Endpoint& source, const Endpoint& destination) {
  alignas(4) std::array<uint8_t, 40> key{};
  rte_eth_rss_conf conf{};
  conf.rss_key = key.data();
  conf.rss_key_len = key.size();
  assert_int_equal(rte_eth_dev_rss_hash_conf_get(port, &conf), 0);
  rte_eth_rss_reta_entry64 table[2]{};
  table[0].mask = table[1].mask = ~uint64_t{0};
  assert_int_equal(rte_eth_dev_rss_reta_query(port, table, 128), 0);
  uint32_t tuple[3] = {source.address.v4_bits(), destination.address.v4_bits(),
                       uint32_t{source.port} << 16 | destination.port};
  const uint32_t hash = rte_softrss(tuple, 3, key.data()) % 128;
  return table[hash / 64].reta[hash % 64];
}

// The core that polls the queue is the one that the steering names.
void expect_agreement(const dpdk::Ports& ports, config::PortId port, size_t cores,
                      const flow::Steering& steering) {
  assert_true(steering.known());
  std::mt19937 random(port);
  for (int i = 0; i < 1000; ++i) {
    const Endpoint source{IpAddress::v4(static_cast<uint32_t>(random())),
                          static_cast<uint16_t>(random())};
    const Endpoint destination{IpAddress::v4(0xc612000a), 1883};
    const uint16_t queue = queue_by_dpdk(ports.dpdk_port(port), source, destination);
    size_t polled_by = SIZE_MAX;
    for (size_t core = 0; core < cores; ++core) {
      for (const dpdk::RxQueue& q : ports.queues_of(core)) {
        if (q.port == port && q.queue == queue) polled_by = core;
      }
    }
    assert_int_equal(steering.core_for(source, destination), polled_by);
  }
}

const std::vector<Deployment>& deployments() {
  using enum CoreRole;
  static const std::vector<Deployment> table{
      {"one core of both",
       {PortRole::client, PortRole::backend},
       {both},
       true,
       {Spread::one_core, Spread::one_core}},
      {"two of both",
       {PortRole::client, PortRole::backend},
       {both, both},
       true,
       {Spread::rss, Spread::rss}},
      {"two of both, without a key",
       {PortRole::client, PortRole::backend},
       {both, both},
       false,
       {Spread::hand_over, Spread::hand_over}},
      {"three workers, two proxies",
       {PortRole::client, PortRole::backend},
       {worker, proxy, worker, proxy, worker},
       true,
       {Spread::rss, Spread::rss}},
      {"one worker, two proxies",
       {PortRole::client, PortRole::backend},
       {worker, proxy, proxy},
       true,
       {Spread::one_core, Spread::rss}},
      {"two ports for clients",
       {PortRole::client, PortRole::client, PortRole::backend},
       {worker, worker, proxy, both},
       true,
       {Spread::rss, Spread::rss, Spread::rss}},
      {"one port for all, cores of both",
       {PortRole::both},
       {both, both, both},
       true,
       {Spread::rss}},
      {"one port for all, cores of one role",
       {PortRole::both},
       {worker, proxy},
       true,
       {Spread::hand_over}},
  };
  return table;
}

size_t null_ports() {
  size_t n = 0;
  for (const Deployment& row : deployments()) n += row.ports.size();
  return n;
}

// A device of DPDK that can be programmed; closing a port takes it away, so each has its own.
void test_programmed_device(void**) {
  const RssKey key = some_key();
  unsigned next = 0;
  for (const Deployment& row : deployments()) {
    print_message("  %s\n", row.name);
    std::vector<config::Port> models;
    for (const PortRole role : row.ports) {
      const std::string n = std::to_string(next++);
      models.push_back({"port" + n, "net_null" + n, role, 1500, {}});
    }
    auto ports = dpdk::Ports::start(models, row.cores, row.with_key ? &key : nullptr);
    if (!ports) print_error("%s\n", ports.error().message.c_str());
    assert_true(ports.has_value());
    bool clients = false;
    bool brokers = false;
    for (size_t i = 0; i < models.size(); ++i) {
      const auto id = static_cast<config::PortId>(i);
      assert_string_equal(dpdk::to_string(ports->spread(id)), dpdk::to_string(row.spreads[i]));
      if (row.spreads[i] != Spread::rss) continue;
      if (row.ports[i] != PortRole::backend) {
        expect_agreement(*ports, id, row.cores.size(), ports->from_clients());
        clients = true;
      }
      if (row.ports[i] != PortRole::client) {
        expect_agreement(*ports, id, row.cores.size(), ports->from_brokers());
        brokers = true;
      }
    }
    assert_int_equal(ports->from_clients().known(), clients);
    assert_int_equal(ports->from_brokers().known(), brokers);
  }
}

bool start_eal() {
  std::vector<std::string> arguments{
      "test", "--no-huge", "--no-shconf", "--no-pci",       "-m",
      "128",  "-l",        "0",           "--no-telemetry", "--log-level=error"};
  for (size_t i = 0; i < null_ports(); ++i) {
    arguments.push_back("--vdev=net_null" + std::to_string(i));
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  return rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0;
}

}  // namespace

int main() {
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_what_a_device_says), cmocka_unit_test(test_what_can_be_foretold),
      cmocka_unit_test(test_what_it_comes_to),   cmocka_unit_test(test_tables_agree),
      cmocka_unit_test(test_programmed_device),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
