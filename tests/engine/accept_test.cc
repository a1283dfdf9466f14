// What clients do between SYN and splice.
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

constexpr size_t kEach = 40;  // connections for each row of a table

struct Shape {
  const char* name;
  std::vector<size_t> pieces;  // of the CONNECT; the rest follows in one
  base::Duration gap;
  bool nagle;
  sim::LinkConfig link;
};

sim::LinkConfig disorder() {
  sim::LinkConfig link;
  link.reordering = 0.7;
  link.jitter = 4ms;
  return link;
}

sim::LinkConfig everything_twice() {
  sim::LinkConfig link;
  link.duplication = 1;
  link.jitter = 3ms;
  return link;
}

void test_connect_in_pieces(void** /*state*/) {
  const std::vector<size_t> bytes(64, 1);
  const Shape shapes[] = {
      {"one segment", {}, 0ms, false, {}},
      {"three segments", {2, 9}, 0ms, false, {}},
      {"three segments, slowly", {2, 9}, 70ms, false, {}},
      {"byte by byte", bytes, 0ms, false, {}},
      {"byte by byte, slowly", bytes, 15ms, false, {}},
      {"byte by byte, Nagle", bytes, 0ms, true, {}},
      {"byte by byte, slowly, Nagle", bytes, 15ms, true, {}},
      {"out of order", {5, 5, 5, 5}, 0ms, false, disorder()},
      {"bytes out of order", bytes, 1ms, false, disorder()},
      {"twice", {}, 0ms, false, everything_twice()},
      {"bytes twice", bytes, 1ms, false, everything_twice()},
  };
  uint64_t seed = 100;
  for (const Shape& shape : shapes) {
    print_message("  %s\n", shape.name);
    Setup setup = default_setup(++seed);
    setup.client_link = shape.link;
    EngineWorld& w = run_many(setup, kEach, 5ms, [&](size_t, sim::ClientPlan& plan) {
      plan.connect_pieces = shape.pieces;
      plan.piece_gap = shape.gap;
      plan.tcp.nagle = shape.nagle;
    });
    expect_all_well(w, kEach);
  }
}

struct LongConnect {
  double loss;
  bool pipeline;
  std::vector<sim::Fault> allowed;
};

