// The client's side frame by frame: deadlines, malformed CONNECTs, and second SYNs in every state.
#include "tests/engine/bench.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {
namespace {

using namespace std::chrono_literals;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;
using sim::kSyn;

sim::Buffer small_connect() {
  sim::ConnectFields fields;
  fields.client_id = "device";
  return sim::encode_connect(fields);
}

// Exactly one frame: a RST that the client must take.
void expect_reset(const SentFrames& sent, const RawEnd& client) {
  assert_int_equal(sent.size(), 1);
  assert_true(sent[0].tcp);
  assert_int_equal(sent[0].port, client.port);
  assert_true(sent[0].segment.has(kRst));
  assert_int_equal(sent[0].segment.seq.raw(), client.peer.raw());
}

void expect_nothing_left(Bench& b) {
  assert_int_equal(b.dut().flows(), 0);
  assert_int_equal(b.dut().snat_ports_in_use(), 0);
  assert_int_equal(b.engine().buffers_in_use(), 0);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

void test_connect_deadline(void** /*state*/) {
  for (const size_t bytes : {size_t{0}, size_t{5}}) {
    Bench& b = new_bench(default_setup(1));
    RawEnd client = raw_client(4000);
    assert_true(b.handshake(client));
    if (bytes > 0) {
      b.send(client, client.segment(kAck, base::Bytes(small_connect()).first(bytes)));
      client.nxt += static_cast<uint32_t>(bytes);
      assert_int_equal(b.pass(100ms).size(), 1);  // acknowledged: the client may be waiting
    }
    assert_int_equal(b.pass(9800ms).size(), 0);
    assert_int_equal(b.count(base::End::connect_timeout), 0);
    const SentFrames end = b.pass(300ms);
    expect_reset(end, client);
    assert_int_equal(end[0].segment.ack.raw(), client.nxt.raw());
    assert_int_equal(b.count(base::End::connect_timeout), 1);
    expect_nothing_left(b);
  }
}

struct BadConnect {
  std::vector<uint8_t> bytes;
  base::End reason;
};

void test_malformed_connect(void** /*state*/) {
  using base::End;
  const BadConnect table[] = {
      {{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'}, End::not_connect},
      {{0xc0, 0x00}, End::not_connect},
      {{0x11, 0x0d}, End::fixed_header_flags},
      {{0x16, 0x03, 0x01}, End::fixed_header_flags},  // a TLS ClientHello
      {{0x10, 0xff, 0xff, 0xff, 0xff, 0x01}, End::remaining_length},
      {{0x10, 0x02, 0x00, 0x04}, End::remaining_length},
      {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'X', 4, 2, 0, 60, 0, 1, 'a'}, End::protocol_name},
      {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 6, 2, 0, 60, 0, 1, 'a'}, End::protocol_version},
      {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 3, 0, 60, 0, 1, 'a'}, End::connect_flags},
      {{0x10, 15, 0, 4, 'M', 'Q', 'T', 'T', 5, 2, 0, 60, 2, 0x7f, 0, 0, 0}, End::properties},
      {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 0xff}, End::string_encoding},
      {{0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 0, 0, 60, 0, 0}, End::client_id},
      {{0x10, 13, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 5, 'a'}, End::field_truncated},
      {{0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 1, 'a', 'b'}, End::trailing_bytes},
      {{0x10, 0x80, 0x80, 0x02}, End::connect_too_long},
  };
  Bench& b = new_bench(default_setup(2));
  uint16_t port = 4000;
  for (const BadConnect& row : table) {
    for (const size_t cut : {row.bytes.size(), size_t{1}}) {
      auto client = raw_client(++port);
      assert_true(b.handshake(client));
      const uint64_t before = b.count(row.reason);
      const base::Bytes bytes(row.bytes);
      SentFrames sent = b.send(client, client.segment(kAck | kPsh, bytes.first(cut)));
      client.nxt += static_cast<uint32_t>(cut);
      if (sent.empty()) {
        sent = b.send(client, client.segment(kAck | kPsh, bytes.subspan(cut)));
      }
      expect_reset(sent, client);
      assert_int_equal(b.count(row.reason), before + 1);
      expect_nothing_left(b);
      b.pass(20ms);
    }
  }
  uint64_t ends = 0;
  for (size_t i = 0; i < static_cast<size_t>(base::End::count_); ++i) {
    ends += b.count(static_cast<base::End>(i));
  }
  assert_int_equal(ends, 2 * std::size(table));
  assert_int_equal(b.count(base::Event::broker_syn), 0);
  assert_int_equal(b.count(base::Event::connack_unavailable), 0);
}

