// Fights are found, roaming is none, and a crowd of Client IDs hides nothing.
#include "lib/admission/client_id_watch.hh"

#include <string>
#include <vector>

#include "lib/base/random.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using admission::ClientIdWatch;
using Row = ClientIdWatch::Row;

wire::IpAddress host(uint32_t n) { return wire::IpAddress::v4(0xc6120000U + n); }

bool connect(ClientIdWatch& watch, uint64_t id, uint32_t source, uint32_t now,
             const std::string& text = "device", bool refused = false) {
  return watch.note({id, 1, base::as_bytes(text), host(source), refused}, now);
}

std::vector<Row> list(const ClientIdWatch& watch, uint32_t now) {
  std::vector<Row> rows;
  for (size_t i = 0; i < watch.bucket_count(); i += 3) watch.list(i, 3, now, rows);
  ClientIdWatch::merge(rows);
  return rows;
}

struct Story {
  const char* name;
  std::vector<std::pair<uint32_t, uint32_t>> connects;  // when, from which host
  bool fight;
  uint32_t switches, sources;
};

void test_stories(void**) {
  const Story table[] = {
      {"one that comes again", {{100, 1}, {105, 1}, {110, 1}, {112, 1}}, false, 0, 1},
      {"roams once", {{100, 1}, {105, 2}, {110, 2}, {112, 2}}, false, 1, 1},
      {"goes and comes back", {{100, 1}, {105, 2}, {110, 1}, {112, 1}}, false, 2, 2},
      {"two in turns", {{100, 1}, {101, 2}, {102, 1}, {103, 2}}, true, 3, 2},
      {"two in turns, half a minute each", {{100, 1}, {130, 2}, {160, 1}, {190, 2}}, true, 3, 2},
      {"two in turns, slowly", {{100, 1}, {131, 2}, {162, 1}, {193, 2}, {194, 2}}, false, 0, 1},
      {"three", {{100, 1}, {101, 2}, {102, 3}, {103, 1}}, true, 3, 3},
      {"many", {{100, 1}, {100, 2}, {100, 3}, {100, 4}, {100, 5}, {100, 6}}, true, 5, 4},
      {"over", {{100, 1}, {101, 2}, {102, 1}, {103, 2}, {170, 2}, {171, 2}}, false, 0, 2},
  };
  for (const Story& story : table) {
    print_message("  %s\n", story.name);
    ClientIdWatch watch(64);
    bool fight = false;
    for (const auto& [when, from] : story.connects) fight = connect(watch, 77, from, when);
    assert_int_equal(fight, story.fight);
    const auto rows = list(watch, story.connects.back().first);
    assert_int_equal(rows.size(), 1);
    assert_int_equal(rows[0].is_fight(), story.fight);
    assert_int_equal(rows[0].switches, story.switches);
    assert_int_equal(rows[0].sources.size(), story.sources);
    assert_true(rows[0].sources[0] == host(story.connects.back().second));
    assert_string_equal(rows[0].client_id.c_str(), "device");
    assert_int_equal(rows[0].listener, 1);
    // It is forgotten when it is silent.
    assert_int_equal(list(watch, story.connects.back().first + 121).size(), 0);
  }
}

void test_connects_in_a_minute(void**) {
  ClientIdWatch watch(64);
  assert_int_equal(list(watch, 600).size(), 0);
  connect(watch, 5, 1, 600);
  assert_int_equal(list(watch, 600).size(), 0);  // once is nothing
  for (uint32_t now = 601; now < 900; ++now) {
    connect(watch, 5, 1, now, "device", now % 10 == 0);
    const auto rows = list(watch, now);
    assert_int_equal(rows.size(), 1);
    assert_in_range(rows[0].connects, std::min(now - 599, 60U), std::min(now - 599, 61U));
  }
  assert_int_equal(list(watch, 899)[0].refused, 29);
  assert_int_equal(list(watch, 899)[0].since, 600);
  assert_in_range(list(watch, 930)[0].connects, 29, 31);
}

void test_long_and_odd_ids(void**) {
  ClientIdWatch watch(64);
  const std::string texts[] = {std::string(65'535, 'x'), std::string("a\0b", 3),
                               std::string(64, 'y')};
  for (uint64_t i = 0; i < 3; ++i) {
    for (int n = 0; n < 3; ++n) connect(watch, i << 33 | 1, 1, 100, texts[i]);
  }
  const auto rows = list(watch, 100);
  assert_int_equal(rows.size(), 3);
  for (const Row& row : rows) {
    const std::string& text = texts[row.id >> 33];
    assert_true(row.client_id == text.substr(0, 64));
    assert_int_equal(row.length, text.size());
  }
}

// While two fight each few seconds, thousands of other IDs come in between, also from two
// addresses each, and into the same bucket.
void test_a_crowd_hides_no_fight(void**) {
  for (const bool same_bucket : {false, true}) {
    base::Random random(3);
    ClientIdWatch watch(1024);
    for (uint32_t now = 1000; now < 1100; now += 2) {
      connect(watch, 99, now / 2 % 2, now, "twin");
      const uint32_t crowd = now < 1004 ? 0 : 5000;  // two switches bring it in
      for (uint32_t i = 0; i < crowd; ++i) {
        const uint64_t id = same_bucket ? uint64_t{random.u32()} : random.u64();
        connect(watch, id, 5, now, "crowd");
      }
    }
    const auto rows = list(watch, 1100);
    assert_true(!rows.empty() && rows[0].is_fight());
    assert_string_equal(rows[0].client_id.c_str(), "twin");
    assert_int_equal(rows[0].switches, 49);
  }
}

void test_rows_of_workers_are_one(void**) {
  ClientIdWatch first(64);
  ClientIdWatch second(64);
  connect(first, 7, 1, 100);
  connect(first, 7, 2, 103);
  connect(first, 7, 1, 107);
  connect(second, 7, 2, 101);
  connect(second, 7, 1, 105);
  connect(second, 7, 3, 108);
  for (uint32_t i = 0; i < 9; ++i) connect(second, 8, 1, 104, "busy");
  std::vector<Row> rows = list(first, 110);
  for (const Row& row : list(second, 110)) rows.push_back(row);
  ClientIdWatch::merge(rows);
  assert_int_equal(rows.size(), 2);
  assert_true(rows[0].is_fight() && !rows[1].is_fight());
  assert_int_equal(rows[0].connects, 6);
  assert_int_equal(rows[0].switches, 4);
  assert_int_equal(rows[0].sources.size(), 3);
  assert_true(rows[0].sources[0] == host(3));
  assert_int_equal(rows[0].last, 108);
  assert_int_equal(rows[1].connects, 9);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_stories),
      cmocka_unit_test(test_connects_in_a_minute),
      cmocka_unit_test(test_long_and_odd_ids),
      cmocka_unit_test(test_a_crowd_hides_no_fight),
      cmocka_unit_test(test_rows_of_workers_are_one),
  };
  return cmocka_run_group_tests_name("client_id_watch", tests, nullptr, nullptr);
}
