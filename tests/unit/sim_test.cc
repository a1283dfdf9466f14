// The simulator on a plain wire: in whatever weather, two ends agree and nothing is complained of.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cstdio>

#include "tests/unit/sim_fixture.hh"

// Last: it defines fail and skip as macros.
extern "C" {
#include <cmocka.h>
}

namespace mqlb::sim {
namespace {

struct Weather {
  const char* name;
  LinkConfig client;
  LinkConfig broker;
  unsigned connections;
};

const Weather kWeathers[] = {
    {"clear", {}, {}, 1000},
    {"no delay at all", {.delay = Duration{0}}, {.delay = Duration{0}}, 1000},
    {"loss", {.loss = 0.05}, {}, 10'000},
    {"heavy loss", {.loss = 0.2}, {.loss = 0.1}, 300},
    {"reordering", {.reordering = 0.3, .jitter = Duration{5'000}}, {}, 1000},
    {"duplication", {.duplication = 0.1}, {.duplication = 0.1, .jitter = Duration{2'000}}, 1000},
    {"all",
     {.loss = 0.05, .duplication = 0.05, .reordering = 0.2, .jitter = Duration{10'000}},
     {.loss = 0.01, .duplication = 0.02, .reordering = 0.1, .jitter = Duration{3'000}},
     2000},
};

// Random clients, one every two milliseconds, against a broker with random options.
void populate(Net& net, unsigned connections) {
  net.serve([&net](const Segment&) {
    BrokerPlan p;
    p.tcp = random_tcp_options(net.random);
    if (net.random.chance(0.1)) p.pace = {Duration{30'000}, 500};
    if (net.random.chance(0.3)) p.bulk = net.random.below(20'000);
    return p;
  });
  for (uint32_t i = 0; i < connections; ++i) {
    net.world.at(net.world.now() + Duration{i * 2'000},
                 [&net, i] { open_client(net.clients, net.ledger, net.random_plan(i)); });
  }
}

unsigned count_complete(const Net& net) {
  unsigned n = 0;
  for (const auto& c : net.ledger.all()) {
    n += c->complete() ? 1U : 0U;
    if (c->complete()) continue;
    print_error("%s: client %s, broker %s\n", c->client_id.c_str(),
                std::string(to_string(c->client_outcome.reason)).c_str(),
                std::string(to_string(c->broker_outcome.reason)).c_str());
  }
  return n;
}

void assert_clean(Net& net) {
  const std::string summary = net.world.violations().summary();
  if (!summary.empty()) print_error("%s", summary.c_str());
  assert_int_equal(net.world.violations().total(), 0);
}

void test_weathers(void**) {
  for (const Weather& w : kWeathers) {
    auto net = std::make_unique<Net>(7, std::make_unique<WireDut>(), w.client, w.broker);
    populate(*net, w.connections);
    print_message("%s\n", w.name);
    assert_true(net->world.run());
    assert_clean(*net);
    assert_int_equal(count_complete(*net), w.connections);
    assert_int_equal(net->clients.connections() + net->brokers.connections(), 0);
    assert_int_equal(net->world.dut_counters().frames_in, net->world.dut_counters().frames_out);
    assert_int_equal(net->world.dut_counters().most_per_event, 1);
    const LinkCounters& link = net->world.to_dut_counters(net->clients);
    assert_true((link.lost > 0) == (w.client.loss > 0));
    assert_true((link.duplicated > 0) == (w.client.duplication > 0));
    assert_true((link.reordered > 0) == (w.client.reordering > 0));
  }
}

// A damaged frame between device and host is dropped there, and is nobody's fault.
void test_corruption_on_the_last_link(void**) {
  auto net = std::make_unique<Net>(9, std::make_unique<WireDut>(), LinkConfig{}, LinkConfig{});
  net->world.set_links(net->clients, {}, {.corruption = 0.05});
  populate(*net, 200);
  assert_true(net->world.run());
  assert_clean(*net);
  assert_int_equal(count_complete(*net), 200);
  assert_true(net->clients.counters().damaged > 0);
}

// A wire with a memory: everything that passes and when.
class HashingWire final : public Dut {
 public:
  explicit HashingWire(uint64_t& hash) : hash_(hash) {}
  void receive(unsigned port, base::Bytes frame, base::Instant now, FrameSink& out) override {
    mix(static_cast<uint64_t>(now.time_since_epoch().count()));
    for (const uint8_t b : frame) mix(b);
    out.transmit(1 - port, frame);
  }
  void advance(base::Instant, FrameSink&) override {}

 private:
  void mix(uint64_t v) { hash_ = Random(hash_ ^ v).u64(); }
  uint64_t& hash_;
};

uint64_t hash_of_run(uint64_t seed) {
  uint64_t hash = 0;
  const Weather& w = kWeathers[6];
  auto net = std::make_unique<Net>(seed, std::make_unique<HashingWire>(hash), w.client, w.broker);
  populate(*net, 50);
  net->world.run();
  return hash;
}

void test_seed_decides_everything(void**) {
  assert_true(hash_of_run(1) == hash_of_run(1));
  assert_true(hash_of_run(1) != hash_of_run(2));
}

struct Conduct {
  const char* name;
  BrokerPlan broker;
  Ending ending;
  CloseReason client;
  CloseReason at_broker;  // none: the broker never knew the client
  int connack;
};

BrokerPlan on_syn(SynVerdict::Action action, Duration delay = Duration{0}) {
  BrokerPlan p;
  p.on_syn = action;
  p.syn_delay = delay;
  return p;
}

BrokerPlan conduct(BrokerConduct c) {
  BrokerPlan p;
  p.conduct = c;
  return p;
}

BrokerPlan with(void (*change)(TcpOptions&)) {
  BrokerPlan p;
  change(p.tcp);
  return p;
}

using Act = SynVerdict::Action;
using Why = CloseReason;

const Conduct kConducts[] = {
    {"serves", {}, Ending::disconnect, Why::normal, Why::normal, 0},
    {"client half-closes", {}, Ending::half_close, Why::normal, Why::normal, 0},
    {"client resets", {}, Ending::reset, Why::aborted, Why::reset, 0},
    {"client resets early", {}, Ending::reset_early, Why::aborted, Why::reset, 0},
    {"client vanishes", {}, Ending::vanish, Why::vanished, Why::timeout, 0},
    {"refuses", on_syn(Act::refuse), Ending::end, Why::refused, Why::none, -1},
    {"is silent", on_syn(Act::drop), Ending::end, Why::timeout, Why::none, -1},
    {"challenges", on_syn(Act::challenge), Ending::end, Why::normal, Why::normal, 0},
    {"delays its SYN-ACK", on_syn(Act::accept, Duration{2'500'000}), Ending::end, Why::normal,
     Why::normal, 0},
    {"resets on accept", conduct(BrokerConduct::reset_on_accept), Ending::end, Why::reset,
     Why::aborted, -1},
    {"ends on accept", conduct(BrokerConduct::end_on_accept), Ending::end, Why::normal, Why::normal,
     -1},
    {"ends after CONNACK", conduct(BrokerConduct::end_after_connack), Ending::wait, Why::normal,
     Why::normal, 0},
    {"resets after CONNACK", conduct(BrokerConduct::reset_after_connack), Ending::wait, Why::reset,
     Why::aborted, -1},
    {"is mute", conduct(BrokerConduct::mute), Ending::end, Why::aborted, Why::reset, -1},
    {"no SACK", with([](TcpOptions& o) { o.sack = false; }), Ending::end, Why::normal, Why::normal,
     0},
    {"no timestamps", with([](TcpOptions& o) { o.timestamps = false; }), Ending::end, Why::normal,
     Why::normal, 0},
    {"no window scale", with([](TcpOptions& o) { o.window_scale.reset(); }), Ending::end,
     Why::normal, Why::normal, 0},
    {"other window scale", with([](TcpOptions& o) { o.window_scale = 2; }), Ending::end,
     Why::normal, Why::normal, 0},
};

void test_broker_conducts(void**) {
  for (const Conduct& row : kConducts) {
    print_message("%s\n", row.name);
    auto net = std::make_unique<Net>(3, std::make_unique<WireDut>(), LinkConfig{}, LinkConfig{});
    net->world.rules().challenge_on_syn = true;
    net->serve([&](const Segment&) {
      BrokerPlan p = row.broker;
      p.idle_limit = Duration{100'000'000};
      return p;
    });
    ClientPlan plan = net->plan(0);
    plan.ending = row.ending;
    plan.patience = Duration{80'000'000};
    const auto c = open_client(net->clients, net->ledger, plan);
    assert_true(net->world.run());
    assert_clean(*net);
    assert_int_equal(c->client_outcome.reason, row.client);
    assert_int_equal(c->broker_outcome.reason, row.at_broker);
    assert_int_equal(c->client_outcome.connack, row.connack);
    const bool challenged = row.broker.on_syn == Act::challenge;
    assert_int_equal(net->brokers.counters().challenges, challenged ? 1 : 0);
    assert_int_equal(net->brokers.counters().challenge_resets, challenged ? 1 : 0);
    assert_int_equal(net->clients.connections() + net->brokers.connections(), 0);
  }
}

// Far more than the windows hold, in both directions, read slowly at both ends.
void test_slow_readers(void**) {
  auto net =
      std::make_unique<Net>(5, std::make_unique<WireDut>(), LinkConfig{.loss = 0.02}, LinkConfig{});
  net->serve([&](const Segment&) {
    BrokerPlan p;
    p.tcp = random_tcp_options(net->random);
    p.tcp.receive_buffer = 8192;
    p.tcp.window_scale = 3;
    p.bulk = 200'000;
    p.pace = {Duration{20'000}, 3000};
    return p;
  });
  for (uint32_t i = 0; i < 20; ++i) {
    ClientPlan plan = net->random_plan(i);
    plan.tcp.receive_buffer = 4096;
    plan.tcp.window_scale = 0;
    plan.publish_bytes = 200'000;
    plan.expect_bulk = 200'000;
    plan.pace = {Duration{15'000}, 2000};
    open_client(net->clients, net->ledger, plan);
  }
  assert_true(net->world.run());
  assert_clean(*net);
  assert_int_equal(count_complete(*net), 20);
}

// The same address and port again while the other end is in TIME-WAIT.
void test_address_reuse_in_time_wait(void**) {
  auto net = std::make_unique<Net>(6, std::make_unique<WireDut>(), LinkConfig{}, LinkConfig{});
  net->serve([](const Segment&) { return conduct(BrokerConduct::end_after_connack); });
  for (uint32_t i = 0; i < 3; ++i) {
    net->world.at(net->world.now() + Duration{i * 1'000'000}, [n = net.get(), i] {
      ClientPlan plan = n->plan(0);
      plan.connect.client_id += "-" + std::to_string(i);
      plan.tcp.iss = base::Seq32(0xfffffff0U + 100'000 * i);
      plan.ending = Ending::wait;
      open_client(n->clients, n->ledger, plan);
    });
  }
  assert_true(net->world.run());
  assert_clean(*net);
  assert_int_equal(count_complete(*net), 3);
}

// Answers every connection itself, as a device does that has no broker to offer.
class Refusal final : public App {
 public:
  explicit Refusal(Buffer answer) : answer_(std::move(answer)) {}
  void on_readable(TcpEndpoint& tcp, Instant now) override {
    tcp.write(answer_, now);
    tcp.close(now);
  }

 private:
  Buffer answer_;
};

struct RefusalRow {
  const char* name;
  Level level;
  Buffer answer;
  uint64_t may_acknowledge;
  int connack;
  bool untrue;  // violations expected: ACKs of what no broker has
  size_t data;  // and bytes that no broker wrote
};

void test_answers_of_the_device_itself(void**) {
  const RefusalRow rows[] = {
      {"3.1.1", 4, {0x20, 2, 0, 3}, 100, 3, false, 0},
      {"5.0", 5, {0x20, 3, 0, 0x88, 0}, 100, 0x88, false, 0},
      {"wrong version", 5, {0x20, 2, 0, 3}, 100, -1, false, 1},
      {"trailing byte", 4, {0x20, 2, 0, 3, 0}, 100, -1, false, 1},
      {"must not acknowledge", 4, {0x20, 2, 0, 3}, 0, 3, true, 0},
  };
  for (const RefusalRow& row : rows) {
    print_message("%s\n", row.name);
    auto net = std::make_unique<Net>(8, std::make_unique<WireDut>(), LinkConfig{}, LinkConfig{});
    net->world.rules().device_may_acknowledge = row.may_acknowledge;
    net->brokers.listen(kBrokerEndpoint, [&](const Segment&) {
      return SynVerdict{.app = std::make_unique<Refusal>(row.answer)};
    });
    ClientPlan plan = net->plan(0);
    plan.connect.level = row.level;
    const auto c = open_client(net->clients, net->ledger, plan);
    assert_true(net->world.run());
    assert_int_equal(c->client_outcome.connack, row.connack);
    assert_int_equal(c->client_outcome.reason, CloseReason::normal);
    assert_false(c->client_outcome.succeeded);
    assert_true(c->client_outcome.device_bytes == row.answer);
    const Violations& v = net->world.violations();
    assert_int_equal(v.count(Fault::data), row.data);
    assert_int_equal(v.count(Fault::ack_untrue) > 0, row.untrue);
    assert_int_equal(v.total(), row.data + v.count(Fault::ack_untrue));
  }
}

}  // namespace
}  // namespace mqlb::sim

int main() {
  using namespace mqlb::sim;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_weathers),
      cmocka_unit_test(test_corruption_on_the_last_link),
      cmocka_unit_test(test_seed_decides_everything),
      cmocka_unit_test(test_broker_conducts),
      cmocka_unit_test(test_slow_readers),
      cmocka_unit_test(test_address_reuse_in_time_wait),
      cmocka_unit_test(test_answers_of_the_device_itself),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
