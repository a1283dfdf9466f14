// Brokers that accept and then leave without a word, and the clients that move on.
#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::End;
using base::Event;
using sim::BrokerConduct;
using sim::BrokerPlan;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;
using sim::kSyn;

constexpr size_t kEach = 150;
// PROXY v2 with the clients' addresses.
uint32_t header_length() { return families().clients_v6 ? 52 : 28; }

// The broker takes the SYN; what it and the client get for it.
SentFrames take_syn(Bench& b, RawEnd& broker) {
  sim::Segment answer = broker.segment(kSyn | kAck);
  answer.mss = 1460;
  SentFrames sent = b.send(broker, answer);
  broker.nxt += 1;
  return sent;
}

// What a broker was sent from broker.peer on, put in order; moves broker.peer behind it.
sim::Buffer bytes_to(RawEnd& broker, const SentFrames& sent) {
  sim::Buffer bytes;
  for (const Sent& s : sent) {
    if (s.port != kBrokers || s.segment.destination != broker.local) continue;
    const auto at = static_cast<size_t>(s.segment.seq - broker.peer);
    bytes.resize(std::max(bytes.size(), at + s.segment.payload.size()));
    std::copy(s.segment.payload.begin(), s.segment.payload.end(),
              bytes.begin() + static_cast<ptrdiff_t>(at));
  }
  broker.peer += static_cast<uint32_t>(bytes.size());
  return bytes;
}

size_t frames_to(unsigned port, const SentFrames& sent) {
  return static_cast<size_t>(
      std::count_if(sent.begin(), sent.end(), [=](const Sent& s) { return s.port == port; }));
}

// The broker that the engine asks in the last of these frames.
RawEnd next_broker(const SentFrames& sent, const RawEnd& former) {
  assert_false(sent.empty());
  const RawEnd broker = Bench::asked_broker(sent.back());
  assert_int_equal(broker.port, kBrokers);
  assert_true(broker.local != former.local);
  return broker;
}

sim::Buffer tail(const sim::Buffer& bytes, size_t from) {
  return {bytes.begin() + static_cast<ptrdiff_t>(std::min(from, bytes.size())), bytes.end()};
}

struct Leaving {
  const char* name;
  uint32_t taken;  // bytes of the CONNECT that it acknowledges first
  uint8_t flags;
};

constexpr uint32_t kAll = 0xffff;

