// How spliced flows end when nobody says goodbye, and how they do not end.
#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::End;
using base::Event;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;

void expect_nothing_left(Bench& b) {
  assert_int_equal(b.dut().flows(), 0);
  assert_int_equal(b.dut().snat_ports_in_use(), 0);
  assert_int_equal(b.dut().connections_at_backends(), 0);
  assert_int_equal(b.engine().buffers_in_use(), 0);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// A RST for each end, with the number that it expects next.
void expect_both_reset(const SentFrames& sent, const RawEnd& client, const RawEnd& broker) {
  assert_int_equal(sent.size(), 2);
  for (const Sent& s : sent) {
    const RawEnd& end = s.port == kClients ? client : broker;
    assert_true(s.tcp);
    assert_true(s.segment.has(kRst));
    assert_true(s.segment.destination == end.local);
    assert_int_equal(s.segment.seq.raw(), end.peer.raw());
    assert_true(wire::MacAddress::load(s.bytes.data()) == end.mac);
  }
  assert_true(sent[0].port != sent[1].port);
}

struct Idle {
  uint16_t keep_alive;  // seconds
  int64_t least, most;  // seconds of silence until the end
};

void test_idle_timeout(void** /*state*/) {
  const Idle table[] = {
      {60, 100, 107},  // 1.5 times and a margin; looked at every two seconds, in units of four
      {10, 50, 57},    // the floor
      {0, 200, 207},   // the maximum
      {1000, 1510, 1519},
  };
  for (const Idle& row : table) {
    Setup setup = default_setup(500);
    setup.model.settings.idle_floor = 50s;
    setup.model.settings.idle_max = 200s;
    Bench& b = new_bench(setup);
    RawEnd client = raw_client(4000);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device", row.keep_alive));
    assert_int_equal(b.pass(std::chrono::seconds(row.least / 2)).size(), 0);
    assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);  // from here on
    assert_int_equal(b.pass(std::chrono::seconds(row.least - 1)).size(), 0);
    expect_both_reset(b.pass(std::chrono::seconds(row.most - row.least + 1)), client, broker);
    assert_int_equal(b.count(End::idle_timeout), 1);
    expect_nothing_left(b);
  }
}

// Real ends take the RSTs.
void test_idle_timeout_of_real_ends(void** /*state*/) {
  Setup setup = default_setup(501);
  setup.model.settings.idle_floor = 20s;
  setup.broker_plan = [](unsigned broker, sim::Random& random) {
    sim::BrokerPlan plan = linux_like(broker, random);
    plan.idle_limit = 600s;
    return plan;
  };
  constexpr size_t kConnections = 100;
  EngineWorld& w = run_many(setup, kConnections, 5ms, [](size_t, sim::ClientPlan& plan) {
    plan.connect.keep_alive = 20;
    plan.ending = sim::Ending::wait;
  });
  expect_clean(w);
  for (const auto& c : w.conversations()) {
    assert_true(c->client_outcome.succeeded);
    assert_int_equal(c->client_outcome.reason, sim::CloseReason::reset);
    assert_int_equal(c->broker_outcome.reason, sim::CloseReason::reset);
    assert_false(c->client_outcome.gave_up);
  }
  assert_int_equal(w.engine().count(End::idle_timeout), kConnections);
}

// Records are looked at evenly over two seconds: 20,000 of them are ten each millisecond, however
// many are idle at once.
void test_idle_flows_end_a_few_at_a_time(void** /*state*/) {
  constexpr uint16_t kFlows = 200;
  Setup setup = default_setup(503);
  setup.model.settings.idle_floor = 50s;
  Bench& b = new_bench(setup);
  for (uint16_t i = 0; i < kFlows; ++i) {
    RawEnd client = raw_client(static_cast<uint16_t>(4000 + i));
    RawEnd broker;
    assert_true(b.splice(client, broker, "device" + std::to_string(i), 10));
  }
  assert_int_equal(b.pass(45s).size(), 0);
  uint64_t ended = 0;
  for (int i = 0; i < 12000; ++i) {
    (void)b.pass(1ms);
    assert_in_range(b.count(End::idle_timeout) - ended, 0, 11);
    ended = b.count(End::idle_timeout);
  }
  assert_int_equal(ended, kFlows);
  expect_nothing_left(b);
}

void test_half_close_timeout(void** /*state*/) {
  for (const bool client_first : {true, false}) {
    Setup setup = default_setup(502);
    setup.model.settings.half_close_timeout = 20s;
    Bench& b = new_bench(setup);
    RawEnd client = raw_client(4000);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    assert_true(b.answer(broker, client));
    RawEnd& first = client_first ? client : broker;
    RawEnd& second = client_first ? broker : client;
    assert_int_equal(b.send(first, first.segment(kFin | kAck)).size(), 1);
    first.nxt += 1;
    second.peer += 1;
    assert_int_equal(b.send(second, second.segment(kAck)).size(), 1);
    assert_int_equal(b.pass(18s).size(), 0);
    expect_both_reset(b.pass(6s), client, broker);
    assert_int_equal(b.count(End::half_close_timeout), 1);
    expect_nothing_left(b);
  }
}

