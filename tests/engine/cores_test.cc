// Several cores, and a port that hands each frame to any of them.
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using config::CoreRole;

struct Cores {
  const char* name;
  std::vector<CoreRole> roles;
};

void test_any_core_may_get_a_frame(void** /*state*/) {
  const Cores table[] = {
      {"two workers, two proxies",
       {CoreRole::worker, CoreRole::worker, CoreRole::proxy, CoreRole::proxy}},
      {"four of both", {CoreRole::both, CoreRole::both, CoreRole::both, CoreRole::both}},
      {"one worker, two proxies", {CoreRole::worker, CoreRole::proxy, CoreRole::proxy}},
      {"three workers, one of both",
       {CoreRole::worker, CoreRole::worker, CoreRole::both, CoreRole::worker}},
  };
  const size_t connections = connections_or(2000);
  uint64_t seed = 400;
  for (const Cores& row : table) {
    print_message("  %s\n", row.name);
    Setup setup = default_setup(++seed);
    setup.options.cores = row.roles;
    setup.client_link = lossy(0.03);
    setup.broker_link = lossy(0.03);
    setup.broker_plan = linux_like;
    EngineWorld& w = run_many(setup, connections, 3ms);
    expect_all_well(w, connections);
    uint64_t in = 0;
    for (size_t i = 0; i < row.roles.size(); ++i) {
      const base::CoreCounters& c = w.engine().core(i).counters();
      const auto count = [&c](base::Event e) { return c.events[static_cast<size_t>(e)].value(); };
      in += count(base::Event::frames_in) - count(base::Event::frames_handed_over);
      assert_true(count(base::Event::frames_handed_over) > 0);
      // Each core with a role does its share of it.
      const bool works = row.roles[i] != CoreRole::proxy;
      const bool proxies = row.roles[i] != CoreRole::worker;
      const uint64_t share = connections / row.roles.size() / 2;
      if (works) assert_true(count(base::Event::cookie_accepted) > share);
      if (proxies) assert_true(count(base::Event::broker_syn) > share);
    }
    // What is handed over comes in twice.
    assert_int_equal(in, w.world().dut_counters().frames_in);
    assert_int_equal(w.engine().count(base::Event::messages_lost), 0);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_any_core_may_get_a_frame),
  };
  return cmocka_run_group_tests_name("cores", tests, nullptr, nullptr);
}