void test_a_broker_leaves(void** /*state*/) {
  const Leaving table[] = {
      {"RST, nothing taken", 0, kRst},        {"RST, half taken", 7, kRst},
      {"RST, all taken", kAll, kRst},         {"RST with ACK", kAll, kRst | kAck},
      {"FIN, nothing taken", 0, kFin | kAck}, {"FIN, half taken", 7, kFin | kAck},
      {"FIN, all taken", kAll, kFin | kAck},
  };
  for (const bool timestamps : {false, true}) {
    for (const Leaving& row : table) {
      print_message("  %s, timestamps %d\n", row.name, timestamps);
      Bench& b = new_bench(default_setup(600));
      RawEnd client = raw_client(4000);
      client.timestamps = timestamps;
      assert_true(b.handshake(client));
      const base::Seq32 first_byte = client.nxt;
      RawEnd broker = b.ask_broker(client, "device");
      const sim::Buffer connect = tail(bytes_to(broker, take_syn(b, broker)), header_length());
      assert_int_equal(connect.size(), client.nxt - first_byte);
      const auto size = static_cast<uint32_t>(connect.size());
      const uint32_t taken = std::min(row.taken, size);
      broker.peer += taken - size;
      broker.tsval = 9'000'000;
      uint32_t shown = 0;
      const SentFrames acked = b.send(broker, broker.segment(kAck));
      assert_int_equal(acked.size(), taken > 0 ? 1 : 0);
      if (taken > 0) {
        assert_true(acked[0].segment.ack == first_byte + taken);
        if (timestamps) shown = acked[0].segment.timestamps->value;
      }

      // The client hears nothing of it.
      const SentFrames left = b.send(broker, broker.segment(row.flags));
      assert_int_equal(frames_to(kClients, left), 0);
      const bool told = (row.flags & kRst) == 0;
      assert_int_equal(left.size(), told ? 2 : 1);
      if (told) {
        assert_int_equal(left[0].segment.flags, kRst);
        assert_true(left[0].segment.seq == broker.peer);
      }
      assert_int_equal(b.count(Event::broker_hung_up), 1);

      RawEnd second = next_broker(left, broker);
      second.tsval = 77;
      const SentFrames again = take_syn(b, second);
      assert_int_equal(frames_to(kClients, again), 0);
      const sim::Buffer delivered = bytes_to(second, again);
      assert_true(tail(delivered, header_length()) == connect);
      const SentFrames full = b.send(second, second.segment(kAck));
      assert_int_equal(full.size(), taken < size ? 1 : 0);
      if (taken < size) assert_true(full[0].segment.ack == client.nxt);
      const sim::Buffer connack = sim::encode_connack(4, 0);
      const SentFrames told_client = b.send(second, second.segment(kAck | kPsh, connack));
      assert_int_equal(told_client.size(), 1);
      const sim::Segment& s = told_client[0].segment;
      assert_true(s.seq == client.peer && s.ack == client.nxt);
      assert_int_equal(s.timestamps.has_value(), timestamps);
      if (timestamps) {
        assert_true(static_cast<int32_t>(s.timestamps->value - client.tsecr) >= 0);
        assert_true(shown == 0 || static_cast<int32_t>(s.timestamps->value - shown) >= 0);
      }
      assert_int_equal(b.count(Event::spliced), 1);
    }
  }
}

// What did not wait for the CONNACK stays the client's until a broker has spoken.
void test_bytes_behind_the_connect(void** /*state*/) {
  Bench& b = new_bench(default_setup(601));
  RawEnd client = raw_client(4001);
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  const base::Seq32 behind = client.nxt;
  const sim::Buffer connect = tail(bytes_to(broker, take_syn(b, broker)), header_length());
  const sim::Buffer ping = sim::encode_empty(12);
  const sim::Segment early = client.segment(kAck | kPsh, ping);
  const SentFrames passed = b.send(client, early);
  assert_int_equal(passed.size(), 1);
  assert_true(bytes_to(broker, passed) == ping);
  client.nxt += 2;
  const SentFrames acked = b.send(broker, broker.segment(kAck));
  assert_int_equal(acked.size(), 1);
  assert_true(acked[0].segment.ack == behind);
  // Its window ends where the broker's does.
  assert_int_equal(acked[0].segment.window, broker.segment(kAck).window + ping.size());
  assert_int_equal(b.send(broker, broker.segment(kAck)).size(), 0);

  RawEnd second = next_broker(b.send(broker, broker.segment(kRst)), broker);
  assert_int_equal(b.send(client, early).size(), 0);  // waits
  const sim::Buffer delivered = tail(bytes_to(second, take_syn(b, second)), header_length());
  assert_int_equal(delivered.size(), connect.size() + ping.size());
  assert_true(tail(delivered, connect.size()) == ping);
  const SentFrames answer = b.send(second, second.segment(kAck | kPsh, sim::encode_connack(4, 0)));
  assert_int_equal(answer.size(), 1);
  assert_true(answer[0].segment.ack == client.nxt && answer[0].segment.seq == client.peer);
}

