#include "tests/engine/engine_test.hh"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace mqlb::tests {
namespace {

constexpr size_t kTold = 5;  // of many that went wrong

std::unique_ptr<EngineWorld>& world_of_test() {
  static std::unique_ptr<EngineWorld> world;
  return world;
}

void describe(const sim::Conversation& c) {
  print_error("%s: established %d succeeded %d connack %d reason %d, broker %s %d\n",
              c.client_id.substr(0, 40).c_str(), c.client_outcome.established,
              c.client_outcome.succeeded, c.client_outcome.connack,
              static_cast<int>(c.client_outcome.reason), c.broker_outcome.broker.c_str(),
              static_cast<int>(c.broker_outcome.reason));
}

}  // namespace

EngineWorld& new_world(const Setup& setup) {
  world_of_test().reset();
  world_of_test() = std::make_unique<EngineWorld>(setup);
  if (const char* file = std::getenv("CAPTURE")) {
    assert_true(world_of_test()->world().capture(file));
  }
  return *world_of_test();
}

int drop_world(void** /*state*/) {
  world_of_test().reset();
  return 0;
}

sim::LinkConfig lossy(double loss) {
  sim::LinkConfig link;
  link.loss = loss;
  link.duplication = loss / 3;
  link.reordering = loss * 2;
  link.jitter = 3ms;
  return link;
}

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

size_t connections_or(size_t n) {
  const char* asked = std::getenv("CONNECTIONS");
  return asked != nullptr ? static_cast<size_t>(std::atol(asked)) : n;
}

sim::ClientPlan plain_plan(const std::string& client_id) {
  sim::ClientPlan plan;
  plan.connect.client_id = client_id;
  plan.tcp.time_wait = 30s;  // longer than a broker repeats its FIN
  return plan;
}

EngineWorld& run_many(const Setup& setup, size_t connections, base::Duration spacing,
                      const Adjust& adjust) {
  EngineWorld& w = new_world(setup);
  for (size_t i = 0; i < connections; ++i) {
    sim::ClientPlan plan = sim::random_client_plan(w.random(), "device-" + std::to_string(i));
    plan.tcp.time_wait = 30s;
    if (adjust) adjust(i, plan);
    w.client(spacing * static_cast<int64_t>(i) + 100ms, plan);
  }
  w.run();
  return w;
}

size_t complete_conversations(EngineWorld& w) {
  size_t complete = 0;
  for (const auto& c : w.conversations()) complete += c->complete() ? 1U : 0U;
  return complete;
}

void expect_clean(EngineWorld& w) {
  if (w.world().violations().total() != 0) {
    print_error("%s\n", w.world().violations().summary().c_str());
  }
  assert_int_equal(w.world().violations().total(), 0);
  assert_int_equal(w.dut().flows(), 0);
  assert_int_equal(w.dut().snat_ports_in_use(), 0);
  assert_int_equal(w.dut().engine().buffers_in_use(), 0);
  assert_int_equal(w.dut().counted_connections(), 0);
  assert_int_equal(w.dut().connections_at_backends(), 0);
  assert_int_equal(w.dut().unaccounted_frames(), 0);
}

void expect_all_well(EngineWorld& w, size_t connections) {
  assert_int_equal(w.conversations().size(), connections);
  size_t told = 0;
  for (const auto& c : w.conversations()) {
    if (!c->complete() && told++ < kTold) describe(*c);
  }
  assert_int_equal(complete_conversations(w), connections);
  expect_clean(w);
}

}  // namespace mqlb::tests
