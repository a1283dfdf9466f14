// What listeners read of a client, and where they send it: rules by CONNECT, and mode tcp.
#include <map>

#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::Event;

// Two pools: broker1 and broker2, and broker3 alone.
Setup two_pools(uint64_t seed) {
  Setup setup = default_setup(seed);
  config::Pool other = setup.model.pools[0];
  other.name = "other";
  other.backends.erase(other.backends.begin(), other.backends.begin() + 2);
  setup.model.pools[0].backends.pop_back();
  setup.model.pools.push_back(other);
  return setup;
}

void test_rules(void** /*state*/) {
  Setup setup = two_pools(400);
  setup.model.listeners[0].rules = {
      {"early", "emqx", "car-1*", "", {}},
      {"cars", "other", "car-*", "", {}},
      {"new bob", "other", "", "bob", mqtt::Version::v5_0},
  };
  assert_true(config::validate(setup.model).has_value() == false);  // a name has no blanks
  setup.model.listeners[0].rules[2].name = "new-bob";
  assert_true(config::validate(setup.model).has_value());
  const char* ids[] = {"car-1", "car-17", "car-2", "car-29", "bus-2", "mycar-2"};
  const std::string long_id = "car-" + std::string(3000, 'x');
  std::vector<bool> to_other(300);
  EngineWorld& w = run_many(setup, 300, 5ms, [&](size_t i, sim::ClientPlan& plan) {
    plan.connect.client_id = i % 7 == 6 ? long_id : ids[i % 7];
    plan.connect.user_name = i % 2 == 0 ? "bob" : "bobby";
    if (i % 7 == 6) plan.connect_pieces = {1500};
    const bool early = plan.connect.client_id.starts_with("car-1");
    const bool new_bob = plan.connect.user_name == "bob" && plan.connect.level == 5;
    to_other[i] = !early && (plan.connect.client_id.starts_with("car-") || new_bob);
  });
  expect_all_well(w, 300);
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < to_other.size(); ++i) {
    const std::string& broker = w.conversations()[i]->broker_outcome.broker;
    assert_int_equal(broker == "broker3", to_other[i]);
    ++seen[broker];
  }
  assert_true(seen["broker3"] > 0 && seen.size() > 1);
}

// Bytes pass as they are, whoever speaks; the address picks the broker, before anything is said.
void test_tcp(void** /*state*/) {
  Setup setup = default_setup(410);
  setup.model.listeners[0].mode = config::ListenerMode::tcp;
  setup.client_link = lossy(0.02);
  setup.broker_link = lossy(0.02);
  setup.broker_plan = linux_like;
  EngineWorld& w = run_many(setup, 1000, 5ms);
  expect_all_well(w, 1000);
  assert_int_equal(w.engine().count(Event::connect_parsed), 0);
  std::map<wire::IpAddress, std::string> homes;
  for (const auto& c : w.conversations()) {
    const auto [home, is_new] = homes.emplace(c->client.address, c->broker_outcome.broker);
    assert_string_equal(home->second.c_str(), c->broker_outcome.broker.c_str());
  }
}

void test_tcp_by_turns(void** /*state*/) {
  Setup setup = default_setup(420);
  setup.model.listeners[0].mode = config::ListenerMode::tcp;
  setup.model.pools[0].key = config::KeyPolicy::round_robin;
  EngineWorld& w = run_many(setup, 300, 5ms);
  expect_all_well(w, 300);
  std::map<std::string, size_t> counts;
  for (const auto& c : w.conversations()) ++counts[c->broker_outcome.broker];
  for (const auto& [name, n] : counts) assert_int_equal(n, 100);
}

// What is no MQTT gets through, one byte or many, and its answer comes back.
void test_tcp_reads_nothing(void** /*state*/) {
  Setup setup = default_setup(430);
  setup.model.listeners[0].mode = config::ListenerMode::tcp;
  setup.model.pools[0].proxy_protocol = config::ProxyProtocol::none;
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4000);
  client.nxt = base::Seq32(5000);
  sim::Segment syn = client.segment(wire::kSyn);
  const SentFrames answer = b.send(client, syn);
  assert_int_equal(answer.size(), 1);
  client.nxt = client.nxt + 1U;
  client.peer = answer[0].segment.seq + 1U;
  // The broker is asked as soon as the handshake is over.
  const SentFrames asked = b.send(client, client.segment(wire::kAck));
  assert_int_equal(asked.size(), 1);
  assert_int_equal(asked[0].port, kBrokers);
  assert_int_equal(asked[0].segment.flags, wire::kSyn);
  // What comes meanwhile waits.
  const base::Bytes hello = base::as_bytes(std::string_view("\x16\x03\x01"));
  assert_true(b.send(client, client.segment(wire::kAck | wire::kPsh, hello)).empty());
  const sim::Segment& s = asked[0].segment;
  RawEnd broker{kBrokers, broker_mac(0), s.destination, s.source, base::Seq32(900), s.seq + 1U};
  sim::Segment accepted = broker.segment(wire::kSyn | wire::kAck);
  broker.nxt = broker.nxt + 1U;
  const SentFrames passed = b.send(broker, accepted);
  assert_true(!passed.empty());
  assert_int_equal(passed.back().port, kBrokers);
  assert_int_equal(passed.back().segment.payload.size(), hello.size());
  assert_memory_equal(passed.back().segment.payload.data(), hello.data(), hello.size());
}

// Without a broker such a client cannot be told in MQTT.
void test_tcp_without_broker(void** /*state*/) {
  Setup setup = default_setup(440);
  setup.model.listeners[0].mode = config::ListenerMode::tcp;
  setup.broker_plan = [](unsigned, sim::Random&) {
    sim::BrokerPlan plan;
    plan.on_syn = sim::SynVerdict::Action::refuse;
    return plan;
  };
  EngineWorld& w = run_many(setup, 50, 5ms);
  expect_clean(w);
  assert_int_equal(complete_conversations(w), 0);
  assert_int_equal(w.engine().count(Event::connack_unavailable), 0);
  assert_int_equal(w.engine().count(base::End::backends_failed), 50);
  for (const auto& c : w.conversations()) {
    assert_int_equal(c->client_outcome.reason, sim::CloseReason::reset);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_rules),
      ENGINE_TEST(test_tcp),
      ENGINE_TEST(test_tcp_by_turns),
      BENCH_TEST(test_tcp_reads_nothing),
      ENGINE_TEST(test_tcp_without_broker),
  };
  return cmocka_run_group_tests_name("listeners", tests, nullptr, nullptr);
}