void test_the_client_leaves(void** /*state*/) {
  const struct {
    const char* name;
    bool before;
    uint8_t flags;
  } table[] = {
      {"FIN before", true, kFin | kAck},
      {"FIN meanwhile", false, kFin | kAck},
      {"RST meanwhile", false, kRst},
  };
  for (const auto& row : table) {
    print_message("  %s\n", row.name);
    Bench& b = new_bench(default_setup(602));
    RawEnd client = raw_client(4002);
    assert_true(b.handshake(client));
    RawEnd broker = b.ask_broker(client, "device");
    (void)bytes_to(broker, take_syn(b, broker));
    assert_int_equal(b.send(broker, broker.segment(kAck)).size(), 1);
    if (row.before) assert_int_equal(b.send(client, client.segment(row.flags)).size(), 1);
    if (row.before) {  // not acknowledged, so it will come again
      sim::Segment ack = broker.segment(kAck);
      ack.ack += 1;
      assert_int_equal(b.send(broker, ack).size(), 0);
    }
    RawEnd second = next_broker(b.send(broker, broker.segment(kRst)), broker);
    assert_int_equal(b.send(client, client.segment(row.flags)).size(), 0);
    const SentFrames sent = take_syn(b, second);
    const uint8_t last = row.flags & (kFin | kRst);
    assert_true(std::any_of(sent.begin(), sent.end(), [&](const Sent& s) {
      return s.port == kBrokers && (s.segment.flags & last) != 0;
    }));
    (void)bytes_to(second, sent);
    if (last == kFin) {
      second.peer += 1;
      client.nxt += 1;
      assert_true(b.answer(second, client));
      assert_int_equal(b.send(second, second.segment(kFin | kAck)).size(), 1);
      client.peer += 1;
      assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
    }
    (void)b.pass(30s);
    assert_int_equal(b.count(last == kFin ? End::closed : End::client_left), 1);
    assert_int_equal(b.dut().flows(), 0);
    assert_int_equal(b.dut().snat_ports_in_use(), 0);
  }
}

// Who is out of brokers is told in MQTT, behind all that it saw acknowledged.
void test_nobody_is_left(void** /*state*/) {
  Bench& b = new_bench(default_setup(603));
  RawEnd client = raw_client(4003);
  client.timestamps = true;
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  SentFrames sent;
  uint32_t shown = 0;
  for (int i = 0; i < 3; ++i) {
    (void)bytes_to(broker, take_syn(b, broker));
    broker.tsval = 3'000'000;  // far ahead
    for (const Sent& s : b.send(broker, broker.segment(kAck))) {
      shown = s.segment.timestamps->value;
    }
    sent = b.send(broker, broker.segment(kRst));
    if (i < 2) broker = next_broker(sent, broker);
  }
  assert_int_equal(sent.size(), 1);
  const sim::Segment& s = sent[0].segment;
  assert_int_equal(sent[0].port, kClients);
  assert_true(s.seq == client.peer && s.ack == client.nxt);
  assert_true(static_cast<int32_t>(s.timestamps->value - shown) >= 0);
  const sim::Buffer expected = sim::encode_unavailable(4);
  assert_true(std::equal(s.payload.begin(), s.payload.end(), expected.begin(), expected.end()));
  assert_int_equal(b.count(Event::broker_hung_up), 3);
  // All left the same client: nobody is blamed.
  const engine::ObjectCounters& objects = b.engine().core(0).objects();
  for (size_t i = 0; i < 3; ++i) {
    assert_int_equal(objects.backends[i].failures.value(), 1);
    assert_int_equal(objects.backends[i].faults.value(), 0);
  }
  (void)b.pass(30s);
  assert_int_equal(b.count(End::backends_failed), 1);
  assert_int_equal(b.dut().flows(), 0);
}

