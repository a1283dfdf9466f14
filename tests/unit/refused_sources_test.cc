// Accounts are exact, and no crowd of refused sources hides the one that is refused most.
#include "lib/admission/refused_sources.hh"

#include <cstring>
#include <string>
#include <vector>

#include "lib/base/random.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using admission::Refused;
using admission::RefusedSources;
using Row = RefusedSources::Row;

wire::IpAddress host(uint32_t n) { return wire::IpAddress::v4(0xc6120000U + n); }
wire::IpAddress address(const char* text) { return *wire::IpAddress::parse(text); }

// In place of the keyed hash; of addresses that are networks.
uint64_t hashed(const wire::IpAddress& network) { return base::Random(network.hash()).u64(); }

void refuse(RefusedSources& table, const wire::IpAddress& network, uint32_t now,
            Refused reason = Refused::rate, uint16_t listener = 1) {
  const uint8_t bits = network.is_v4() ? 32 : 64;
  table.note({hashed(network) + listener, listener, network, bits, reason}, now);
}

std::vector<Row> list(const std::vector<const RefusedSources*>& tables, uint32_t now) {
  std::vector<Row> rows;
  for (const RefusedSources* table : tables) {
    for (size_t i = 0; i < table->bucket_count(); i += 3) table->list(i, 3, now, rows);
  }
  RefusedSources::merge(rows);
  return rows;
}

void test_what_is_kept_of_one(void**) {
  RefusedSources table;
  refuse(table, host(1), 100);
  refuse(table, host(1), 110, Refused::denied);
  refuse(table, host(1), 110, Refused::denied);
  refuse(table, host(1), 115, Refused::full);
  const auto rows = list({&table}, 116);
  assert_int_equal(rows.size(), 1);
  assert_string_equal(to_string(rows[0].network).c_str(), "198.18.0.1/32");
  assert_int_equal(rows[0].listener, 1);
  assert_true(rows[0].reason == Refused::full);
  assert_int_equal(rows[0].count(Refused::denied), 2);
  assert_int_equal(rows[0].count(Refused::full), 1);
  assert_int_equal(rows[0].count(Refused::rate), 1);
  assert_int_equal(rows[0].refused(), 4);
  assert_int_equal(rows[0].last_minute, 4);
  assert_int_equal(rows[0].since, 100);
  assert_int_equal(rows[0].last, 115);
  assert_int_equal(list({&table}, 115 + 3600).size(), 1);
  assert_int_equal(list({&table}, 115 + 3600)[0].last_minute, 0);
  assert_int_equal(list({&table}, 116 + 3600).size(), 0);
}

void test_a_source_is_a_network_of_a_listener(void**) {
  RefusedSources table;
  const uint64_t id = 77;
  for (const char* text : {"2001:db8::1", "2001:db8::ffff:1", "2001:db8::1:2:3:4"}) {
    table.note({id, 1, address(text), 64, Refused::rate}, 100);
  }
  // Of the same hash, so that only what is kept tells them apart.
  table.note({id, 2, address("2001:db8::1"), 64, Refused::rate}, 100);
  table.note({id, 1, address("2001:db8::1"), 56, Refused::rate}, 100);
  table.note({id, 1, address("2001:db8:0:1::1"), 64, Refused::rate}, 100);
  table.note({id, 1, host(0x102), 24, Refused::rate}, 100);
  table.note({id, 1, host(0x1ff), 24, Refused::rate}, 100);
  std::vector<std::string> texts;
  for (const Row& row : list({&table}, 100)) {
    texts.push_back(std::to_string(row.listener) + " " + to_string(row.network) + " " +
                    std::to_string(row.refused()));
  }
  const std::vector<std::string> expected = {"1 2001:db8::/64 3", "1 198.18.1.0/24 2",
                                             "1 2001:db8::/56 1", "1 2001:db8:0:1::/64 1",
                                             "2 2001:db8::/64 1"};
  assert_true(texts == expected);
}

void test_the_last_minute(void**) {
  RefusedSources table;
  for (uint32_t now = 600; now < 900; ++now) {
    for (int i = 0; i < 10; ++i) refuse(table, host(1), now);
    const auto rows = list({&table}, now);
    assert_int_equal(rows[0].refused(), 10 * (now - 599));
    assert_in_range(rows[0].last_minute, 10 * std::min(now - 599, 60U),
                    10 * std::min(now - 599, 61U));
  }
  assert_in_range(list({&table}, 930)[0].last_minute, 290, 310);
  assert_int_equal(list({&table}, 1020)[0].last_minute, 0);
}

