// Brokers that misbehave, differ in their TCP, or are down.
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::Event;
using sim::BrokerConduct;
using sim::BrokerPlan;
using sim::CloseReason;
using Action = sim::SynVerdict::Action;

constexpr size_t kEach = 150;

// A setup where some brokers differ from linux_like by what `change` does.
Setup with_brokers(uint64_t seed, unsigned different, std::function<void(BrokerPlan&)> change) {
  Setup setup = default_setup(seed);
  setup.broker_plan = [different, change = std::move(change)](unsigned broker,
                                                              sim::Random& random) {
    BrokerPlan plan = linux_like(broker, random);
    if (broker < different) change(plan);
    return plan;
  };
  return setup;
}

struct Failing {
  const char* name;
  void (*change)(BrokerPlan&);
  Event counted;
};

// The first broker cannot be had: its clients find another, and none of them notices.
void test_another_broker_is_tried(void** /*state*/) {
  const Failing table[] = {
      {"refuses", [](BrokerPlan& p) { p.on_syn = Action::refuse; }, Event::broker_refused},
      {"is silent", [](BrokerPlan& p) { p.on_syn = Action::drop; }, Event::broker_unanswered},
      {"answers too late", [](BrokerPlan& p) { p.syn_delay = 1500ms; }, Event::broker_unanswered},
  };
  uint64_t seed = 200;
  for (const Failing& row : table) {
    for (const double loss : {0.0, 0.02}) {
      print_message("  %s, loss %.2f\n", row.name, loss);
      Setup setup = with_brokers(++seed, 1, row.change);
      setup.client_link = lossy(loss);
      setup.broker_link = lossy(loss);
      EngineWorld& w = run_many(setup, kEach, 5ms);
      expect_all_well(w, kEach);
      assert_true(w.engine().count(row.counted) >= kEach / 5);
    }
  }
}

struct Odd {
  const char* name;
  unsigned brokers;
  void (*change)(BrokerPlan&);
  std::vector<sim::Fault> allowed;
};

void test_brokers_that_differ(void** /*state*/) {
  const Odd table[] = {
      {"slow to answer", 3, [](BrokerPlan& p) { p.syn_delay = 450ms; }, {}},
      {"close first", 3, [](BrokerPlan& p) { p.conduct = BrokerConduct::end_after_connack; }, {}},
      {"hold an old connection", 3, [](BrokerPlan& p) { p.on_syn = Action::challenge; }, {}},
      {"no SACK", 3, [](BrokerPlan& p) { p.tcp.sack = false; }, {}},
      {"no SACK at one", 1, [](BrokerPlan& p) { p.tcp.sack = false; }, {}},
      {"no window scale", 3, [](BrokerPlan& p) { p.tcp.window_scale.reset(); }, {}},
      {"window scale 0", 3, [](BrokerPlan& p) { p.tcp.window_scale = 0; }, {}},
      {"window scale 3", 3, [](BrokerPlan& p) { p.tcp.window_scale = 3; }, {}},
      {"window scale 14",
       3,
       [](BrokerPlan& p) {
         p.tcp.window_scale = 14;
         p.tcp.receive_buffer = 1U << 20;
       },
       {}},
      // Less than our SYN-ACK promised: what goes beyond comes again.
      {"small buffer",
       3,
       [](BrokerPlan& p) { p.tcp.receive_buffer = 4096; },
       {sim::Fault::sequence}},
      {"read slowly",
       3,
       [](BrokerPlan& p) {
         p.pace = {20ms, 700};
       },
       {}},
  };
  uint64_t seed = 220;
  for (const Odd& row : table) {
    for (const double loss : {0.0, 0.02}) {
      print_message("  %s, loss %.2f\n", row.name, loss);
      Setup setup = with_brokers(++seed, row.brokers, row.change);
      setup.allowed = row.allowed;
      setup.client_link = lossy(loss);
      setup.broker_link = lossy(loss);
      EngineWorld& w = run_many(setup, kEach, 5ms);
      expect_all_well(w, kEach);
    }
  }
}

// The client's options, with brokers that have no window scale, and the other way round.
void test_one_sided_window_scale(void** /*state*/) {
  for (const bool client_scales : {false, true}) {
    Setup setup = with_brokers(250, 3, [=](BrokerPlan& p) {
      p.tcp.window_scale.reset();
      if (!client_scales) p.tcp.window_scale = 9;
      p.tcp.receive_buffer = 60'000;
      p.bulk = 60'000;
    });
    EngineWorld& w = run_many(setup, kEach, 5ms, [=](size_t, sim::ClientPlan& plan) {
      plan.tcp.window_scale.reset();
      if (client_scales) plan.tcp.window_scale = 9;
      plan.tcp.receive_buffer = 200'000;
      plan.publish_bytes = 30'000;
    });
    expect_all_well(w, kEach);
  }
}

void test_challenge_is_answered(void** /*state*/) {
  Setup setup = with_brokers(255, 3, [](BrokerPlan& p) { p.on_syn = Action::challenge; });
  EngineWorld& w = run_many(setup, kEach, 5ms);
  expect_all_well(w, kEach);
  uint64_t challenges = 0;
  for (size_t i = 0; i < 3; ++i) {
    challenges += w.broker_host(i).counters().challenges;
    assert_int_equal(w.broker_host(i).counters().challenge_resets,
                     w.broker_host(i).counters().challenges);
  }
  assert_int_equal(challenges, kEach);
  assert_int_equal(w.engine().count(Event::broker_stale), kEach);
  // At once, not after a timer.
  assert_int_equal(w.engine().count(Event::broker_syn_again), 0);
}