// The parts of a CONNECT in every order, each twice.
void test_any_order(void** /*state*/) {
  const sim::Buffer connect = small_connect();
  const base::Bytes bytes(connect);
  const size_t orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  Bench& b = new_bench(default_setup(3));
  uint16_t port = 4000;
  for (const auto& order : orders) {
    RawEnd client = raw_client(++port);
    assert_true(b.handshake(client));
    unsigned asked = 0;
    for (const size_t part : order) {
      for (int twice = 0; twice < 2; ++twice) {
        const size_t from = part * 7;
        const size_t size = part == 2 ? bytes.size() - from : 7;
        sim::Segment s = client.segment(kAck, bytes.subspan(from, size));
        s.seq += static_cast<uint32_t>(from);
        for (const Sent& sent : b.send(client, s)) asked += sent.port == kBrokers ? 1 : 0;
      }
    }
    assert_int_equal(asked, 1);
  }
}

void test_reset_before_connect(void** /*state*/) {
  Bench& b = new_bench(default_setup(4));
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  sim::Segment blind = client.segment(kRst);
  blind.seq = client.nxt + 100'000U;
  assert_int_equal(b.send(client, blind).size(), 0);
  assert_int_equal(b.dut().flows(), 1);
  // In the window, but not what comes next: a client that is gone would answer what we say with a
  // RST that is (RFC 5961 section 3.2).
  blind.seq = client.nxt + 100U;
  const SentFrames challenge = b.send(client, blind);
  assert_int_equal(challenge.size(), 1);
  assert_true(challenge[0].segment.flags == kAck && challenge[0].segment.ack == client.nxt);
  assert_int_equal(b.dut().flows(), 1);
  assert_int_equal(b.send(client, client.segment(kRst)).size(), 0);
  assert_int_equal(b.count(base::End::client_left), 1);
  expect_nothing_left(b);
}

// While the broker is asked: the connection that then comes about is reset.
void test_reset_while_asking(void** /*state*/) {
  Bench& b = new_bench(default_setup(5));
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  RawEnd broker = b.ask_broker(client, "device");
  assert_int_equal(broker.port, kBrokers);
  sim::Segment blind = client.segment(kRst);
  blind.seq += 7;
  assert_int_equal(b.send(client, blind).size(), 1);
  assert_int_equal(b.send(client, client.segment(kRst)).size(), 0);
  sim::Segment answer = broker.segment(kSyn | kAck);
  const SentFrames sent = b.send(broker, answer);
  assert_true(!sent.empty() && sent.size() <= 4);
  bool reset = false;
  for (const Sent& s : sent) {
    assert_int_equal(s.port, kBrokers);
    reset = reset || s.segment.has(kRst);
  }
  assert_true(reset);
  assert_int_equal(b.count(base::End::client_left), 1);
  expect_nothing_left(b);
}

// A SYN from the same address and port with another sequence number is answered, and once its
// handshake is done the old connection is over. Returns the client's new end.
RawEnd come_again(Bench& b, const RawEnd& old) {
  RawEnd client = raw_client(old.local.port);
  client.nxt = old.nxt + 77'777U;
  assert_true(b.handshake(client));
  assert_int_equal(b.count(base::End::replaced), 1);
  return client;
}

void expect_service(Bench& b, RawEnd& client) {
  RawEnd broker = b.ask_broker(client, "device");
  assert_int_equal(broker.port, kBrokers);
  assert_true(b.accept(broker, client));
}