// The first broker leaves, the second one speaks. Who could have been asked to leave by the client
// is not blamed: clients must not be able to make brokers count as down.
void test_who_is_blamed(void** /*state*/) {
  const struct {
    const char* name;
    bool tcp;
    bool client_ends;
    base::Duration silence;
    uint8_t flags;
    bool blamed;
  } table[] = {
      {"FIN", false, false, 0ms, kFin | kAck, true},
      {"FIN, late", false, false, 20s, kFin | kAck, true},
      {"FIN behind the client's", false, true, 0ms, kFin | kAck, false},
      {"RST behind the client's FIN", false, true, 0ms, kRst, false},
      {"tcp, RST at once", true, false, 0ms, kRst, true},
      {"tcp, FIN at once", true, false, 900ms, kFin | kAck, true},
      {"tcp, FIN after silence", true, false, 10s, kFin | kAck, false},
      {"tcp, RST after silence", true, false, 10s, kRst, false},
  };
  for (const auto& row : table) {
    print_message("  %s\n", row.name);
    Setup setup = default_setup(608);
    if (row.tcp) setup.model.listeners[0].mode = config::ListenerMode::tcp;
    Bench& b = new_bench(setup);
    RawEnd client = raw_client(4003);
    assert_true(b.handshake(client));
    // In mode tcp it is asked by now, and is asked again.
    RawEnd broker =
        row.tcp ? Bench::asked_broker(b.pass(250ms).back()) : b.ask_broker(client, "device");
    (void)bytes_to(broker, take_syn(b, broker));
    (void)b.send(broker, broker.segment(kAck));
    if (row.client_ends) (void)b.send(client, client.segment(kFin | kAck));
    (void)b.pass(row.silence);
    RawEnd second = next_broker(b.send(broker, broker.segment(row.flags)), broker);
    (void)bytes_to(second, take_syn(b, second));
    (void)b.send(second, second.segment(kAck | kPsh, sim::encode_connack(4, 0)));
    uint64_t faults = 0, failures = 0;
    for (const auto& backend : b.engine().core(0).objects().backends) {
      faults += backend.faults.value();
      failures += backend.failures.value();
    }
    assert_int_equal(failures, 1);
    assert_int_equal(faults, row.blamed ? 1 : 0);
  }
}

// A broker that read the client's FIN and then ends its side without a CONNACK has answered: no
// other one gets to see the CONNECT of a client that is gone.
void test_a_broker_answers_fin(void** /*state*/) {
  for (const bool at_once : {false, true}) {
    Bench& b = new_bench(default_setup(609));
    RawEnd client = raw_client(4003);
    assert_true(b.handshake(client));
    RawEnd broker = b.ask_broker(client, "device");
    (void)bytes_to(broker, take_syn(b, broker));
    (void)b.send(broker, broker.segment(kAck));
    assert_int_equal(b.send(client, client.segment(kFin | kAck)).size(), 1);
    client.nxt += 1;
    broker.peer += 1;
    if (!at_once) (void)b.send(broker, broker.segment(kAck));
    const SentFrames ended = b.send(broker, broker.segment(kFin | kAck));
    assert_int_equal(ended.size(), 1);
    assert_int_equal(ended[0].port, kClients);
    assert_true(ended[0].segment.has(kFin) && ended[0].segment.ack == client.nxt);
    broker.nxt += 1;
    client.peer += 1;
    const SentFrames last = b.send(client, client.segment(kAck));
    assert_int_equal(last.size(), 1);
    assert_true(last[0].port == kBrokers && last[0].segment.ack == broker.nxt);
    (void)b.pass(30s);
    assert_int_equal(b.count(Event::broker_hung_up), 0);
    assert_int_equal(b.count(End::closed), 1);
    assert_int_equal(b.dut().flows(), 0);
  }
}

// A broker that answers the SYN and then goes dark is left when its try is over.
void test_a_broker_goes_dark(void** /*state*/) {
  Setup setup = default_setup(610);
  setup.model.pools[0].connect_timeout = 300ms;
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4003);
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  (void)bytes_to(broker, take_syn(b, broker));
  const SentFrames before = b.pass(295ms);
  assert_true(!before.empty());
  for (const Sent& s : before) assert_true(s.segment.destination == broker.local);
  const RawEnd second = next_broker(b.pass(10ms), broker);
  assert_int_equal(b.count(Event::broker_hung_up), 1);
  assert_true(second.local != broker.local);
}

