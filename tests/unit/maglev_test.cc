// Maglev by its properties: no holes, the same everywhere, weights kept, few keys moved.
#include "lib/maglev/maglev.hh"

#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "tests/support/cmocka.hh"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MQLB_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MQLB_SANITIZED
#endif

namespace {

using namespace mqlb::maglev;
using mqlb::base::as_bytes;

constexpr uint32_t kSize = 65537;

std::vector<Member> make_members(size_t count, uint32_t weight = 1) {
  std::vector<Member> members;
  for (size_t i = 0; i < count; ++i) members.push_back({"broker-" + std::to_string(i), weight});
  return members;
}

std::vector<uint32_t> count_slots(const Table& table, size_t members) {
  std::vector<uint32_t> counts(members);
  for (const MemberIndex m : table.slots()) {
    assert_in_range(m, 0, members - 1);
    ++counts[m];
  }
  return counts;
}

// The share of slots whose member's name differs.
double share_moved(const std::vector<Member>& before, const std::vector<Member>& after) {
  const Table a = Table::build(before, kSize);
  const Table b = Table::build(after, kSize);
  size_t moved = 0;
  for (uint32_t i = 0; i < kSize; ++i) {
    moved += before[a.slots()[i]].name != after[b.slots()[i]].name ? 1U : 0U;
  }
  return static_cast<double>(moved) / kSize;
}

bool same_slots(const Table& a, const Table& b) { return std::ranges::equal(a.slots(), b.slots()); }

void test_no_holes(void**) {
  const struct {
    size_t members;
    uint32_t size;
  } rows[] = {{1, 2}, {1, 65537}, {2, 3}, {4, 5}, {96, 97}, {3, 251}, {100, 65537}, {1000, 65537}};
  for (const auto& row : rows) {
    const Table table = Table::build(make_members(row.members), row.size);
    assert_int_equal(table.size(), row.size);
    assert_false(table.empty());
    const auto counts = count_slots(table, row.members);
    const auto [least, most] = std::ranges::minmax(counts);
    // Equal weights take turns: the counts differ by one at most.
    assert_true(least >= 1 && most - least <= 1);
  }
}

void test_largest_table(void**) {
  const Table table = Table::build(make_members(65535), kSize);
  const auto counts = count_slots(table, 65535);
  assert_int_equal(*std::ranges::min_element(counts), 1);
}

void test_refuses_what_it_cannot_fill(void**) {
  assert_true(Table().empty());
  assert_true(Table::build({}, kSize).empty());
  const struct {
    size_t members;
    uint32_t size;
    uint32_t weight;
  } rows[] = {{3, 0, 1}, {3, 1, 1},         {1, 1, 1},     {3, 65536, 1}, {3, 3, 1},
              {5, 3, 1}, {65536, 65537, 1}, {3, 65537, 0}, {3, 9, 1},     {3, 25, 1}};
  for (const auto& row : rows) {
    const Table table = Table::build(make_members(row.members, row.weight), row.size);
    assert_true(table.empty());
    assert_int_equal(table.size(), 0);
    table.walk(7, [](MemberIndex) -> bool {
      fail_msg("%s", "an empty table has a member");
      return false;
    });
  }
}

void test_weight_zero_gets_nothing(void**) {
  auto members = make_members(3);
  members[1].weight = 0;
  const Table table = Table::build(members, 251);
  const auto counts = count_slots(table, 3);
  assert_int_equal(counts[1], 0);
  assert_int_equal(counts[0] + counts[2], 251);
  // The same as if it were not there at all.
  const Table without = Table::build(std::vector<Member>{members[0], members[2]}, 251);
  for (uint32_t i = 0; i < 251; ++i) {
    assert_int_equal(table.slots()[i], without.slots()[i] == 0 ? 0 : 2);
  }
}

void test_same_in_any_order(void**) {
  std::mt19937 random(1);
  auto members = make_members(50);
  for (size_t i = 0; i < members.size(); ++i) members[i].weight = static_cast<uint32_t>(i % 7 + 1);
  const Table first = Table::build(members, kSize);
  assert_true(same_slots(first, Table::build(members, kSize)));
  for (int round = 0; round < 3; ++round) {
    auto shuffled = members;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const Table other = Table::build(shuffled, kSize);
    for (uint32_t i = 0; i < kSize; ++i) {
      assert_true(members[first.slots()[i]].name == shuffled[other.slots()[i]].name);
    }
  }
}

void test_weights_are_kept(void**) {
  const std::vector<uint32_t> rows[] = {
      {1, 1, 1},
      {1, 2, 3},
      {100, 100, 50},
      {1, 10, 100},
      {7, 7, 7, 7, 13},
      {65535, 1, 65535},
      {0xffffffff, 0xffffffff, 0x7fffffff},
      {1, 0xffffffff},
  };
  for (const auto& weights : rows) {
    auto members = make_members(weights.size());
    double total = 0;
    for (size_t i = 0; i < weights.size(); ++i) total += members[i].weight = weights[i];
    const auto counts = count_slots(Table::build(members, kSize), members.size());
    for (size_t i = 0; i < weights.size(); ++i) {
      const double expected = kSize * (weights[i] / total);
      // Members round up: each may have one more than its share, and lose one to each other.
      assert_true(std::abs(counts[i] - expected) <= static_cast<double>(weights.size()));
      assert_true(counts[i] >= 1);
    }
  }
}

void test_only_proportions_matter(void**) {
  auto members = make_members(10);
  auto scaled = members;
  for (size_t i = 0; i < members.size(); ++i) {
    members[i].weight = static_cast<uint32_t>(i + 1);
    scaled[i].weight = members[i].weight * 1000;
  }
  assert_true(same_slots(Table::build(members, kSize), Table::build(scaled, kSize)));
}

void test_keys_spread_evenly(void**) {
  constexpr size_t kMembers = 10;
  constexpr size_t kKeys = 1'000'000;
  const Table table = Table::build(make_members(kMembers), kSize);
  std::vector<uint32_t> counts(kMembers);
  for (size_t i = 0; i < kKeys; ++i) {
    ++counts[table.lookup(hash_key(as_bytes("device-" + std::to_string(i)), 0))];
  }
  for (const uint32_t n : counts) {
    assert_true(std::abs(n / (kKeys / 10.0) - 1.0) < 0.02);
  }
}

void test_few_keys_move(void**) {
  for (const size_t n : {3U, 10U, 100U}) {
    const auto all = make_members(n);
    const double most = 1.0 / static_cast<double>(n) + 0.01;
    for (size_t gone = 0; gone < std::min<size_t>(n, 10); ++gone) {
      auto fewer = all;
      fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(gone));
      assert_true(share_moved(all, fewer) <= most);
    }
    assert_true(share_moved(all, make_members(n + 1)) <= most);
  }
}

