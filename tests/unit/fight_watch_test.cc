// Each fight over a Client ID is said once, and when it is over; never many lines at once.
#include "lib/control/fight_watch.hh"

#include <string>
#include <vector>

#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using control::FightWatch;
using Lines = std::vector<std::string>;

FightWatch::Row fight(uint64_t id, const std::string& text = "twin") {
  FightWatch::Row row;
  row.id = id;
  row.client_id = text;
  row.length = text.size();
  row.switches = 3;
  row.run = 3;
  row.sources = {wire::IpAddress::v4(0xc6120016), wire::IpAddress::v4(0xc6120015)};
  return row;
}

struct World {
  World() {
    auto compiled = config::compile(sample_model(), nullptr, {});
    assert_true(compiled.has_value());
    snapshot = std::move(*compiled);
  }
  Lines pass(base::Duration time = 1s) {
    now += time;
    lines.clear();
    watch.advance(*snapshot, now);
    return lines;
  }

  std::unique_ptr<const config::Snapshot> snapshot;
  base::Instant now{1h};
  uint64_t contested = 0;
  size_t looks = 0;
  std::vector<FightWatch::Row> rows;
  Lines lines;
  FightWatch watch{[this] { return contested; },
                   [this] {
                     ++looks;
                     return rows;
                   },
                   [this](const std::string& line) { lines.push_back(line); }};
};

void test_begin_and_end_are_said_once(void**) {
  World w;
  w.rows = {fight(1)};
  assert_true(w.pass().empty());
  assert_int_equal(w.looks, 0);  // nothing has moved
  w.contested = 1;
  const std::string name = w.snapshot->listeners[0].name;
  assert_true(w.pass() == Lines{"clients fight over Client ID \"twin\" of listener " + name +
                                ": 198.18.0.22 and 198.18.0.21"});
  for (int i = 0; i < 60; ++i) {
    ++w.contested;
    assert_true(w.pass().empty());
  }
  assert_in_range(w.looks, 12, 15);
  w.rows.clear();
  Lines said;
  for (int i = 0; i < 5; ++i) {
    for (const std::string& line : w.pass()) said.push_back(line);
  }
  assert_true(said == Lines{"the fight over Client ID \"twin\" of listener " + name + " is over"});
  w.looks = 0;
  for (int i = 0; i < 60; ++i) assert_true(w.pass().empty());
  assert_in_range(w.looks, 0, 1);
  w.rows = {fight(1)};
  ++w.contested;
  assert_int_equal(w.pass(5s).size(), 1);  // another one
}

void test_looks_once_in_a_second(void**) {
  World w;
  w.contested = 1;
  w.rows = {fight(1)};
  assert_int_equal(w.pass().size(), 1);
  w.rows.push_back(fight(2));
  ++w.contested;
  assert_true(w.pass(500ms).empty());
  assert_int_equal(w.pass(500ms).size(), 1);
}

void test_hostile_ids_are_printable(void**) {
  World w;
  w.contested = 1;
  w.rows = {fight(1, std::string("a\n\x1b[2J\"\\\0\xff b", 12))};
  w.rows[0].length = 5000;
  const Lines lines = w.pass();
  assert_int_equal(lines.size(), 1);
  const std::string shown = "\"a\\x0a\\x1b[2J\\x22\\x5c\\x00\\xff b...\"";
  assert_true(lines[0].find(shown) != std::string::npos);
}

// Who is only busy comes behind the fights.
void test_others_are_not_said(void**) {
  World w;
  w.contested = 1;
  w.rows = {fight(1), fight(2)};
  w.rows[1].run = 2;
  assert_int_equal(w.pass().size(), 1);
}

// A few lines a second, then a word that there are more.
void test_very_many_fights(void**) {
  World w;
  w.contested = 1;
  for (uint64_t id = 0; id < 1000; ++id) w.rows.push_back(fight(id));
  size_t lines = 0;
  Lines last;
  for (int i = 0; i < 200; ++i) {
    const Lines some = w.pass();
    assert_in_range(some.size(), 0, FightWatch::kMostLines);
    lines += some.size();
    if (!some.empty()) last = some;
  }
  assert_int_equal(lines, FightWatch::kMostFights + 1);
  assert_true(last == Lines{"clients fight over more than 256 Client IDs: see show client-ids"});
  w.rows.clear();
  lines = 0;
  for (int i = 0; i < 200; ++i) lines += w.pass().size();
  assert_int_equal(lines, FightWatch::kMostFights);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_begin_and_end_are_said_once),
      cmocka_unit_test(test_looks_once_in_a_second),
      cmocka_unit_test(test_hostile_ids_are_printable),
      cmocka_unit_test(test_others_are_not_said),
      cmocka_unit_test(test_very_many_fights),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
