// Which broker a client gets while pools change, and how SNAT ports come and go.
#include <algorithm>

#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::End;

// The broker that each conversation of a round had.
std::vector<std::string> brokers_of(EngineWorld& w, size_t first, size_t count) {
  std::vector<std::string> out;
  for (size_t i = first; i < first + count; ++i) {
    out.push_back(w.conversations()[i]->broker_outcome.broker);
  }
  return out;
}

size_t differences(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  size_t n = 0;
  for (size_t i = 0; i < a.size(); ++i) n += a[i] != b[i] ? 1U : 0U;
  return n;
}

// Connections that last until long after the pool has changed.
void add_long_lived(EngineWorld& w, size_t count, uint64_t bulk) {
  for (size_t i = 0; i < count; ++i) {
    sim::ClientPlan plan = plain_plan("lasting-" + std::to_string(i));
    plan.expect_bulk = bulk;
    plan.pace = {1s, 1000};
    plan.tcp.receive_buffer = 4096;
    w.client(1ms * static_cast<int64_t>(i) + 100ms, plan);
  }
}

void add_round(EngineWorld& w, size_t count, base::Duration when) {
  for (size_t i = 0; i < count; ++i) {
    sim::ClientPlan plan = plain_plan("device-" + std::to_string(i));
    plan.tcp.time_wait = 1s;
    plan.tcp.receive_buffer = 262'144;
    w.client(when + 1ms * static_cast<int64_t>(i), plan);
  }
}

// Rounds of the same Client IDs from ever other addresses: before, with a fourth broker, without
// the first. Connections that last meanwhile stay where they are.
void test_pool_changes(void** /*state*/) {
  constexpr size_t kIds = 4001;  // odd: each round has other addresses for the same IDs
  constexpr size_t kLasting = 60;
  constexpr uint64_t kBulk = 40'000;
  Setup setup = default_setup(300);
  setup.brokers = 4;  // of which three are configured
  setup.broker_plan = [](unsigned, sim::Random&) {
    sim::BrokerPlan plan;
    plan.bulk = kBulk;
    return plan;
  };
  config::Model more = setup.model;
  more.pools[0].backends.push_back({"broker4", broker_endpoint(3), 1});
  config::Model less = setup.model;
  less.pools[0].backends.erase(less.pools[0].backends.begin());

  EngineWorld& w = new_world(setup);
  add_long_lived(w, kLasting, kBulk);
  add_round(w, kIds, 1s);
  add_round(w, kIds, 6s);
  w.world().after(12s, [&] { w.dut().reconfigure(more, w.world().now()); });
  add_round(w, kIds, 13s);
  w.world().after(19s, [&] { w.dut().reconfigure(setup.model, w.world().now()); });
  w.world().after(20s, [&] { w.dut().reconfigure(less, w.world().now()); });
  add_round(w, kIds, 21s);
  w.run();
  expect_all_well(w, kLasting + 4 * kIds);

  const auto first = brokers_of(w, kLasting, kIds);
  const auto again = brokers_of(w, kLasting + kIds, kIds);
  const auto with_four = brokers_of(w, kLasting + 2 * kIds, kIds);
  const auto with_two = brokers_of(w, kLasting + 3 * kIds, kIds);
  assert_int_equal(differences(first, again), 0);
  const auto on = [](const std::vector<std::string>& all, const char* name) {
    return static_cast<size_t>(std::count(all.begin(), all.end(), name));
  };
  assert_true(on(with_four, "broker4") > kIds / 5);
  assert_int_equal(on(with_two, "broker1"), 0);
  constexpr double kMargin = 0.02;
  assert_true(static_cast<double>(differences(first, with_four)) < (1.0 / 4 + kMargin) * kIds);
  assert_true(static_cast<double>(differences(first, with_two)) < (1.0 / 3 + kMargin) * kIds);
  assert_true(static_cast<double>(differences(first, with_two) - on(first, "broker1")) <
              kMargin * kIds);
  assert_true(w.conversations()[0]->client_outcome.closed_at > base::Instant(35s));
}

// More clients than ports: those beyond are told so, the others are not disturbed.
void test_ports_run_out(void** /*state*/) {
  constexpr size_t kPorts = 20;
  constexpr size_t kClients = 100;
  Setup setup = default_setup(310);
  setup.model.snat_pools[0].addresses.resize(1);
  setup.model.snat_pools[0].first_port = 2000;
  setup.model.snat_pools[0].last_port = 2000 + kPorts - 1;
  setup.broker_plan = [](unsigned, sim::Random&) {
    sim::BrokerPlan plan;
    plan.bulk = 5000;
    return plan;
  };
  EngineWorld& w = new_world(setup);
  add_long_lived(w, kClients, 5000);
  w.run();
  expect_clean(w);
  assert_int_equal(complete_conversations(w), 3 * kPorts);
  assert_int_equal(w.engine().count(End::snat_exhausted), kClients - 3 * kPorts);
  for (const auto& c : w.conversations()) {
    assert_int_equal(c->client_outcome.reason, sim::CloseReason::normal);
    if (!c->complete()) assert_int_equal(c->client_outcome.connack, 3);
  }
}

// Few ports, used again and again while the broker, which closed first, holds the last connection
// in TIME-WAIT: its SYN must lie beyond the old sequence numbers.
void test_ports_in_time_wait(void** /*state*/) {
  constexpr size_t kConnections = 400;
  Setup setup = default_setup(320);
  setup.model.snat_pools[0].addresses.resize(1);
  setup.model.snat_pools[0].first_port = 2000;
  setup.model.snat_pools[0].last_port = 2007;
  setup.model.settings.snat_quarantine = 1s;
  setup.model.settings.closing_timeout = 5s;
  setup.client_link = lossy(0.01);
  setup.broker_link = lossy(0.01);
  setup.broker_plan = [](unsigned broker, sim::Random& random) {
    sim::BrokerPlan plan = linux_like(broker, random);
    plan.conduct = sim::BrokerConduct::end_after_connack;
    plan.tcp.time_wait = 240s;
    return plan;
  };
  EngineWorld& w = run_many(setup, kConnections, 800ms, [](size_t i, sim::ClientPlan& plan) {
    // Sequence numbers and timestamps that now follow, now precede the last ones.
    plan.tcp.iss = base::Seq32(static_cast<uint32_t>(i) * 0x47000000U);
    plan.tcp.timestamps = i % 2 == 0;
    plan.tcp.timestamp_offset = static_cast<uint32_t>(i) * 0x35000000U;
    plan.pace = {};
  });
  expect_all_well(w, kConnections);
  assert_int_equal(w.engine().count(base::Event::broker_stale), 0);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_pool_changes),
      ENGINE_TEST(test_ports_run_out),
      ENGINE_TEST(test_ports_in_time_wait),
  };
  return cmocka_run_group_tests_name("pools", tests, nullptr, nullptr);
}
