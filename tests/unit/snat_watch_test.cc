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
  // So many are used of the ports of all of the pool's addresses, on one of the cores.
  void set(config::BackendId id, uint64_t used, unsigned core = 1) {
    const config::BackendEntry& backend = snapshot->backends[id];
    std::erase_if(uses,
                  [&](const auto& u) { return u.broker == backend.endpoint && u.core == core; });
    for (const config::SnatId snat : snapshot->pools[backend.pool].snats) {
      const uint64_t ports = 97 / cores;
      const uint64_t part = std::min(used, ports);
      used -= part;
      uses.push_back({core, snat, backend.endpoint, part, ports});
    }
  }
  // The lines of the next look.
  std::vector<std::string> look() {
    lines.clear();
    watch.look(*snapshot, uses);
    return lines;
  }

  std::unique_ptr<const config::Snapshot> snapshot;
  unsigned cores = 1;
  std::vector<control::SnatWatch::Use> uses;
  std::vector<std::string> lines;
  control::SnatWatch watch{[this](const std::string& line) { lines.push_back(line); }};
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
                      "156 of 194 SNAT ports toward 198.18.1.11:1883 are in use or in quarantine: "
                      "add addresses before they run out");
  w.set(0, 194);
  assert_true(w.look().empty());
  w.set(0, 140);
  assert_true(w.look().empty());  // 72 percent: it may be about to rise again
  w.set(0, 135);
  assert_string_equal(w.look().at(0).c_str(),
                      "135 of 194 SNAT ports toward 198.18.1.11:1883 are in use or in "
                      "quarantine: enough again");
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

void test_pools_that_share_ports_are_one(void**) {
  config::Model m = small_range();
  config::Pool other = m.pools[0];
  other.name = "other";
  m.pools.push_back(other);
  World w(m);
  w.set(0, 190);
  assert_int_equal(w.look().size(), 1);
  assert_true(w.look().empty());
}

void test_pools_with_ports_of_their_own_are_not(void**) {
  config::Model m = small_range();
  m.snat_pools.push_back(m.snat_pools[0]);
  m.snat_pools[1].name = "second";
  m.snat_pools[1].addresses = {ip("198.18.1.150"), ip("198.18.1.151")};
  config::Pool other = m.pools[0];
  other.name = "other";
  other.snat = "second";
  m.pools.push_back(other);
  World w(m);
  w.set(0, 150);
  auto both = w.uses;
  w.set(3, 150);  // the same broker
  w.uses.insert(w.uses.end(), both.begin(), both.end());
  assert_true(w.look().empty());
  w.set(3, 190);
  w.uses.insert(w.uses.end(), both.begin(), both.end());
  assert_int_equal(w.look().size(), 1);
}

void test_the_fullest_core_counts(void**) {
  World w(small_range());
  w.cores = 2;
  w.set(0, 10, 1);
  w.set(0, 60, 2);
  assert_true(w.look().empty());
  w.set(0, 80, 2);
  assert_string_equal(w.look().at(0).c_str(),
                      "80 of 96 SNAT ports toward 198.18.1.11:1883 are in use or in quarantine "
                      "on one core: add addresses before they run out");
}

void test_a_removed_broker_is_forgotten(void**) {
  World w(small_range());
  w.set(0, 190);
  assert_int_equal(w.look().size(), 1);
  const auto all =
      std::exchange(w.snapshot, World([] {
                                  config::Model m = small_range();
                                  m.pools[0].backends.erase(m.pools[0].backends.begin());
                                  return m;
                                }())
                                    .snapshot);
  assert_true(w.look().empty());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_warns_once_and_calms_down_once),
      cmocka_unit_test(test_brokers_are_counted_apart),
      cmocka_unit_test(test_pools_that_share_ports_are_one),
      cmocka_unit_test(test_pools_with_ports_of_their_own_are_not),
      cmocka_unit_test(test_the_fullest_core_counts),
      cmocka_unit_test(test_a_removed_broker_is_forgotten),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