void test_second_syn_awaiting(void** /*state*/) {
  Bench& b = new_bench(default_setup(6));
  RawEnd first = raw_client(4000);
  assert_true(b.handshake(first));
  b.send(first, first.segment(kAck, base::Bytes(small_connect()).first(3)));
  RawEnd second = come_again(b, first);
  assert_int_equal(b.dut().flows(), 1);
  expect_service(b, second);
}

void test_second_syn_opening(void** /*state*/) {
  Bench& b = new_bench(default_setup(7));
  RawEnd first = raw_client(4000);
  assert_true(b.handshake(first));
  RawEnd old_broker = b.ask_broker(first, "device");
  RawEnd second = come_again(b, first);
  expect_service(b, second);
  // The first one's broker answers late: nobody wants it any more.
  const SentFrames sent = b.send(old_broker, old_broker.segment(kSyn | kAck));
  assert_false(sent.empty());
  assert_true(sent.back().segment.has(kRst));
  for (const Sent& s : sent) assert_int_equal(s.port, kBrokers);
  assert_int_equal(b.dut().flows(), 2);  // a worker's and a proxy's record
}

// Also when the new numbers are the old ones, as those of devices are that begin alike after each
// start.
void test_second_syn_spliced(void** /*state*/) {
  for (const uint32_t step : {0U, 77'777'777U}) {
    Bench& b = new_bench(default_setup(8));
    RawEnd client = raw_client(4000);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    b.pass(40s);
    RawEnd second = raw_client(4000);
    second.nxt += step;
    assert_true(b.handshake(second));
    assert_int_equal(b.count(base::End::replaced), 1);
    assert_int_equal(b.count(base::Event::rst_to_broker), 1);
    assert_int_equal(b.count(base::Event::rst_to_client), 0);
    expect_service(b, second);
  }
}

// The same within the life of a cookie: the new one cannot be told from the old one, so the broker
// judges. It challenges, the client's RST ends the flow, and the next SYN is answered.
void test_similar_syn_spliced(void** /*state*/) {
  for (const uint32_t step : {0U, 1U}) {
    Bench& b = new_bench(default_setup(8));
    RawEnd client = raw_client(4000);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    RawEnd second = raw_client(4000);
    second.nxt += step;
    sim::Segment again = second.segment(kSyn);
    again.mss = 1460;
    const SentFrames syn = b.send(second, again);
    assert_int_equal(syn.size(), 1);
    assert_int_equal(syn[0].port, kBrokers);
    assert_int_equal(syn[0].segment.flags, kSyn);
    const SentFrames challenge = b.send(broker, broker.segment(kAck));
    assert_int_equal(challenge.size(), 1);
    assert_int_equal(challenge[0].segment.ack.raw(), client.nxt.raw());
    const SentFrames reset = b.send(client, client.segment(kRst));
    assert_int_equal(reset.size(), 1);
    assert_int_equal(reset[0].segment.seq.raw(), broker.peer.raw());
    assert_true(b.handshake(second));
    assert_int_equal(b.count(base::End::replaced), 1);
    expect_service(b, second);
  }
}

// Somebody else's SYN: the client is asked, and nothing of its connection changes.
void test_blind_syn_spliced(void** /*state*/) {
  Bench& b = new_bench(default_setup(8));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  RawEnd blind = client;
  blind.nxt += 1'000'000U;
  const SentFrames asked = b.send(blind, blind.segment(kSyn));
  assert_int_equal(asked.size(), 1);
  assert_int_equal(asked[0].port, kClients);
  assert_int_equal(asked[0].segment.flags, kSyn | kAck);
  const SentFrames challenge = b.send(client, client.segment(kAck));
  assert_int_equal(challenge.size(), 1);
  assert_int_equal(challenge[0].port, kBrokers);
  assert_int_equal(challenge[0].segment.seq.raw(), broker.peer.raw());
  const SentFrames reset = b.send(client, client.segment(kRst));
  assert_int_equal(reset.size(), 1);
  assert_int_equal(reset[0].segment.seq.raw(), broker.peer.raw());
  b.pass(15s);
  assert_int_equal(b.count(base::End::client_reset), 1);
  expect_nothing_left(b);
}