// They pass, and the broker judges; the flow lives.
void test_blind_reset_by_the_client(void** /*state*/) {
  Bench& b = new_bench(default_setup(503));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  for (const uint32_t step : {1U, 100U, 40'000U, 1U << 20, 1U << 29, 1U << 30, 1U << 31, ~0U}) {
    sim::Segment rst = client.segment(kRst);
    rst.seq += step;
    assert_true(b.send(client, rst).size() <= 1);
  }
  const sim::Buffer ping_request = sim::encode_empty(12);
  // Nor do bytes somewhere ahead with a RST, or a FIN, that goes on with them.
  for (uint32_t step = 1; step != 0; step *= 2) {
    for (const uint8_t flag : {kRst, static_cast<uint8_t>(kFin | kAck)}) {
      sim::Segment bytes = client.segment(kAck | kPsh, ping_request);
      bytes.seq += step;
      bytes.ack += 0x4000'0000;
      assert_true(b.send(client, bytes).size() <= 1);
      sim::Segment last = client.segment(flag);
      last.seq = bytes.seq + 2U;
      last.ack = bytes.ack;
      assert_true(b.send(client, last).size() <= 1);
    }
  }
  assert_int_equal(b.pass(20s).size(), 0);
  // A device's next message passes as if nothing had been.
  const SentFrames ping = b.send(client, client.segment(kAck | kPsh, sim::encode_empty(12)));
  assert_int_equal(ping.size(), 1);
  assert_int_equal(ping[0].segment.seq.raw(), broker.peer.raw());
  client.nxt += 2;
  broker.peer += 2;
  // The true one ends it.
  const SentFrames rst = b.send(client, client.segment(kRst));
  assert_int_equal(rst.size(), 1);
  assert_int_equal(rst[0].segment.seq.raw(), broker.peer.raw());
  assert_int_equal(b.pass(15s).size(), 0);
  assert_int_equal(b.count(End::client_reset), 1);
  expect_nothing_left(b);
}

void test_blind_reset_by_the_broker(void** /*state*/) {
  Bench& b = new_bench(default_setup(504));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  for (const uint32_t step : {40'000'000U, 1U << 30, 1U << 31}) {
    sim::Segment rst = broker.segment(kRst);
    rst.seq += step;
    assert_int_equal(b.send(broker, rst).size(), 1);
  }
  assert_int_equal(b.pass(20s).size(), 0);
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  // In the window, but not the next number: the client challenges, and the flow lives.
  sim::Segment near = broker.segment(kRst);
  near.seq += 500;
  assert_int_equal(b.send(broker, near).size(), 1);
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  assert_int_equal(b.pass(20s).size(), 0);
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  assert_int_equal(b.send(broker, broker.segment(kRst)).size(), 1);
  b.pass(15s);
  assert_int_equal(b.count(End::broker_reset), 1);
  expect_nothing_left(b);
}

// After both FINs: what either side repeats still passes for a while.
void test_orderly_end(void** /*state*/) {
  Bench& b = new_bench(default_setup(505));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  const sim::Segment fin = client.segment(kFin | kAck);
  assert_int_equal(b.send(client, fin).size(), 1);
  client.nxt += 1;
  broker.peer += 1;
  assert_int_equal(b.send(broker, broker.segment(kFin | kAck)).size(), 1);
  broker.nxt += 1;
  client.peer += 1;
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  b.pass(5s);
  assert_int_equal(b.send(client, fin).size(), 1);
  assert_int_equal(b.send(broker, broker.segment(kAck)).size(), 1);
  assert_int_equal(b.count(End::closed), 0);
  assert_int_equal(b.pass(15s).size(), 0);
  assert_int_equal(b.count(End::closed), 1);
  expect_nothing_left(b);
  // Whoever comes later is told.
  const SentFrames late = b.send(client, client.segment(kAck));
  assert_int_equal(late.size(), 1);
  assert_int_equal(late[0].segment.flags, kRst);
  assert_int_equal(late[0].segment.seq.raw(), client.peer.raw());
}

// A client whose frames come from another router from now on.
void test_client_moves(void** /*state*/) {
  Bench& b = new_bench(default_setup(506));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  client.mac = client_mac(3);
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  const SentFrames answer = b.send(broker, broker.segment(kAck));
  assert_int_equal(answer.size(), 1);
  assert_true(wire::MacAddress::load(answer[0].bytes.data()) == client_mac(3));
  assert_int_equal(b.count(Event::client_moved), 1);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_idle_timeout),
      ENGINE_TEST(test_idle_timeout_of_real_ends),
      BENCH_TEST(test_idle_flows_end_a_few_at_a_time),
      BENCH_TEST(test_half_close_timeout),
      BENCH_TEST(test_blind_reset_by_the_client),
      BENCH_TEST(test_blind_reset_by_the_broker),
      BENCH_TEST(test_orderly_end),
      BENCH_TEST(test_client_moves),
  };
  return cmocka_run_group_tests_name("ends", tests, nullptr, nullptr);
}
