// What a connection takes of a limit is given back however it ends.
#include "tests/engine/limits.hh"

namespace mqlb::tests {
namespace {

using base::Event;
using config::Refusal;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;
using sim::kSyn;

// ---- Every way to end, 10,000 times, against a limit of one.

void both_close(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  b.send(client, client.segment(kFin | kAck));
  client.nxt += 1;
  broker.peer += 1;
  b.send(broker, broker.segment(kFin | kAck));
  client.peer += 1;
  b.send(client, client.segment(kAck));
}
void client_resets(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  b.send(client, client.segment(kRst));
}
void broker_resets(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  b.send(broker, broker.segment(kRst));
}
void leaves_before_connect(Bench& b, RawEnd& client) {
  assert_true(b.handshake(client));
  b.send(client, client.segment(kRst));
}
void leaves_while_opening(Bench& b, RawEnd& client) {
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  b.send(client, client.segment(kRst));
  sim::Segment answer = broker.segment(kSyn | kAck);
  answer.mss = 1460;
  b.send(broker, answer);
}
void speaks_no_mqtt(Bench& b, RawEnd& client) {
  assert_true(b.handshake(client));
  b.send(client, client.segment(kAck | kPsh, base::as_bytes(std::string_view("GET / HTTP"))));
}
void brokers_refuse(Bench& b, RawEnd& client) {
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  for (int i = 0; i < 3; ++i) {
    broker.nxt = base::Seq32(0);
    for (const Sent& s : b.send(broker, broker.segment(kRst | kAck))) {
      if (s.port == kClients) {  // CONNACK and FIN
        client.peer = s.segment.seq + s.segment.length();
        b.send(client, client.segment(kRst));
        return;
      }
      broker.mac = wire::MacAddress::load(s.bytes.data());
      broker.local = s.segment.destination;
      broker.remote = s.segment.source;
      broker.peer = s.segment.seq + 1U;
    }
  }
  fail_msg("brokers were asked more than three times");
}
// Each takes the CONNECT and leaves without a word; in the end the client is told.
void mute_brokers_leave(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  for (int i = 0; i < 3; ++i) {
    RawEnd next;
    for (const Sent& s : b.send(broker, broker.segment(kRst))) {
      if (s.port == kBrokers) next = Bench::asked_broker(s);
      if (s.port == kClients && s.segment.has(kFin)) {
        assert_int_equal(b.dut().counted_connections(), 1);
        client.peer = s.segment.seq + s.segment.length();
        b.send(client, client.segment(kRst));
        return;
      }
    }
    assert_int_equal(next.port, kBrokers);
    assert_int_equal(b.dut().counted_connections(), 1);
    broker = next;
    sim::Segment answer = broker.segment(kSyn | kAck);
    answer.mss = 1460;
    assert_true(!b.send(broker, answer).empty());
    broker.nxt += 1;
  }
  fail_msg("brokers were asked more than three times");
}
// Its RST is seen before the broker's: the broker is asked no more, whoever has given back what.
void both_reset_before_a_word(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  b.send(client, client.segment(kRst));
  assert_int_equal(b.dut().connections_at_backends(), 0);
  b.send(broker, broker.segment(kRst));
}
// A RST that was not taken: the connection goes on, and counts again.
void goes_on_behind_a_reset(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  b.send(broker, broker.segment(kRst));
  assert_int_equal(b.dut().connections_at_backends(), 0);
  b.send(client, client.segment(kAck | kPsh, base::as_bytes(std::string_view("\xc0\0", 2))));
  client.nxt += 2;
  assert_int_equal(b.dut().connections_at_backends(), 1);
  assert_int_equal(b.dut().counted_connections(), 1);
  b.send(client, client.segment(kRst));
}
void is_idle(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device", 1));
  b.pass(30s);
}
void says_no_connect(Bench& b, RawEnd& client) {
  assert_true(b.handshake(client));
  b.pass(11s);
}
void one_side_closes(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  b.send(client, client.segment(kFin | kAck));
  b.pass(10s);
}
void backend_is_closed(Bench& b, RawEnd& client) {
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  uint32_t closed = 0;
  for (config::BackendId id = 0; id < 3; ++id) {
    flow::FlowIndex next = 0;
    closed += b.engine().core(0).worker()->close_flows(id, 1, next, 20000);
  }
  assert_int_equal(closed, 1);
  b.pass(1ms);
}

struct Way {
  const char* name;
  void (*end)(Bench& b, RawEnd& client);
  unsigned rounds;
};

void test_counts_are_given_back(void** /*state*/) {
  const Way ways[] = {
      {"both close", both_close, 10'000},
      {"the client resets", client_resets, 10'000},
      {"the broker resets", broker_resets, 10'000},
      {"leaves before CONNECT", leaves_before_connect, 10'000},
      {"leaves while a broker is asked", leaves_while_opening, 10'000},
      {"speaks no MQTT", speaks_no_mqtt, 10'000},
      {"no broker takes it", brokers_refuse, 1'000},
      {"mute brokers leave", mute_brokers_leave, 1'000},
      {"its backend is closed", backend_is_closed, 1'000},
      {"both reset before a word", both_reset_before_a_word, 1'000},
      {"goes on behind a RST", goes_on_behind_a_reset, 1'000},
      {"is idle", is_idle, 10},
      {"says no CONNECT", says_no_connect, 10},
      {"one side closes", one_side_closes, 10},
  };
  for (const Way& way : ways) {
    print_message("  %s\n", way.name);
    Setup setup = default_setup(690);
    setup.model.settings.max_flows = 40'000;
    setup.model.settings.idle_floor = 20s;
    setup.model.settings.half_close_timeout = 5s;
    setup.model.settings.snat_quarantine = 0s;
    limits(setup).max_connections = 1;
    limits(setup).source_connections = 1;
    for (config::Backend& backend : setup.model.pools[0].backends) backend.max_connections = 1;
    Bench& b = new_bench(setup);
    for (unsigned i = 0; i < way.rounds; ++i) {
      RawEnd client = raw_client(static_cast<uint16_t>(2000 + i % 50'000));
      way.end(b, client);
      assert_int_equal(b.dut().counted_connections(), 0);
      assert_int_equal(counted_for(b, 0), 0);
      assert_int_equal(b.dut().connections_at_backends(), 0);
    }
    b.pass(60s);
    assert_int_equal(b.dut().flows(), 0);
    assert_int_equal(b.dut().connections_at_backends(), 0);
    assert_int_equal(b.count(Event::cookie_accepted), way.rounds);
    assert_int_equal(turned_away(counters(b)), 0);
  }
}

// With a lossy network, several workers and clients that end as they like, nothing stays counted
// and nobody is over.
void test_many_under_a_limit(void** /*state*/) {
  using config::CoreRole;
  for (const Refusal refuse : {Refusal::silent, Refusal::reset}) {
    Setup setup = default_setup(700);
    setup.options.cores = {CoreRole::worker, CoreRole::both, CoreRole::proxy};
    setup.client_link = lossy(0.02);
    setup.broker_link = lossy(0.02);
    limits(setup).max_connections = 40;
    limits(setup).connect_rate = {200, 20};
    limits(setup).source_connections = 15;
    limits(setup).source_rate = {60, 5};
    limits(setup).refuse = refuse;
    constexpr size_t kConnections = 600;
    EngineWorld& w = new_world(setup);
    uint64_t most = 0;
    for (size_t i = 0; i < kConnections; ++i) {
      sim::ClientPlan plan = sim::random_client_plan(w.random(), "device-" + std::to_string(i));
      plan.tcp.time_wait = 30s;
      w.client(3ms * static_cast<int64_t>(i) + 100ms, plan);
    }
    for (int i = 0; i < 5000; ++i) {
      w.world().after(2ms * i, [&] { most = std::max(most, w.dut().counted_connections()); });
    }
    w.run();
    assert_int_equal(w.dut().flows(), 0);
    assert_int_equal(w.dut().counted_connections(), 0);
    assert_int_equal(w.dut().connections_at_backends(), 0);
    assert_int_equal(w.dut().unaccounted_frames(), 0);
    assert_in_range(most, 30, 40);
    const size_t complete = complete_conversations(w);
    print_message("  %zu of %zu, at most %zu at once\n", complete, kConnections, size_t(most));
    // Who hears nothing tries again.
    if (refuse == Refusal::silent) assert_true(complete > kConnections * 9 / 10);
    uint64_t turned = 0;
    for (size_t i = 0; i < w.engine().core_count(); ++i) {
      turned += turned_away(w.engine().core(i).objects().listeners[0]);
    }
    assert_true(turned > 0);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_counts_are_given_back),
      ENGINE_TEST(test_many_under_a_limit),
  };
  return cmocka_run_group_tests_name("give_back", tests, nullptr, nullptr);
}
