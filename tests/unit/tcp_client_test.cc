// Control's TCP, segment by segment: what it sends, and what a hostile peer may send.
#include <functional>
#include <memory>
#include <string>

#include "tests/unit/tcp_client_ends.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;
using base::Seq32;
using control::TcpClient;
using control::TcpEnd;
using control::TcpState;

// A segment, and its payload where it stays.
struct Sent {
  wire::Segment segment;
  Octets payload;
  Instant when{};
};

// A client, and a peer that the test plays.
struct Trace {
  explicit Trace(uint16_t mtu = 1500) {
    control::TcpSetup setup{g_ends->ours, g_ends->peer, mtu, Seq32(kIss), 77};
    client = std::make_unique<TcpClient>(setup, [this](const wire::Segment& s) {
      sent.push_back({s, Octets(s.payload.begin(), s.payload.end()), Instant(now)});
    });
  }
  std::vector<Sent> take() { return std::exchange(sent, {}); }
  // Offsets behind the SYNs: what the peer sends next, and what it has received.
  void peer(uint8_t flags, uint32_t seq, uint32_t ack, std::string_view data = {},
            uint16_t window = 30000) {
    wire::Segment s;
    s.source = g_ends->peer;
    s.destination = g_ends->ours;
    s.flags = flags;
    s.seq = Seq32(kIrs + 1 + seq);
    s.ack = Seq32(kIss + 1 + ack);
    s.window = window;
    if (timestamps) s.options.timestamps = wire::Timestamps{++tsval, 0};
    s.payload = base::as_bytes(data);
    deliver(*client, s, Instant(now));
  }
  void syn_ack(std::optional<uint16_t> mss = 1460, uint16_t window = 30000) {
    wire::Segment s;
    s.source = g_ends->peer;
    s.destination = g_ends->ours;
    s.flags = wire::kSyn | wire::kAck;
    s.seq = Seq32(kIrs);
    s.ack = Seq32(kIss + 1);
    s.window = window;
    s.options.mss = mss;
    if (timestamps) s.options.timestamps = wire::Timestamps{tsval, 0};
    deliver(*client, s, Instant(now));
  }
  void open() {
    client->connect(Instant(now));
    syn_ack();
    take();
  }
  // Runs the clock in milliseconds.
  void run(Duration time) {
    for (const Duration end = now + time; now < end; now += 1ms) client->advance(Instant(now));
  }

  Duration now = 1000s;
  bool timestamps = false;
  uint32_t tsval = 0xfffffffe;
  std::vector<Sent> sent;
  std::unique_ptr<TcpClient> client;
};

uint32_t seq_of(const Sent& s) { return s.segment.seq.raw() - kIss - 1; }
uint32_t ack_of(const Sent& s) { return s.segment.ack.raw() - kIrs - 1; }

void test_syn(void**) {
  Trace t(1400);
  t.client->connect(Instant(t.now));
  t.run(3s);
  const auto sent = t.take();
  assert_int_equal(sent.size(), 4);  // at 0, 0.2, 0.6 and 1.4 s, then 3 s
  const int64_t at[] = {0, 200, 600, 1400};
  for (size_t i = 0; i < sent.size(); ++i) {
    const wire::Segment& s = sent[i].segment;
    assert_int_equal(s.flags, wire::kSyn);
    assert_int_equal(s.seq.raw(), kIss);
    assert_int_equal(*s.options.mss, 1400 - g_ends->headers);
    assert_int_equal(*s.options.window_scale, 0);
    assert_true(s.options.sack_permitted && s.options.timestamps.has_value());
    assert_int_equal((sent[i].when - Instant(1000s)).count() / 1000, at[i]);
  }
  assert_false(t.client->established());
  t.syn_ack();
  assert_true(t.client->established());
  assert_int_equal(*t.client->peer_options()->mss, 1460);
  assert_false(t.client->peer_options()->timestamps.has_value());
  const auto ack = t.take();
  assert_int_equal(ack.size(), 1);
  assert_int_equal(ack[0].segment.flags, wire::kAck);
  assert_int_equal(seq_of(ack[0]), 0);
  assert_int_equal(ack_of(ack[0]), 0);
  assert_false(ack[0].segment.options.timestamps.has_value());
  t.run(10s);
  assert_true(t.take().empty());
}

// An old connection at the peer is reset and the SYN comes again, a few times and no more.
void test_stale_peer(void**) {
  Trace t;
  t.client->connect(Instant(t.now));
  t.take();
  for (int i = 0; i < 10; ++i) t.peer(wire::kAck, 500, 700);
  const auto sent = t.take();
  assert_int_equal(sent.size(), 8);
  for (size_t i = 0; i < sent.size(); i += 2) {
    assert_int_equal(sent[i].segment.flags, wire::kRst);
    assert_int_equal(seq_of(sent[i]), 700);
    assert_int_equal(sent[i + 1].segment.flags, wire::kSyn);
  }
  t.syn_ack();
  assert_true(t.client->established());
}