void test_second_syn_closing(void** /*state*/) {
  Bench& b = new_bench(default_setup(9));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  assert_int_equal(b.send(client, client.segment(kFin | kAck)).size(), 1);
  client.nxt += 1;
  broker.peer += 1;
  assert_int_equal(b.send(broker, broker.segment(kFin | kAck)).size(), 1);
  broker.nxt += 1;
  client.peer += 1;
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
  RawEnd second = come_again(b, client);
  expect_service(b, second);
}

void test_second_syn_refusing(void** /*state*/) {
  Setup setup = default_setup(10);
  setup.model.pools[0].backends.clear();
  Bench& b = new_bench(setup);
  RawEnd first = raw_client(4000);
  assert_true(b.handshake(first));
  const sim::Buffer connect = small_connect();
  const SentFrames connack = b.send(first, first.segment(kAck, connect));
  assert_int_equal(connack.size(), 1);
  assert_true(connack[0].segment.has(kFin));
  first.nxt += static_cast<uint32_t>(connect.size());
  RawEnd second = come_again(b, first);
  assert_int_equal(b.send(second, second.segment(kAck, connect)).size(), 1);
  assert_int_equal(b.count(base::Event::connack_unavailable), 2);
}

// The client did not get our last ACK and repeats its FIN: answered, not reset.
void test_refused_client_repeats_its_fin(void** /*state*/) {
  Setup setup = default_setup(14);
  setup.model.pools[0].backends.clear();
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  const sim::Buffer connect = small_connect();
  const SentFrames connack = b.send(client, client.segment(kAck, connect));
  assert_int_equal(connack.size(), 1);
  client.nxt += static_cast<uint32_t>(connect.size());
  client.peer += connack[0].segment.length();
  for (int i = 0; i < 2; ++i) {
    const SentFrames answer = b.send(client, client.segment(kFin | kAck));
    assert_int_equal(answer.size(), 1);
    assert_int_equal(answer[0].segment.flags, kAck);
    assert_int_equal(answer[0].segment.ack.raw(), (client.nxt + 1U).raw());
    b.pass(300ms);
  }
  b.pass(1s);
  assert_int_equal(b.count(base::End::no_backend), 1);
  assert_int_equal(b.count(base::Event::rst_to_client), 0);
  expect_nothing_left(b);
}

// A client whose CONNECT was acknowledged piece by piece, so that its bytes are ours to deliver,
// and a broker that took the SYN and got the PROXY header and the CONNECT.
sim::Segment deliver_owned(Bench& b, RawEnd& client, RawEnd& broker) {
  client.timestamps = true;
  client.tsval = 5000;
  assert_true(b.handshake(client));
  sim::ConnectFields fields;
  fields.client_id = std::string(1000, 'i');
  const sim::Buffer connect = sim::encode_connect(fields);
  const base::Bytes bytes(connect);
  b.send(client, client.segment(kAck, bytes.first(500)));
  client.nxt += 500;
  assert_int_equal(b.pass(30ms).size(), 1);  // acknowledged
  const SentFrames asked = b.send(client, client.segment(kAck, bytes.subspan(500)));
  client.nxt += static_cast<uint32_t>(bytes.size()) - 500;
  assert_int_equal(asked.size(), 1);
  const sim::Segment syn = asked[0].segment;
  broker.port = kBrokers;
  broker.mac = wire::MacAddress::load(asked[0].bytes.data());
  broker.local = syn.destination;
  broker.remote = syn.source;
  broker.peer = syn.seq + 1U;
  broker.timestamps = true;
  broker.tsecr = syn.timestamps->value;
  sim::Segment answer = broker.segment(kSyn | kAck);
  answer.mss = 1460;
  const SentFrames sent = b.send(broker, answer);
  broker.nxt += 1;
  assert_int_equal(sent.size(), 2);
  return sent[1].segment;
}