// One that is to drain since the client's brokers were chosen is left out, if there is another.
void test_a_broker_drains_meanwhile(void** /*state*/) {
  const std::vector<size_t> draining[] = {{0}, {1}, {0, 1}};
  for (const auto& which : draining) {
    Bench& b = new_bench(default_setup(612));
    RawEnd client = raw_client(4003);
    assert_true(b.handshake(client));
    RawEnd broker = b.ask_broker(client, "device");
    (void)bytes_to(broker, take_syn(b, broker));
    // The two that were not asked yet.
    const auto& backends = b.engine().snapshot().backends;
    std::vector<config::BackendId> rest;
    for (config::BackendId id = 0; id < 3; ++id) {
      if (backends[id].endpoint != broker.local) rest.push_back(id);
    }
    for (const size_t i : which) {
      b.engine().shared().status.set(rest[i], {engine::Availability::drain, 0, 0});
    }
    const RawEnd second = next_broker(b.send(broker, broker.segment(kRst)), broker);
    if (which.size() == 1) assert_true(second.local == backends[rest[1 - which[0]]].endpoint);
  }
}

// In mode tcp without a header nothing is ours to send, and the client may wait for the server to
// speak first: the handshake is completed all the same, and again if that was lost.
void test_a_server_speaks_first(void** /*state*/) {
  Setup setup = default_setup(611);
  setup.model.listeners[0].mode = config::ListenerMode::tcp;
  setup.model.pools[0].proxy_protocol = config::ProxyProtocol::none;
  setup.model.pools[0].answer_timeout = 500ms;
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4003);
  assert_true(b.handshake(client));
  RawEnd broker = Bench::asked_broker(b.pass(250ms).back());
  sim::Segment accepts = broker.segment(kSyn | kAck);
  accepts.mss = 1460;
  broker.nxt += 1;
  for (int i = 0; i < 3; ++i) {
    const SentFrames sent = b.send(broker, accepts);
    assert_int_equal(sent.size(), 1);
    const sim::Segment& ack = sent[0].segment;
    assert_true(sent[0].port == kBrokers && ack.flags == kAck && ack.payload.empty());
    assert_true(ack.seq == broker.peer && ack.ack == broker.nxt);
  }
  // No answer is due to a client that has said nothing.
  assert_int_equal(b.pass(5s).size(), 0);
  const sim::Buffer greeting{'h', 'e', 'l', 'l', 'o'};
  const SentFrames heard = b.send(broker, broker.segment(kAck | kPsh, greeting));
  assert_int_equal(heard.size(), 1);
  assert_int_equal(heard[0].port, kClients);
  assert_true(heard[0].segment.seq == client.peer);
  assert_int_equal(heard[0].segment.payload.size(), greeting.size());
}

// With one that leaves, and all kinds of clients: each gets its CONNACK from another.
void test_many_clients_move_on(void** /*state*/) {
  const struct {
    const char* name;
    BrokerConduct conduct;
    std::vector<sim::Fault> allowed;
  } table[] = {
      {"RST on accept", BrokerConduct::reset_on_accept, {}},
      {"FIN on accept", BrokerConduct::end_on_accept, {}},
      // What it acknowledges behind the CONNECT is held back until it speaks.
      {"no answer", BrokerConduct::mute, {sim::Fault::ack_stale}},
  };
  uint64_t seed = 610;
  for (const auto& row : table) {
    for (const double loss : {0.0, 0.02}) {
      for (const size_t cores : {size_t{1}, size_t{2}}) {
        print_message("  %s, loss %.2f, cores %zu\n", row.name, loss, cores);
        Setup setup = default_setup(++seed);
        setup.model.pools[0].answer_timeout = 700ms;
        setup.allowed = row.allowed;
        if (cores == 2) setup.options.cores = {config::CoreRole::worker, config::CoreRole::proxy};
        setup.broker_plan = [&row](unsigned broker, sim::Random& random) {
          BrokerPlan plan = linux_like(broker, random);
          if (broker == 0) plan.conduct = row.conduct;
          return plan;
        };
        setup.client_link = lossy(loss);
        setup.broker_link = lossy(loss);
        // A FIN of the broker behind the client's own is no leaving.
        EngineWorld& w = run_many(setup, kEach, 5ms, [&](size_t, sim::ClientPlan& plan) {
          const bool ends_first = plan.ending == sim::Ending::half_close;
          const bool resets = row.conduct == BrokerConduct::reset_on_accept;
          if (ends_first && !resets) plan.ending = sim::Ending::end;
        });
        expect_all_well(w, kEach);
        assert_true(w.engine().count(Event::broker_hung_up) >= kEach / 5);
        assert_int_equal(w.engine().count(Event::spliced), kEach);
        assert_int_equal(w.engine().count(Event::connack_unavailable), 0);
      }
    }
  }
}

