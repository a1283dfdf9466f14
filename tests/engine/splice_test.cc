// Whole connections through the engine, over links that lose, repeat and reorder.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/engine/engine_world.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {
namespace {

using namespace std::chrono_literals;

sim::LinkConfig lossy(double loss) {
  sim::LinkConfig link;
  link.loss = loss;
  link.duplication = loss / 3;
  link.reordering = loss * 2;
  link.jitter = 3ms;
  return link;
}

// Every conversation delivered what was sent, nobody saw a violation, and all came back.
void expect_all_well(EngineWorld& w, size_t connections) {
  size_t complete = 0;
  for (const auto& c : w.conversations()) {
    if (c->complete()) {
      ++complete;
    } else if (complete + 5 > connections || std::getenv("VERBOSE") != nullptr) {
      std::fprintf(stderr, "%s: established %d succeeded %d connack %d reason %d, broker %s %d\n",
                   c->client_id.c_str(), c->client_outcome.established,
                   c->client_outcome.succeeded, c->client_outcome.connack,
                   static_cast<int>(c->client_outcome.reason), c->broker_outcome.broker.c_str(),
                   static_cast<int>(c->broker_outcome.reason));
    }
  }
  if (w.world().violations().total() != 0) {
    std::fprintf(stderr, "%s\n", w.world().violations().summary().c_str());
  }
  assert_int_equal(w.conversations().size(), connections);
  assert_int_equal(complete, connections);
  assert_int_equal(w.world().violations().total(), 0);
  assert_int_equal(w.dut().flows(), 0);
  assert_int_equal(w.dut().snat_ports_in_use(), 0);
  assert_int_equal(w.dut().engine().buffers_in_use(), 0);
  assert_int_equal(w.dut().unaccounted_frames(), 0);
}

void run_many(const Setup& setup, size_t connections, base::Duration spacing) {
  EngineWorld w(setup);
  if (const char* file = std::getenv("CAPTURE")) assert_true(w.world().capture(file));
  for (size_t i = 0; i < connections; ++i) {
    sim::ClientPlan plan =
        sim::random_client_plan(w.random(), "device-" + std::to_string(i));
    plan.tcp.time_wait = 30s;  // longer than the broker repeats its FIN
    w.client(spacing * static_cast<int64_t>(i) + 100ms, plan);
  }
  w.run();
  expect_all_well(w, connections);
  std::fprintf(stderr, "frames in %lu out %lu ratio %.2f most per event %lu\n",
               w.world().dut_counters().frames_in, w.world().dut_counters().frames_out,
               w.world().dut_counters().ratio(), w.world().dut_counters().most_per_event);
}

// Brokers as Linux hosts are, with numbers and options that vary within what clients were offered.
sim::BrokerPlan linux_like(unsigned /*broker*/, sim::Random& random) {
  sim::BrokerPlan plan;
  plan.tcp = sim::random_tcp_options(random);
  plan.tcp.timestamps = true;
  plan.tcp.sack = true;
  plan.tcp.mss = 1460;
  // At least what our SYN-ACK promises in its place.
  plan.tcp.receive_buffer = std::max<uint32_t>(plan.tcp.receive_buffer, 32768);
  plan.bulk = random.chance(0.3) ? random.below(20000) : 0;
  return plan;
}

void test_clean_links(void** /*state*/) { run_many(default_setup(1), 300, 5ms); }

void test_lossy_links(void** /*state*/) {
  Setup setup = default_setup(2);
  setup.client_link = lossy(0.03);
  setup.broker_link = lossy(0.03);
  setup.broker_plan = linux_like;
  const char* count = std::getenv("CONNECTIONS");
  run_many(setup, count != nullptr ? static_cast<size_t>(std::atol(count)) : 10'000, 3ms);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_clean_links),
      cmocka_unit_test(test_lossy_links),
  };
  return cmocka_run_group_tests_name("splice", tests, nullptr, nullptr);
}