void test_a_changed_weight_moves_few_keys(void**) {
  const struct {
    size_t members;
    uint32_t from, to;
  } rows[] = {{3, 100, 50}, {3, 100, 99}, {10, 100, 50}, {10, 100, 200}, {100, 100, 10}};
  for (const auto& row : rows) {
    auto before = make_members(row.members, 100);
    auto after = before;
    before[1].weight = row.from;
    after[1].weight = row.to;
    const double others = 100.0 * static_cast<double>(row.members - 1);
    const double least = std::abs(row.from / (others + row.from) - row.to / (others + row.to));
    const double moved = share_moved(before, after);
    assert_true(moved >= least - 0.001);
    assert_true(moved <= least + 0.02);
  }
}

// The first members that a walk meets, at most so many.
std::vector<MemberIndex> met_from(const Table& table, uint64_t hash, size_t most) {
  std::vector<MemberIndex> met;
  table.walk(hash, [&](MemberIndex m) {
    met.push_back(m);
    return met.size() < most;
  });
  return met;
}

void test_walk(void**) {
  auto members = make_members(200);
  members[3].weight = 50;
  members[5].weight = 0;
  members[199].weight = 50;
  const Table table = Table::build(members, kSize);
  for (uint64_t key = 0; key < 200; ++key) {
    const uint64_t hash = hash_key(as_bytes(std::to_string(key)), 9);
    const auto few = met_from(table, hash, 4);
    assert_int_equal(few.size(), 4);
    assert_int_equal(few[0], table.lookup(hash));
    auto all = met_from(table, hash, 1000);
    assert_int_equal(all.size(), 199);  // all but the one without a weight
    assert_true(std::equal(few.begin(), few.end(), all.begin()));
    std::sort(all.begin(), all.end());
    assert_true(std::adjacent_find(all.begin(), all.end()) == all.end());
    assert_true(std::find(all.begin(), all.end(), 5) == all.end());
  }
}