void test_long_connect(void** /*state*/) {
  const LongConnect table[] = {
      {0, false, {}},
      // What follows the CONNECT may reach further than the broker's first window; it takes it when
      // it comes again.
      {0, true, {sim::Fault::sequence}},
      // What the client repeats passes with newer timestamps than what we send in its place; the
      // broker refuses the older ones (PAWS) until we have learnt of it.
      {0.03, false, {sim::Fault::timestamp_regressed, sim::Fault::sequence}},
      {0.03, true, {sim::Fault::timestamp_regressed, sim::Fault::sequence}},
  };
  for (const LongConnect& row : table) {
    Setup setup = default_setup(120);
    setup.model.listeners[0].max_connect_bytes = 70'000;
    setup.client_link = lossy(row.loss);
    setup.broker_link = lossy(row.loss);
    setup.allowed = row.allowed;
    EngineWorld& w = run_many(setup, kEach, 20ms, [&](size_t i, sim::ClientPlan& plan) {
      plan.connect.client_id = std::to_string(i) + std::string(65'500, 'i');
      plan.connect_pieces.clear();
      plan.pipeline = row.pipeline;
    });
    expect_all_well(w, kEach);
    assert_int_equal(w.engine().count(base::Event::connect_owned), kEach);
  }
}

void test_pipelined(void** /*state*/) {
  for (const sim::Level level : {sim::Level{3}, sim::Level{4}, sim::Level{5}}) {
    for (const bool pipeline : {false, true}) {
      Setup setup = default_setup(130U + level);
      EngineWorld& w = run_many(setup, kEach, 5ms, [&](size_t i, sim::ClientPlan& plan) {
        plan.connect.level = level;
        plan.pipeline = pipeline;
        plan.subscribe = true;
        plan.qos = static_cast<unsigned>(i % 3);
        plan.publish_bytes = 10 + i * 200;  // also more than the held frames carry
        plan.connect_pieces.clear();
      });
      expect_all_well(w, kEach);
    }
  }
}

struct Options {
  const char* name;
  bool mss;
  std::optional<uint8_t> scale;
  bool sack;
  bool timestamps;
  uint16_t size;
};

void test_tcp_options(void** /*state*/) {
  const Options table[] = {
      {"none", false, {}, false, false, 536},
      {"MSS", true, {}, false, false, 1460},
      {"window scale", false, 3, false, false, 536},
      {"window scale 0", false, 0, false, false, 536},
      {"window scale 14", false, 14, false, false, 536},
      {"SACK", false, {}, true, false, 536},
      {"timestamps", false, {}, false, true, 536},
      {"all", true, 7, true, true, 1460},
      {"small MSS", true, 7, true, true, 88},
      {"small MSS alone", true, {}, false, false, 88},
      {"large MSS", true, 7, true, true, 8960},
  };
  uint64_t seed = 150;
  for (const Options& o : table) {
    print_message("  %s\n", o.name);
    Setup setup = default_setup(++seed);
    setup.client_link = lossy(0.01);
    setup.broker_plan = [](unsigned broker, sim::Random& random) {
      sim::BrokerPlan plan = linux_like(broker, random);
      plan.bulk = 5000;
      return plan;
    };
    EngineWorld& w = run_many(setup, kEach, 5ms, [&](size_t, sim::ClientPlan& plan) {
      plan.tcp.announce_mss = o.mss;
      plan.tcp.mss = o.size;
      plan.tcp.window_scale = o.scale;
      plan.tcp.sack = o.sack;
      plan.tcp.timestamps = o.timestamps;
      plan.tcp.receive_buffer = o.scale == 14 ? 1U << 20 : 32768;
      plan.publish_bytes = 3000;
    });
    expect_all_well(w, kEach);
  }
}

// Sequence numbers and timestamps of both ends wrap within the first bytes.
void test_numbers_wrap(void** /*state*/) {
  Setup setup = default_setup(170);
  setup.client_link = lossy(0.01);
  setup.broker_plan = [n = 0U](unsigned broker, sim::Random& random) mutable {
    sim::BrokerPlan plan = linux_like(broker, random);
    plan.tcp.iss = base::Seq32(0U - n++ % 400);
    plan.tcp.timestamp_offset = 0U - static_cast<uint32_t>(random.below(3000));
    plan.bulk = 500;
    return plan;
  };
  constexpr size_t kConnections = 400;
  EngineWorld& w = run_many(setup, kConnections, 5ms, [](size_t i, sim::ClientPlan& plan) {
    plan.tcp.iss = base::Seq32(0U - static_cast<uint32_t>(i));
    plan.tcp.timestamp_offset = 0U - static_cast<uint32_t>(i * 8);
  });
  expect_all_well(w, kConnections);
}

// The FIN is in the segment of the CONNECT's end, or in one of its own right behind it; the answer
// must still come.
void test_half_close_behind_connect(void** /*state*/) {
  for (const bool pieces : {false, true}) {
    Setup setup = default_setup(180);
    setup.client_link = lossy(0.02);
    setup.broker_link = lossy(0.02);
    constexpr size_t kConnections = 200;
    EngineWorld& w = run_many(setup, kConnections, 5ms, [&](size_t i, sim::ClientPlan& plan) {
      plan.pipeline = true;
      plan.ending = sim::Ending::half_close;
      if (i % 2 == 0) {
        plan.subscribe = false;
        plan.publish_bytes = 0;
        plan.pings = 0;
      }
      plan.connect_pieces = pieces ? std::vector<size_t>{3, 3} : std::vector<size_t>{};
    });
    expect_all_well(w, kConnections);
    for (const auto& c : w.conversations()) {
      assert_true(c->client_outcome.received >= sim::encode_connack(4, 0).size());
    }
  }
}

// A RST right behind the CONNECT, while a slow broker is asked.
void test_reset_while_broker_is_asked(void** /*state*/) {
  Setup setup = default_setup(190);
  setup.client_link = lossy(0.02);
  setup.broker_plan = [](unsigned broker, sim::Random& random) {
    sim::BrokerPlan plan = linux_like(broker, random);
    plan.syn_delay = std::chrono::milliseconds(random.below(600));
    return plan;
  };
  constexpr size_t kConnections = 300;
  EngineWorld& w = run_many(setup, kConnections, 5ms, [](size_t, sim::ClientPlan& plan) {
    plan.pipeline = true;
    plan.ending = sim::Ending::reset_early;
    plan.publish_bytes = 0;
  });
  expect_clean(w);
  assert_true(w.engine().count(base::End::client_left) > 200);
}

void test_syn_flood(void** /*state*/) {
  constexpr unsigned kSyns = 100'000;
  constexpr size_t kConnections = 200;
  EngineWorld& w = new_world(default_setup(195));
  for (size_t i = 0; i < kConnections; ++i) {
    w.client(10ms * static_cast<int64_t>(i) + 100ms,
             sim::random_client_plan(w.random(), "device-" + std::to_string(i)));
  }
  for (unsigned i = 0; i < kSyns; ++i) {
    w.world().after(20us * i + 100ms, [&w, i] {
      sim::Segment syn;
      syn.source = {client_address(i % 4), static_cast<uint16_t>(20'000 + i / 4)};
      syn.destination = listener_endpoint();
      syn.seq = base::Seq32(i * 2654435761U);
      syn.flags = sim::kSyn;
      syn.mss = 1460;
      const size_t held = w.engine().buffers_in_use();
      const uint64_t flows = w.dut().flows();
      w.world().inject(kClients,
                       sim::encode_segment(client_mac(i % 4), kPortMacs[kClients], syn, 0));
      assert_int_equal(w.engine().buffers_in_use(), held);
      assert_int_equal(w.dut().flows(), flows);
    });
  }
  w.run();
  assert_true(w.engine().count(base::Event::syn_answered) >= kSyns);
  assert_int_equal(w.engine().count(base::Event::cookie_accepted), kConnections);
  expect_all_well(w, kConnections);
}

// From an address and port that the engine still knows: the new connection takes its place.
void test_same_port_again(void** /*state*/) {
  EngineWorld& w = new_world(default_setup(197));
  const sim::Ending endings[] = {sim::Ending::disconnect, sim::Ending::half_close,
                                 sim::Ending::reset, sim::Ending::end};
  for (unsigned round = 0; round < 4; ++round) {
    for (unsigned i = 0; i < 20; ++i) {
      sim::ClientPlan plan = sim::random_client_plan(w.random(), "device-" + std::to_string(i));
      plan.local = {client_address(i % 4), static_cast<uint16_t>(5000 + i)};
      plan.pace = {};
      plan.piece_gap = 0ms;
      plan.tcp.time_wait = 10ms;
      plan.tcp.iss = base::Seq32(w.random().u32());
      plan.ending = endings[i % 4];
      w.client_at(std::chrono::seconds(2 * round) + 100ms + 1ms * i, plan);
    }
  }
  w.run();
  expect_clean(w);
  size_t reset = 0;
  for (const auto& c : w.conversations()) {
    const bool aborted = c->client_outcome.reason == sim::CloseReason::aborted;
    reset += aborted && c->client_outcome.succeeded ? 1U : 0U;
  }
  assert_int_equal(reset, 20);
  assert_int_equal(complete_conversations(w), 60);
  assert_int_equal(w.engine().count(base::End::replaced), 60);
}

// A client that lost its power comes back on the same port while the broker still holds its
// connection.
void test_return_after_power_loss(void** /*state*/) {
  EngineWorld& w = new_world(default_setup(198));
  constexpr unsigned kClientCount = 20;
  for (unsigned i = 0; i < 2 * kClientCount; ++i) {
    const bool again = i >= kClientCount;
    sim::ClientPlan plan = plain_plan("device-" + std::to_string(i % kClientCount));
    plan.local = {client_address(0), static_cast<uint16_t>(5000 + i % kClientCount)};
    plan.tcp.iss = base::Seq32(w.random().u32());
    plan.tcp.timestamp_offset = again ? w.random().u32() : 0;
    if (!again) plan.ending = sim::Ending::vanish;
    w.client_at(again ? 5s : 100ms, plan);
  }
  w.run();
  expect_clean(w);
  assert_int_equal(complete_conversations(w), kClientCount);
  assert_int_equal(w.engine().count(base::End::replaced), kClientCount);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_connect_in_pieces),
      ENGINE_TEST(test_long_connect),
      ENGINE_TEST(test_pipelined),
      ENGINE_TEST(test_tcp_options),
      ENGINE_TEST(test_numbers_wrap),
      ENGINE_TEST(test_half_close_behind_connect),
      ENGINE_TEST(test_reset_while_broker_is_asked),
      ENGINE_TEST(test_syn_flood),
      ENGINE_TEST(test_same_port_again),
      ENGINE_TEST(test_return_after_power_loss),
  };
  return cmocka_run_group_tests_name("accept", tests, nullptr, nullptr);
}