void test_answers_to_syn(void**) {
  const struct {
    const char* what;
    uint8_t flags;
    uint32_t ack;
    TcpEnd end;
  } rows[] = {
      {"refused", wire::kRst | wire::kAck, 0, TcpEnd::refused},
      {"RST that acknowledges something else", wire::kRst | wire::kAck, 1, TcpEnd::none},
      {"RST without ACK", wire::kRst, 0, TcpEnd::none},
      {"SYN of its own", wire::kSyn, 0, TcpEnd::none},
      {"data", wire::kAck, 0, TcpEnd::none},
      {"FIN", wire::kFin | wire::kAck, 0, TcpEnd::none},
  };
  for (const auto& row : rows) {
    Trace t;
    t.client->connect(Instant(t.now));
    t.peer(row.flags, 0, row.ack);
    if (t.client->end() != row.end || t.client->established()) fail_msg("%s", row.what);
    assert_true((t.client->state() == TcpState::closed) == (row.end != TcpEnd::none));
  }
}

// The first write goes in one segment whatever the MSS is; the rest obeys MSS and window.
void test_segments(void**) {
  Trace t;
  t.timestamps = true;
  t.client->connect(Instant(t.now));
  t.syn_ack(uint16_t{100}, 300);
  t.take();
  const Octets header(107, 'h');
  const Octets data(500, 'd');
  t.client->write_whole(header, Instant(t.now));
  t.client->write(data, Instant(t.now));
  auto sent = t.take();
  // 107, then 88 and 88 (MSS less timestamps), then what the window leaves.
  const size_t sizes[] = {107, 88, 88, 17};
  assert_int_equal(sent.size(), std::size(sizes));
  for (size_t i = 0; i < sent.size(); ++i) {
    assert_int_equal(sent[i].payload.size(), sizes[i]);
    assert_true(sent[i].segment.options.timestamps.has_value());
  }
  assert_true(sent[0].payload == header);
  // Lost: the same again.
  t.run(200ms);
  t.client->advance(Instant(t.now));
  sent = t.take();
  assert_int_equal(sent[0].payload.size(), 107);
  assert_int_equal(seq_of(sent[0]), 0);
  t.peer(wire::kAck, 0, 300, {}, 300);
  sent = t.take();
  assert_int_equal(seq_of(sent[0]), 300);
  // The window closes: one byte at a time probes it.
  t.peer(wire::kAck, 0, 600, {}, 0);
  t.run(1s);
  sent = t.take();
  assert_in_range(sent.size(), 1, 3);
  for (const Sent& s : sent) {
    assert_int_equal(s.payload.size(), 1);
    assert_int_equal(seq_of(s), 600);
  }
}

// Every state meets a RST: only the exact next number counts (RFC 5961).
void test_resets(void**) {
  using Prepare = std::function<void(Trace&)>;
  const struct {
    const char* what;
    Prepare prepare;
    uint32_t next;  // of the peer's numbers
    TcpEnd end;     // of a right RST
  } rows[] = {
      {"established", [](Trace&) {}, 0, TcpEnd::reset},
      {"fin-wait-1", [](Trace& t) { t.client->close(Instant(t.now)); }, 0, TcpEnd::reset},
      {"fin-wait-2",
       [](Trace& t) {
         t.client->close(Instant(t.now));
         t.peer(wire::kAck, 0, 1);
       },
       0, TcpEnd::reset},
      {"closing",
       [](Trace& t) {
         t.client->close(Instant(t.now));
         t.peer(wire::kFin | wire::kAck, 0, 0);
       },
       1, TcpEnd::orderly},
      {"close-wait", [](Trace& t) { t.peer(wire::kFin | wire::kAck, 0, 0); }, 1, TcpEnd::reset},
      {"last-ack",
       [](Trace& t) {
         t.peer(wire::kFin | wire::kAck, 0, 0);
         t.client->close(Instant(t.now));
       },
       1, TcpEnd::orderly},
  };
  for (const auto& row : rows) {
    for (const uint32_t off : {1U, 16383U, 16384U, 0x80000000U, ~0U}) {
      Trace t;
      t.open();
      row.prepare(t);
      t.take();
      t.peer(wire::kRst, row.next + off, 0);
      if (t.client->end() != TcpEnd::none) fail_msg("%s: RST at +%u", row.what, off);
      // In the window it asks whether that was meant, outside it is silent.
      assert_int_equal(t.take().size(), off < TcpClient::kWindow ? 1 : 0);
    }
    Trace t;
    t.open();
    row.prepare(t);
    t.take();
    t.peer(wire::kRst, row.next, 0);
    if (t.client->end() != row.end) fail_msg("%s: exact RST", row.what);
    assert_true(t.client->state() == TcpState::closed);
    t.run(5s);
    assert_true(t.take().empty());
  }
}