// The second that a key meets is any of the others, as often as its weight says.
void test_walk_spreads(void**) {
  for (const size_t count : {3U, 4U, 5U, 10U, 20U}) {
    auto members = make_members(count);
    members[1].weight = 2;
    const Table table = Table::build(members, kSize);
    for (MemberIndex first = 0; first < count; ++first) {
      std::vector<double> second(count, 0);
      double keys = 0;
      for (uint64_t key = 0; key < 100'000; ++key) {
        const uint64_t hash = hash_key(as_bytes(std::to_string(key)), 9);
        if (table.lookup(hash) != first) continue;
        ++second[met_from(table, hash, 2)[1]];
        ++keys;
      }
      const double weights = static_cast<double>(count + 1) - members[first].weight;
      for (MemberIndex m = 0; m < count; ++m) {
        const double expected = m == first ? 0 : keys * members[m].weight / weights;
        assert_true(std::abs(second[m] - expected) <= 0.1 * expected + 3 * std::sqrt(expected));
      }
    }
  }
}

void test_hash_golden(void**) {
  // From xxHash 0.8.1, whose XXH3 is frozen; a change would move every client of a running fleet.
  const struct {
    const char* key;
    uint64_t seed, hash;
  } rows[] = {
      {"", 0, 0x2d06800538d394c2},
      {"device-1", 0, 0xf0a3ba592295c4a5},
      {"device-1", 1, 0x06db3f78e764a55d},
      {"a-client-identifier-of-more-than-sixteen-bytes", 42, 0xf488e4dd9f89d586},
  };
  for (const auto& row : rows) {
    assert_int_equal(hash_key(as_bytes(row.key), row.seed), row.hash);
  }
  const std::string longest(65535, 'x');
  assert_int_equal(hash_key(as_bytes(longest), 7), 0x3ccf691c32a973d7);
}

void test_table_golden(void**) {
  auto members = make_members(7);
  members[2].weight = 3;
  const struct {
    uint32_t size;
    uint64_t hash;
  } rows[] = {{13, 0xfa5ec12a907c7eb3}, {kSize, 0x164465ccc7a34b9f}};
  for (const auto& row : rows) {
    const Table table = Table::build(members, row.size);
    std::string text;
    for (const MemberIndex m : table.slots()) text.push_back(static_cast<char>('0' + m));
    // Every balancer of a fleet must build this very table, old release and new.
    assert_int_equal(hash_key(as_bytes(text), 0), row.hash);
  }
}

void test_is_prime(void**) {
  const struct {
    uint32_t n;
    bool prime;
  } rows[] = {{0, false},          {1, false},           {2, true},
              {3, true},           {4, false},           {9, false},
              {25, false},         {97, true},           {65536, false},
              {65537, true},       {65539, true},        {655373, true},
              {4294967291U, true}, {4294967295U, false}, {4294836225U /* 65535^2 */, false}};
  for (const auto& row : rows) assert_int_equal(is_prime(row.n), row.prime);
}

// Of this thread only: what else the machine does must not fail the test.
std::chrono::microseconds cpu_time() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::microseconds(now.tv_sec * 1'000'000 + now.tv_nsec / 1'000);
}

void test_build_time(void**) {
  const auto members = make_members(1000);
  auto best = std::chrono::microseconds::max();
  for (int i = 0; i < 5; ++i) {
    const auto start = cpu_time();
    const Table table = Table::build(members, kSize);
    best = std::min(best, cpu_time() - start);
    assert_int_equal(table.size(), kSize);
  }
  print_message("1,000 members, 65,537 slots: %ld us\n", static_cast<long>(best.count()));
#if defined(__OPTIMIZE__) && !defined(MQLB_SANITIZED)
  assert_in_range(best.count(), 0, 20'000);
#endif
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_no_holes),
      cmocka_unit_test(test_largest_table),
      cmocka_unit_test(test_refuses_what_it_cannot_fill),
      cmocka_unit_test(test_weight_zero_gets_nothing),
      cmocka_unit_test(test_same_in_any_order),
      cmocka_unit_test(test_weights_are_kept),
      cmocka_unit_test(test_only_proportions_matter),
      cmocka_unit_test(test_keys_spread_evenly),
      cmocka_unit_test(test_few_keys_move),
      cmocka_unit_test(test_a_changed_weight_moves_few_keys),
      cmocka_unit_test(test_walk),
      cmocka_unit_test(test_walk_spreads),
      cmocka_unit_test(test_hash_golden),
      cmocka_unit_test(test_table_golden),
      cmocka_unit_test(test_is_prime),
      cmocka_unit_test(test_build_time),
  };
  return cmocka_run_group_tests_name("maglev", tests, nullptr, nullptr);
}