// The broker echoes a newer timestamp of the client than ours: what we repeat must not be older
// (RFC 7323 section 5), or the broker refuses it for ever.
void test_owned_bytes_keep_up_with_the_clock(void** /*state*/) {
  Bench& b = new_bench(default_setup(12));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  const sim::Segment first = deliver_owned(b, client, broker);
  assert_int_equal(first.timestamps->value, 5000);
  broker.tsecr = 5200;
  b.send(broker, broker.segment(kAck));
  const SentFrames again = b.pass(300ms);
  assert_false(again.empty());
  assert_int_equal(again[0].segment.timestamps->value, 5200);
}

// The broker got the PROXY header twice and says so (RFC 2883): the client never sent those bytes.
void test_duplicate_header_is_ours(void** /*state*/) {
  Bench& b = new_bench(default_setup(14));
  RawEnd client = raw_client(4000);
  const base::Seq32 first_byte = client.nxt + 1U;
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  sim::Segment duplicate = broker.segment(kAck);
  duplicate.sack_count = 1;
  duplicate.sack[0] = {first_byte - 20U, first_byte};
  SentFrames sent = b.send(broker, duplicate);
  assert_int_equal(sent.size(), 1);
  assert_int_equal(sent[0].segment.sack_count, 0);
  duplicate.sack[0] = {client.nxt + 10U, client.nxt + 20U};
  sent = b.send(broker, duplicate);
  assert_int_equal(sent.size(), 1);
  assert_int_equal(sent[0].segment.sack_count, 1);
}

// An ACK that was overtaken tells of a window that is past.
void test_window_of_an_overtaken_ack(void** /*state*/) {
  Bench& b = new_bench(default_setup(13));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  const sim::Segment first = deliver_owned(b, client, broker);
  const sim::Segment overtaken = broker.segment(kAck);  // acknowledges nothing, a wide window
  RawEnd ahead = broker;
  ahead.peer = first.seq;
  sim::Segment narrow = ahead.segment(kAck);
  narrow.window = 100;
  b.send(broker, narrow);
  b.send(broker, overtaken);
  const SentFrames again = b.pass(300ms);
  assert_false(again.empty());
  for (const Sent& s : again) {
    assert_true((s.segment.seq + static_cast<uint32_t>(s.segment.payload.size())) - first.seq <=
                100);
  }
}

// The same SYN once more, as a network may deliver it: answered alike, and nothing is lost.
void test_repeated_syn(void** /*state*/) {
  Bench& b = new_bench(default_setup(11));
  RawEnd client = raw_client(4000);
  sim::Segment syn = client.segment(kSyn);
  syn.mss = 1460;
  assert_true(b.handshake(client));
  const SentFrames again = b.send(client, syn);
  assert_int_equal(again.size(), 1);
  assert_int_equal((again[0].segment.seq + 1U).raw(), client.peer.raw());
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 0);
  assert_int_equal(b.count(base::End::replaced), 0);
  expect_service(b, client);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_connect_deadline),
      BENCH_TEST(test_malformed_connect),
      BENCH_TEST(test_any_order),
      BENCH_TEST(test_reset_before_connect),
      BENCH_TEST(test_reset_while_asking),
      BENCH_TEST(test_second_syn_awaiting),
      BENCH_TEST(test_second_syn_opening),
      BENCH_TEST(test_second_syn_spliced),
      BENCH_TEST(test_similar_syn_spliced),
      BENCH_TEST(test_blind_syn_spliced),
      BENCH_TEST(test_second_syn_closing),
      BENCH_TEST(test_second_syn_refusing),
      BENCH_TEST(test_repeated_syn),
      BENCH_TEST(test_refused_client_repeats_its_fin),
      BENCH_TEST(test_owned_bytes_keep_up_with_the_clock),
      BENCH_TEST(test_duplicate_header_is_ours),
      BENCH_TEST(test_window_of_an_overtaken_ack),
  };
  return cmocka_run_group_tests_name("handshake", tests, nullptr, nullptr);
}