// A broker that takes the CONNECT and says nothing is left only where the pool says so.
void test_answer_timeout(void** /*state*/) {
  for (const auto timeout : {0ms, 700ms}) {
    Setup setup = default_setup(605);
    setup.model.pools[0].answer_timeout = timeout;
    Bench& b = new_bench(setup);
    RawEnd client = raw_client(4005);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    assert_int_equal(b.pass(690ms).size(), 0);
    const SentFrames sent = b.pass(20ms);
    assert_int_equal(sent.size(), timeout == 0ms ? 0 : 2);
    if (timeout == 0ms) {
      assert_int_equal(b.pass(10s).size(), 0);
      assert_true(b.answer(broker, client));
      continue;
    }
    assert_int_equal(sent[0].segment.flags, kRst);
    RawEnd second = next_broker(sent, broker);
    (void)bytes_to(second, take_syn(b, second));
    assert_true(b.answer(second, client));
    assert_int_equal(b.pass(2s).size(), 0);
  }
}

// From the broker's first byte on its client is told what it does.
void test_a_broker_that_spoke(void** /*state*/) {
  for (const uint8_t flags : {uint8_t{kRst}, uint8_t{kFin | kAck}}) {
    Bench& b = new_bench(default_setup(604));
    RawEnd client = raw_client(4004);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    assert_true(b.answer(broker, client));
    const SentFrames sent = b.send(broker, broker.segment(flags));
    assert_int_equal(sent.size(), 1);
    assert_int_equal(sent[0].port, kClients);
    assert_int_equal(sent[0].segment.flags, flags);
    assert_int_equal(b.count(Event::broker_hung_up), 0);
  }
}

// Clients of slow brokers do not keep new ones out: the oldest are bound to their brokers.
void test_new_clients_come_first(void** /*state*/) {
  Setup setup = default_setup(620);
  setup.model.settings.max_connecting = 4;
  Bench& b = new_bench(setup);
  std::vector<RawEnd> brokers;
  for (uint16_t i = 0; i < 10; ++i) {
    RawEnd client = raw_client(static_cast<uint16_t>(5000 + i));
    RawEnd& broker = brokers.emplace_back();
    assert_true(b.splice(client, broker, "device" + std::to_string(i)));
  }
  assert_int_equal(b.count(Event::retry_forgone), 6);
  const SentFrames oldest = b.send(brokers[0], brokers[0].segment(kRst));
  assert_int_equal(oldest.size(), 1);
  assert_int_equal(oldest[0].port, kClients);
  (void)next_broker(b.send(brokers[9], brokers[9].segment(kRst)), brokers[9]);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_a_broker_leaves),
      BENCH_TEST(test_bytes_behind_the_connect),
      BENCH_TEST(test_the_client_leaves),
      BENCH_TEST(test_nobody_is_left),
      ENGINE_TEST(test_many_clients_move_on),
      BENCH_TEST(test_new_clients_come_first),
      BENCH_TEST(test_a_broker_that_spoke),
      BENCH_TEST(test_answer_timeout),
      BENCH_TEST(test_who_is_blamed),
      BENCH_TEST(test_a_broker_answers_fin),
      BENCH_TEST(test_a_broker_goes_dark),
      BENCH_TEST(test_a_server_speaks_first),
      BENCH_TEST(test_a_broker_drains_meanwhile),
  };
  return cmocka_run_group_tests_name("retry", tests, nullptr, nullptr);
}
