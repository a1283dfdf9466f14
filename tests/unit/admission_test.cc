// Rates against a plain bucket, networks against a search of all, sources under attack.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "lib/admission/prefix_set.hh"
#include "lib/admission/rate_cell.hh"
#include "lib/admission/source_table.hh"
#include "lib/base/random.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using admission::PrefixSet;
using admission::Rate;
using admission::RateCell;
using admission::SourceLimits;
using admission::SourceTable;
using admission::Verdict;
using base::Instant;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr Instant kStart{seconds(1000)};

// A bucket that fills at the rate, in exact fractions of an event.
void test_rate_agrees_with_bucket(void**) {
  const struct {
    uint32_t events, per, burst;
  } rows[] = {{1, 1, 1}, {100, 1, 1}, {100, 1, 50}, {5, 60, 3}, {1'000'000, 1, 10}, {8, 1, 0}};
  base::Random random(7);
  for (const auto& row : rows) {
    const Rate rate = Rate::per(row.events, row.per, row.burst);
    const int64_t cost = int64_t{row.per} * 1'000'000'000 / row.events;
    const int64_t most = cost * std::max<int64_t>(row.burst, 1);
    RateCell cell;
    Instant now = kStart;
    int64_t level = most;
    int taken = 0;
    for (int i = 0; i < 20000; ++i) {
      const auto step = static_cast<int64_t>(random.below(static_cast<uint64_t>(cost) / 1000 + 1));
      now += microseconds(step);
      level = std::min(most, level + step * 1000);
      const bool expected = level >= cost;
      assert_int_equal(cell.is_over(rate, now), !expected);
      assert_int_equal(cell.take(rate, now), expected);
      if (expected) level -= cost;
      taken += expected ? 1 : 0;
      assert_int_equal(cell.is_idle(now), level == most);
    }
    assert_true(taken > 0 && taken < 20000);
  }
}

void test_no_rate_is_no_limit(void**) {
  RateCell cell;
  for (const Rate& rate : {Rate{}, Rate::per(0, 1, 5), Rate::per(5, 0, 5)}) {
    for (int i = 0; i < 1000; ++i) assert_true(cell.take(rate, kStart));
    assert_false(cell.is_over(rate, kStart));
  }
  assert_true(cell.is_idle(kStart));
}

// What a rate left behind does not outlive its change, whichever way it was changed.
void test_rate_changes(void**) {
  const Rate rates[] = {Rate::per(1, 1, 1000), Rate::per(1, 3600, 5), Rate::per(100, 1, 1),
                        Rate::per(10, 1, 10)};
  for (const Rate& before : rates) {
    for (const Rate& after : rates) {
      RateCell cell;
      Instant now = kStart;
      while (cell.take(before, now)) {
      }
      if (!cell.is_over(after, now)) (void)cell.take(after, now);
      // Its next comes at most an interval and a second later, and never two in one interval.
      now += microseconds(after.interval / 1000 + 1'000'001);
      assert_false(cell.is_over(after, now));
      assert_true(cell.take(after, now));
    }
  }
}

wire::IpAddress random_v6(base::Random& random) {
  // Few different bits, so that prefixes hold each other and some addresses.
  uint8_t octets[16] = {0x20, 0x01, 0x0d, 0xb8};
  for (int i = 4; i < 16; ++i) octets[i] = random.chance(0.7) ? 0 : uint8_t(random.below(4));
  return wire::IpAddress::load_v6(octets);
}
wire::IpAddress random_address(base::Random& random) {
  if (random.chance(0.5)) return random_v6(random);
  return wire::IpAddress::v4(0xc6120000U | static_cast<uint32_t>(random.below(1U << 17)));
}

