// When the use of SNAT ports is warned of.
#include "lib/control/snat_watch.hh"

#include <string>
#include <vector>

#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;

struct World {
  explicit World(const config::Model& m) {
    auto compiled = config::compile(m, nullptr, {});
    assert_true(compiled.has_value());
    snapshot = std::move(*compiled);
  }
  void set(config::BackendId id, uint32_t flows) {
    while (loads->lookup(id) < flows) assert_true(loads->try_add(id, 0));
    while (loads->lookup(id) > flows) loads->subtract(id);
  }
  // The lines of the next second.
  std::vector<std::string> look() {
    now += 1s;
    lines.clear();
    watch.advance(*snapshot, now);
    return lines;
  }

  std::unique_ptr<const config::Snapshot> snapshot;
  std::unique_ptr<engine::BackendLoads> loads = std::make_unique<engine::BackendLoads>();
  base::Instant now{1h};
  std::vector<std::string> lines;
  control::SnatWatch watch{*loads, [this](const std::string& line) { lines.push_back(line); }};
};

// Two addresses of 100 ports, of which three are for checks.
config::Model small_range() {
  config::Model m = sample_model();
  m.snat_pools[0].first_port = 2001;
  m.snat_pools[0].last_port = 2100;
  return m;
}

void test_warns_once_and_calms_down_once(void**) {
  World w(small_range());
  w.set(0, 155);
  assert_true(w.look().empty());  // 79 percent of 194
  w.set(0, 156);
  const auto lines = w.look();
  assert_int_equal(lines.size(), 1);
  assert_string_equal(lines[0].c_str(),
                      "156 of 194 SNAT ports toward 198.18.1.11:1883 are in use: "
                      "add addresses before they run out");
  w.set(0, 194);
  assert_true(w.look().empty());
  w.set(0, 140);
  assert_true(w.look().empty());  // 72 percent: it may be about to rise again
  w.set(0, 135);
  assert_string_equal(w.look().at(0).c_str(),
                      "135 of 194 SNAT ports toward 198.18.1.11:1883 are in use: enough again");
  w.set(0, 156);
  assert_int_equal(w.look().size(), 1);
}

void test_brokers_are_counted_apart(void**) {
  World w(small_range());
  w.set(0, 150);
  w.set(1, 150);
  assert_true(w.look().empty());
  w.set(1, 170);
  const auto lines = w.look();
  assert_int_equal(lines.size(), 1);
  assert_non_null(strstr(lines[0].c_str(), "198.18.1.12:1883"));
}

void test_pools_that_share_a_broker_are_counted_together(void**) {
  config::Model m = small_range();
  config::Pool other = m.pools[0];
  other.name = "other";
  m.pools.push_back(other);
  World w(m);
  w.set(0, 100);
  w.set(3, 100);
  assert_int_equal(w.look().size(), 1);
}

void test_looks_once_in_a_second(void**) {
  World w(small_range());
  assert_true(w.look().empty());
  w.set(0, 190);
  w.now += 500ms;
  w.watch.advance(*w.snapshot, w.now);
  assert_true(w.lines.empty());
  assert_int_equal(w.look().size(), 1);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_warns_once_and_calms_down_once),
      cmocka_unit_test(test_brokers_are_counted_apart),
      cmocka_unit_test(test_pools_that_share_a_broker_are_counted_together),
      cmocka_unit_test(test_looks_once_in_a_second),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
