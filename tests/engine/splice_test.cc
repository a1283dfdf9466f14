// Whole connections through the engine, over links that lose, repeat and reorder.
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

void test_clean_links(void** /*state*/) {
  constexpr size_t kConnections = 300;
  expect_all_well(run_many(default_setup(1), kConnections, 5ms), kConnections);
}

void test_lossy_links(void** /*state*/) {
  Setup setup = default_setup(2);
  setup.client_link = lossy(0.03);
  setup.broker_link = lossy(0.03);
  setup.broker_plan = linux_like;
  const size_t connections = connections_or(10'000);
  expect_all_well(run_many(setup, connections, 3ms), connections);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_clean_links),
      ENGINE_TEST(test_lossy_links),
  };
  return cmocka_run_group_tests_name("splice", tests, nullptr, nullptr);
}