// Numbers that no honest peer sends: nothing is taken, and the answers are few.
void test_hostile_numbers(void**) {
  const struct {
    const char* what;
    uint8_t flags;
    uint32_t seq, ack;
    const char* data;
  } rows[] = {
      {"acknowledges what was never sent", wire::kAck, 0, 11, "x"},
      {"acknowledges half the circle away", wire::kAck, 0, 0x80000000, "x"},
      {"acknowledges long before", wire::kAck, 0, 0xffff0000, "x"},
      {"data beyond the window", wire::kAck, 16384, 10, "x"},
      {"data half the circle away", wire::kAck, 0x80000000, 10, "x"},
      {"data from before", wire::kAck, ~0U, 10, "x"},
      {"SYN in the window", wire::kSyn | wire::kAck, 5, 10, ""},
      {"out of order", wire::kAck, 3, 10, "x"},
      {"FIN out of order", wire::kFin | wire::kAck, 3, 10, ""},
  };
  for (const auto& row : rows) {
    Trace t;
    t.open();
    t.client->write(base::as_bytes("0123456789"), Instant(t.now));
    t.take();
    for (int i = 0; i < 100; ++i) t.peer(row.flags, row.seq, row.ack, row.data);
    if (!t.client->take_received().empty() || t.client->peer_closed()) fail_msg("%s", row.what);
    assert_true(t.client->end() == TcpEnd::none);
    assert_in_range(t.take().size(), 0, 100);
    // It goes on as if nothing had been.
    t.peer(wire::kAck, 0, 10, "abc");
    assert_int_equal(t.client->take_received().size(), 3);
  }
}

// Bare ACKs that make no sense draw one answer in a while: no storm of two that disagree.
void test_no_storm(void**) {
  Trace t;
  t.open();
  for (int i = 0; i < 1000; ++i) {
    t.peer(wire::kAck, 50000, 5);
    t.peer(wire::kAck, 0, 5);
  }
  assert_int_equal(t.take().size(), 1);
}

void test_overlapping_data(void**) {
  Trace t;
  t.open();
  t.peer(wire::kAck, 0, 0, "abcd");
  t.peer(wire::kAck, 2, 0, "cdef");
  t.peer(wire::kAck, 0, 0, "abcd");
  t.peer(wire::kFin | wire::kAck, 4, 0, "efgh");
  const auto bytes = t.client->take_received();
  assert_int_equal(bytes.size(), 8);
  assert_memory_equal(bytes.data(), "abcdefgh", 8);
  assert_true(t.client->peer_closed());
  assert_int_equal(ack_of(t.take().back()), 9);
  t.peer(wire::kAck, 9, 0, "behind the FIN");
  assert_true(t.client->take_received().empty());
}

// Timestamps that go back are of an old segment (PAWS), also where they wrap.
void test_old_timestamps(void**) {
  Trace t;
  t.timestamps = true;
  t.open();
  t.peer(wire::kAck, 0, 0, "a");
  t.peer(wire::kAck, 1, 0, "b");  // 0 after 0xffffffff
  t.tsval -= 3;
  t.take();
  t.peer(wire::kAck, 2, 0, "old");
  assert_int_equal(t.client->take_received().size(), 2);
  assert_int_equal(ack_of(t.take().back()), 2);
}

void test_simultaneous_close(void**) {
  Trace t;
  t.open();
  t.client->close(Instant(t.now));
  assert_int_equal(t.take().back().segment.flags, wire::kFin | wire::kAck);
  t.peer(wire::kFin | wire::kAck, 0, 0);
  assert_true(t.client->state() == TcpState::closing);
  assert_int_equal(ack_of(t.take().back()), 1);
  t.peer(wire::kAck, 1, 1);
  assert_true(t.client->state() == TcpState::time_wait);
  assert_true(t.client->end() == TcpEnd::orderly);
  t.run(1s);
  assert_true(t.take().empty());
  // Its FIN comes again: our ACK was lost.
  t.peer(wire::kFin | wire::kAck, 0, 1);
  assert_int_equal(ack_of(t.take().back()), 1);
  t.run(1100ms);
  assert_true(t.client->state() == TcpState::closed);
  assert_true(t.client->end() == TcpEnd::orderly);
}

void test_abort(void**) {
  Trace t;
  t.open();
  t.client->write(base::as_bytes("0123456789"), Instant(t.now));
  t.peer(wire::kAck, 0, 0, "abc");
  t.take();
  t.client->abort();
  const auto sent = t.take();
  assert_int_equal(sent.size(), 1);
  assert_int_equal(sent[0].segment.flags, wire::kRst | wire::kAck);
  assert_int_equal(seq_of(sent[0]), 10);
  assert_int_equal(ack_of(sent[0]), 3);
  t.client->abort();
  t.run(5s);
  assert_true(t.take().empty());
  // Nothing is there to be reset yet.
  Trace fresh;
  fresh.client->connect(Instant(fresh.now));
  fresh.take();
  fresh.client->abort();
  assert_true(fresh.take().empty());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_syn),
      cmocka_unit_test(test_stale_peer),
      cmocka_unit_test(test_answers_to_syn),
      cmocka_unit_test(test_segments),
      cmocka_unit_test(test_resets),
      cmocka_unit_test(test_hostile_numbers),
      cmocka_unit_test(test_no_storm),
      cmocka_unit_test(test_overlapping_data),
      cmocka_unit_test(test_old_timestamps),
      cmocka_unit_test(test_simultaneous_close),
      cmocka_unit_test(test_abort),
  };
  return run_in_both_families(tests);
}