void test_prefixes_agree_with_search_of_all(void**) {
  base::Random random(11);
  for (int round = 0; round < 200; ++round) {
    std::vector<wire::Prefix> prefixes;
    for (uint64_t n = random.below(40); n > 0; --n) {
      const wire::IpAddress address = random_address(random);
      const auto length = address.is_v4() ? random.between(16, 32) : random.between(28, 128);
      prefixes.push_back({address, static_cast<uint8_t>(length)});
    }
    const PrefixSet set(prefixes);
    assert_int_equal(set.empty(), prefixes.empty());
    for (int i = 0; i < 300; ++i) {
      const wire::IpAddress address = random_address(random);
      bool expected = false;
      for (const auto& prefix : prefixes) expected = expected || prefix.contains(address);
      assert_int_equal(set.contains(address), expected);
    }
    for (const auto& prefix : prefixes) assert_true(set.contains(prefix.address));
  }
}

void test_prefix_borders(void**) {
  const struct {
    const char* prefix;
    const char* inside;
    const char* outside;
  } rows[] = {
      {"0.0.0.0/0", "255.255.255.255", "::1"},
      {"::/0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "198.18.0.1"},
      {"::/64", "::ffff", "198.18.0.1"},
      {"198.18.0.1/32", "198.18.0.1", "198.18.0.2"},
      {"198.18.0.9/24", "198.18.0.255", "198.18.1.0"},
      {"255.255.255.255/32", "255.255.255.255", "255.255.255.254"},
      {"2001:db8::/64", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"},
      {"2001:db8:8000::/33", "2001:db8:ffff::", "2001:db8:7fff:ffff::"},
      {"2001:db8::8000/113", "2001:db8::ffff", "2001:db8::1:0"},
  };
  for (const auto& row : rows) {
    const wire::Prefix prefix = *wire::Prefix::parse(row.prefix);
    const PrefixSet set(std::span(&prefix, 1));
    assert_true(set.contains(*wire::IpAddress::parse(row.inside)));
    assert_false(set.contains(*wire::IpAddress::parse(row.outside)));
  }
}

// Sources of one bucket, however large the table: the upper bits are the same.
uint64_t crowd(uint64_t n) { return 0xabcd'0000'0000'0001U + n; }

void test_source_limits(void**) {
  SourceTable table(64);
  const SourceLimits limits{3, Rate::per(10, 1, 5)};
  for (int i = 0; i < 3; ++i) {
    assert_int_equal(table.peek(1, limits, kStart), Verdict::counted);
    assert_int_equal(table.enter(1, limits, kStart), Verdict::counted);
  }
  assert_int_equal(table.peek(1, limits, kStart), Verdict::full);
  assert_int_equal(table.enter(1, limits, kStart), Verdict::full);
  table.leave(1);
  assert_int_equal(table.enter(1, limits, kStart), Verdict::counted);
  table.leave(1);
  assert_int_equal(table.enter(1, limits, kStart), Verdict::counted);
  table.leave(1);
  assert_int_equal(table.peek(1, limits, kStart), Verdict::too_fast);
  assert_int_equal(table.enter(1, limits, kStart), Verdict::too_fast);
  // A refusal takes neither a connection nor of the rate, and touches no other source.
  assert_int_equal(table.connections(1), 2);
  assert_int_equal(table.enter(1, limits, kStart + microseconds(100'000)), Verdict::counted);
  assert_int_equal(table.enter(2, limits, kStart), Verdict::counted);
}

void test_source_comes_and_goes(void**) {
  SourceTable table(8);
  const SourceLimits limits{1, {}};
  for (int i = 0; i < 10000; ++i) {
    assert_int_equal(table.enter(5, limits, kStart), Verdict::counted);
    assert_int_equal(table.enter(5, limits, kStart), Verdict::full);
    table.leave(5);
    assert_int_equal(table.connections(5), 0);
  }
  // What nobody took cannot be given back below nothing.
  table.leave(5);
  table.leave(6);
  assert_int_equal(table.enter(5, limits, kStart), Verdict::counted);
  assert_int_equal(table.enter(5, limits, kStart), Verdict::full);
}

void test_crowd_frees_no_offender_and_locks_out_nobody(void**) {
  SourceTable table(1024);
  const SourceLimits counts{2, {}};
  const SourceLimits rates{0, Rate::per(1, 1, 2)};
  // One over its count, one over its rate; the rest of their bucket is taken by others.
  assert_int_equal(table.enter(crowd(0), counts, kStart), Verdict::counted);
  assert_int_equal(table.enter(crowd(0), counts, kStart), Verdict::counted);
  for (int i = 0; i < 2; ++i) {
    assert_int_equal(table.enter(crowd(1), rates, kStart), Verdict::counted);
    table.leave(crowd(1));
  }
  for (uint64_t n = 2; n < 8; ++n) {
    assert_int_equal(table.enter(crowd(n), counts, kStart), Verdict::counted);
  }
  for (uint64_t n = 8; n < 10000; ++n) {
    assert_int_equal(table.enter(crowd(n), counts, kStart), Verdict::uncounted);
  }
  assert_int_equal(table.enter(crowd(0), counts, kStart), Verdict::full);
  assert_int_equal(table.enter(crowd(1), rates, kStart), Verdict::too_fast);
  // Once the rate is forgiven, and a connection over, their cells serve others.
  const Instant later = kStart + seconds(2);
  assert_int_equal(table.enter(crowd(8), counts, later), Verdict::counted);
  assert_int_equal(table.enter(crowd(9), counts, later), Verdict::uncounted);
  table.leave(crowd(7));
  assert_int_equal(table.enter(crowd(9), counts, later), Verdict::counted);
  assert_int_equal(table.enter(crowd(0), counts, later), Verdict::full);
}

void test_spoofed_look_takes_nothing(void**) {
  SourceTable table(8);
  const SourceLimits limits{1, Rate::per(1, 60, 1)};
  for (uint64_t n = 1; n <= 10000; ++n) {
    assert_int_equal(table.peek(n, limits, kStart), Verdict::counted);
  }
  for (uint64_t n = 1; n <= 8; ++n) {
    assert_int_equal(table.enter(n, limits, kStart), Verdict::counted);
  }
}

// All cores together never have more than the limit, and nothing stays when all have left.
void test_cores_share_limits(void**) {
  constexpr uint32_t kMost = 3;
  constexpr int kThreads = 4;
  SourceTable table(8);
  const SourceLimits limits{kMost, {}};
  assert_int_equal(table.enter(1, limits, kStart), Verdict::counted);  // has its cell
  std::atomic<uint32_t> inside{1};
  std::atomic<uint32_t> highest{0};
  std::atomic<uint32_t> admitted{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        if (table.enter(1, limits, kStart) != Verdict::counted) continue;
        const uint32_t count = inside.fetch_add(1) + 1;
        admitted.fetch_add(1);
        uint32_t seen = highest.load();
        while (seen < count && !highest.compare_exchange_weak(seen, count)) {
        }
        inside.fetch_sub(1);
        table.leave(1);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  assert_true(admitted.load() > 0);
  assert_true(highest.load() <= kMost);
  assert_int_equal(table.connections(1), 1);
}

// A rate that cores share is the rate of all of them.
void test_cores_share_rate(void**) {
  constexpr uint32_t kBurst = 1000;
  RateCell cell;
  const Rate rate = Rate::per(100, 1, kBurst);
  std::atomic<uint32_t> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (uint32_t i = 0; i < kBurst; ++i) taken.fetch_add(cell.take(rate, kStart) ? 1 : 0);
    });
  }
  for (auto& thread : threads) thread.join();
  assert_int_equal(taken.load(), kBurst);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_rate_agrees_with_bucket),
      cmocka_unit_test(test_no_rate_is_no_limit),
      cmocka_unit_test(test_rate_changes),
      cmocka_unit_test(test_prefixes_agree_with_search_of_all),
      cmocka_unit_test(test_prefix_borders),
      cmocka_unit_test(test_source_limits),
      cmocka_unit_test(test_source_comes_and_goes),
      cmocka_unit_test(test_crowd_frees_no_offender_and_locks_out_nobody),
      cmocka_unit_test(test_spoofed_look_takes_nothing),
      cmocka_unit_test(test_cores_share_limits),
      cmocka_unit_test(test_cores_share_rate),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