// Clients are promised timestamps until a broker without them is met; those who came too early are
// told that no broker is available, all others are served.
void test_brokers_without_timestamps(void** /*state*/) {
  Setup setup = with_brokers(270, 3, [](BrokerPlan& p) { p.tcp.timestamps = false; });
  EngineWorld& w = run_many(setup, kEach, 20ms, [](size_t i, sim::ClientPlan& plan) {
    plan.tcp.timestamps = i < 3 || i % 2 == 0;
  });
  expect_clean(w);
  size_t refused = 0;
  for (const auto& c : w.conversations()) {
    if (c->complete()) continue;
    ++refused;
    assert_false(c->client_outcome.device_bytes.empty());
    assert_true(c->client_outcome.opened_at < base::Instant(2500ms));
  }
  assert_true(refused > 0);
  assert_int_equal(complete_conversations(w), kEach - refused);
  assert_int_equal(w.engine().count(base::End::options_mismatch), refused);
}

// Clients are promised an Ethernet's MSS until a broker with a smaller one is met.
void test_brokers_with_a_small_mss(void** /*state*/) {
  Setup setup = with_brokers(275, 3, [](BrokerPlan& p) { p.tcp.mss = 536; });
  EngineWorld& w = run_many(setup, kEach, 20ms, [](size_t i, sim::ClientPlan& plan) {
    if (i < 3) plan.publish_bytes = 0;
  });
  assert_int_equal(complete_conversations(w), kEach);
  for (const sim::Violation& v : w.world().violations().first()) {
    assert_int_equal(v.kind, sim::Fault::mss);
    assert_true(v.at < base::Instant(2500ms));
  }
}

struct Down {
  const char* name;
  Action on_syn;
  double loss;
  BrokerConduct conduct = BrokerConduct::serve;
};

void test_all_brokers_down(void** /*state*/) {
  const Down table[] = {
      {"refuse", Action::refuse, 0},
      {"silent", Action::drop, 0},
      {"refuse, lossy", Action::refuse, 0.03},
      {"silent, lossy", Action::drop, 0.03},
      {"RST on accept", Action::accept, 0, BrokerConduct::reset_on_accept},
      {"FIN on accept", Action::accept, 0, BrokerConduct::end_on_accept},
      {"RST on accept, lossy", Action::accept, 0.03, BrokerConduct::reset_on_accept},
  };
  uint64_t seed = 280;
  for (const Down& row : table) {
    print_message("  %s\n", row.name);
    Setup setup = default_setup(++seed);
    setup.broker_plan = [&row](unsigned, sim::Random&) {
      BrokerPlan plan;
      plan.on_syn = row.on_syn;
      plan.conduct = row.conduct;
      return plan;
    };
    setup.client_link = lossy(row.loss);
    setup.broker_link = lossy(row.loss);
    std::vector<sim::Level> levels;
    EngineWorld& w = run_many(setup, kEach, 5ms, [&](size_t, sim::ClientPlan& plan) {
      levels.push_back(plan.connect.level);
    });
    expect_clean(w);
    size_t orderly = 0;
    for (size_t i = 0; i < kEach; ++i) {
      const sim::ClientOutcome& o = w.conversations()[i]->client_outcome;
      assert_true(o.device_bytes == sim::encode_unavailable(levels[i]));
      orderly += o.reason == CloseReason::normal ? 1U : 0U;
    }
    // Where two repetitions in a row are lost, a RST meets the third.
    assert_true(orderly >= (row.loss > 0 ? kEach * 97 / 100 : kEach));
    assert_int_equal(w.engine().count(Event::connack_unavailable), kEach);
    assert_int_equal(w.engine().count(base::End::backends_failed), kEach);
  }
}

struct Header {
  config::ProxyProtocol version;
  bool crc32c;
  bool unique_id;
};

void test_proxy_protocol(void** /*state*/) {
  using config::ProxyProtocol;
  const Header table[] = {
      {ProxyProtocol::none, false, false}, {ProxyProtocol::v1, false, false},
      {ProxyProtocol::v2, false, false},   {ProxyProtocol::v2, true, false},
      {ProxyProtocol::v2, false, true},    {ProxyProtocol::v2, true, true},
  };
  uint64_t seed = 290;
  for (const Header& row : table) {
    Setup setup = with_brokers(++seed, 0, [](BrokerPlan&) {});
    setup.model.pools[0].proxy_protocol = row.version;
    setup.model.pools[0].proxy_crc32c = row.crc32c;
    setup.model.pools[0].proxy_unique_id = row.unique_id;
    setup.client_link = lossy(0.02);
    setup.broker_link = lossy(0.02);
    EngineWorld& w = run_many(setup, 2 * kEach, 5ms);
    expect_all_well(w, 2 * kEach);
    uint64_t headers = 0;
    for (size_t i = 0; i < 3; ++i) headers += w.broker(i).counters().proxy_headers;
    assert_int_equal(headers, row.version == ProxyProtocol::none ? 0 : 2 * kEach);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_another_broker_is_tried),    ENGINE_TEST(test_brokers_that_differ),
      ENGINE_TEST(test_one_sided_window_scale),     ENGINE_TEST(test_challenge_is_answered),
      ENGINE_TEST(test_brokers_without_timestamps), ENGINE_TEST(test_brokers_with_a_small_mss),
      ENGINE_TEST(test_all_brokers_down),           ENGINE_TEST(test_proxy_protocol),
  };
  return cmocka_run_group_tests_name("brokers", tests, nullptr, nullptr);
}