// One in a hundred refusals is of one source, all others of sources that come once, or of ten
// thousand that come again and again, and were there first.
void test_a_crowd_does_not_push_out_the_heaviest(void**) {
  for (const uint64_t crowd : {uint64_t{1} << 40, uint64_t{10'000}}) {
    base::Random random(5);
    RefusedSources table;
    const auto one_of_crowd = [&](uint32_t now) {
      const auto n = static_cast<uint32_t>(random.below(crowd));
      refuse(table, host(0x10000 + n), now, Refused::denied);
    };
    for (uint32_t i = 0; i < 100'000; ++i) one_of_crowd(1000);
    uint64_t first = 0;
    for (uint32_t i = 0; i < 600'000; ++i) {
      const uint32_t now = 1000 + i / 2000;
      if (i % 100 == 0) {
        refuse(table, host(1), now);
      } else {
        one_of_crowd(now);
      }
      if (i % 2000 != 1999) continue;
      const auto rows = list({&table}, now);
      if (rows[0].network.address == host(1)) {
        if (first == 0) first = now - 1000;
      } else {
        assert_int_equal(first, 0);  // it never leaves again
      }
    }
    assert_in_range(first, 1, 60);
    const auto rows = list({&table}, 1300);
    assert_true(rows[0].network.address == host(1));
    assert_in_range(rows[0].refused(), 6000 - first * 20 - 20, 6000);
    assert_true(rows[0].count(Refused::denied) == 0);
  }
}

// Who was refused a million times is given up for those of today.
void test_the_past_weighs_less(void**) {
  RefusedSources table(8);
  for (uint32_t n = 0; n < 8; ++n) {
    for (int i = 0; i < 1'000'000; ++i) refuse(table, host(n), 1000);
  }
  for (uint32_t n = 100; n < 108; ++n) {
    for (int i = 0; i < 10; ++i) refuse(table, host(n), 3000);
  }
  const auto rows = list({&table}, 3000);
  assert_int_equal(rows.size(), 8);
  for (const Row& row : rows) assert_int_equal(row.refused(), 10);
}

void test_workers_are_merged(void**) {
  RefusedSources a, b;
  for (uint32_t i = 0; i < 5; ++i) refuse(a, host(1), 100, Refused::denied);
  refuse(b, host(1), 90);
  refuse(b, host(1), 101);
  for (uint32_t i = 0; i < 6; ++i) refuse(b, host(2), 100);
  refuse(b, host(1), 100, Refused::rate, 2);
  const auto rows = list({&a, &b}, 101);
  assert_int_equal(rows.size(), 3);
  assert_true(rows[0].network.address == host(1) && rows[0].listener == 1);
  assert_int_equal(rows[0].refused(), 7);
  assert_int_equal(rows[0].last_minute, 7);
  assert_true(rows[0].reason == Refused::rate);
  assert_int_equal(rows[0].since, 90);
  assert_int_equal(rows[0].last, 101);
  assert_true(rows[1].network.address == host(2));
  assert_int_equal(rows[2].listener, 2);
}

void test_listeners_are_forgotten(void**) {
  RefusedSources table;
  for (uint32_t n = 0; n < 50; ++n) {
    refuse(table, host(n), 100, Refused::rate, static_cast<uint16_t>(n % 2));
  }
  table.forget_listeners([](uint16_t listener) { return listener == 1; });
  for (const Row& row : list({&table}, 100)) assert_int_equal(row.listener, 0);
  assert_in_range(list({&table}, 100).size(), 20, 25);
  refuse(table, host(1), 101, Refused::rate, 1);
  assert_int_equal(list({&table}, 101)[0].refused(), 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_what_is_kept_of_one),
      cmocka_unit_test(test_a_source_is_a_network_of_a_listener),
      cmocka_unit_test(test_the_last_minute),
      cmocka_unit_test(test_a_crowd_does_not_push_out_the_heaviest),
      cmocka_unit_test(test_the_past_weighs_less),
      cmocka_unit_test(test_workers_are_merged),
      cmocka_unit_test(test_listeners_are_forgotten),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
