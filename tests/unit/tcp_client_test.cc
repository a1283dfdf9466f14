// Control's TCP: against an independent end over a wire that loses, repeats and swaps any segment,
// and segment by segment against what a hostile peer may send.
#include "lib/control/tcp_client.hh"

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"
#include "tests/support/sim/tcp_endpoint.hh"

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

// All tests run in both families.
struct Ends {
  const char* name;
  wire::Endpoint ours, peer;
  uint16_t headers;  // of IP and TCP, without options
};
const Ends kFamilies[] = {
    {"IPv4", {ip("198.18.1.100"), 65530}, {ip("198.18.1.11"), 1883}, 40},
    {"IPv6", {ip("2001:db8::100"), 65530}, {ip("2001:db8::11"), 1883}, 60},
};
const Ends* g_ends = nullptr;
constexpr uint32_t kIss = 0xffffffe0;  // the numbers wrap within the first bytes
constexpr uint32_t kIrs = 0xfffffff0;

// A segment, and its payload where it stays.
struct Sent {
  wire::Segment segment;
  Octets payload;
  Instant when{};
};

// Gives the client a frame as the network would bring it.
void deliver(TcpClient& client, wire::Segment segment, Instant now) {
  segment.link = {kMacA, kMacB};
  Octets frame(4096);
  frame.resize(wire::build_segment(segment, frame));
  wire::Packet packet;
  const auto drop =
      wire::parse_packet(frame, {kMacB, 9000}, wire::HardwareChecksum::unknown, packet);
  assert_false(drop.has_value());
  client.receive(packet, now);
}

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

// What happens to the n-th segment of one direction.
enum class Mishap : uint8_t { none, lost, twice, late };

constexpr size_t kHeader = 28;
constexpr size_t kRequest = 3000;
constexpr size_t kAnswer = 20000;

// The client asks, an end of the simulator answers, and both close.
class Pair : public sim::SegmentSink, public sim::App {
 public:
  Pair(const sim::TcpOptions& options, bool peer_closes_first)
      : peer_closes_first_(peer_closes_first),
        peer_(g_ends->peer, g_ends->ours, options, *this, violations_, rules_) {
    rules_.max_reorder = 20ms;
    rules_.max_transit = 30ms;
    peer_.set_app(this);
    control::TcpSetup setup{g_ends->ours, g_ends->peer, 1500, Seq32(kIss), 5};
    client_ = std::make_unique<TcpClient>(setup, [this](const wire::Segment& s) { to_peer(s); });
  }

  void run(bool to_peer, size_t n, Mishap mishap) {
    mishap_ = mishap;
    mishap_to_peer_ = to_peer;
    mishap_at_ = n;
    client_->connect(Instant(now_));
    for (const Duration end = now_ + 60s; now_ < end && !over(); now_ += 1ms) {
      step();
      steer();
    }
  }
  [[nodiscard]] bool over() const {
    return client_->end() != TcpEnd::none && peer_.reason() != sim::CloseReason::none;
  }
  void expect_all_well() const {
    if (violations_.total() > 0) fail_msg("%s", violations_.summary().c_str());
    assert_true(client_->end() == TcpEnd::orderly);
    if (peer_.reason() != sim::CloseReason::normal) {
      fail_msg("peer: %s", std::string(to_string(peer_.reason())).c_str());
    }
    assert_int_equal(heard_.size(), kHeader + kRequest);
    assert_int_equal(answered_.size(), kAnswer);
    for (size_t i = 0; i < answered_.size(); ++i) {
      assert_int_equal(answered_[i], static_cast<uint8_t>(i * 7));
    }
    for (size_t i = 0; i < heard_.size(); ++i) {
      assert_int_equal(heard_[i], static_cast<uint8_t>(i < kHeader ? 'h' : i - kHeader));
    }
  }
  [[nodiscard]] size_t count(bool to_peer) const { return counts_[to_peer ? 1 : 0]; }

  void transmit(const sim::Segment& s, Instant) override {
    wire::Segment out;
    out.source = s.source;
    out.destination = s.destination;
    out.seq = s.seq;
    out.ack = s.ack;
    out.flags = s.flags;
    out.window = s.window;
    out.options.mss = s.mss;
    out.options.window_scale = s.window_scale;
    out.options.sack_permitted = s.sack_permitted;
    if (s.timestamps) {
      out.options.timestamps = wire::Timestamps{s.timestamps->value, s.timestamps->echo};
    }
    carry(false, out, Octets(s.payload.begin(), s.payload.end()));
  }
  void on_segment(sim::TcpEndpoint&, uint64_t offset, base::Bytes bytes, Instant) override {
    if (offset < kHeader) assert_true(offset == 0 && bytes.size() == kHeader);
  }
  void on_readable(sim::TcpEndpoint& tcp, Instant now) override {
    tcp.read(SIZE_MAX, heard_);
    if (heard_.size() < kHeader + kRequest || answering_) return;
    answering_ = true;
    Octets answer(kAnswer);
    for (size_t i = 0; i < answer.size(); ++i) answer[i] = static_cast<uint8_t>(i * 7);
    tcp.write(answer, now);
    if (peer_closes_first_) tcp.close(now);
  }
  void on_end(sim::TcpEndpoint& tcp, Instant now) override { tcp.close(now); }

 private:
  struct Flying {
    bool to_peer;
    wire::Segment segment;
    Octets payload;
    Duration arrives;
  };

  void to_peer(const wire::Segment& s) {
    carry(true, s, Octets(s.payload.begin(), s.payload.end()));
  }
  void carry(bool to_peer, const wire::Segment& s, const Octets& payload) {
    const size_t n = counts_[to_peer ? 1 : 0]++;
    Mishap mishap = Mishap::none;
    if (to_peer == mishap_to_peer_ && n == mishap_at_) mishap = mishap_;
    if (mishap == Mishap::lost) return;
    flying_.push_back({to_peer, s, payload, now_ + (mishap == Mishap::late ? 12ms : 2ms)});
    if (mishap == Mishap::twice) flying_.push_back({to_peer, s, payload, now_ + 4ms});
  }
  void step() {
    for (size_t i = 0; i < flying_.size();) {
      if (flying_[i].arrives > now_) {
        ++i;
        continue;
      }
      Flying f = flying_[i];
      flying_.erase(flying_.begin() + static_cast<ptrdiff_t>(i));
      f.segment.payload = f.payload;
      if (f.to_peer) {
        arrive_at_peer(f);
      } else {
        deliver(*client_, f.segment, Instant(now_));
      }
    }
    client_->advance(Instant(now_));
    if (peer_.deadline() <= Instant(now_)) peer_.advance(Instant(now_));
    if (accepted_) peer_.poll(Instant(now_));
  }
  void arrive_at_peer(const Flying& f) {
    sim::Segment s;
    s.source = f.segment.source;
    s.destination = f.segment.destination;
    s.seq = f.segment.seq;
    s.ack = f.segment.ack;
    s.flags = f.segment.flags;
    s.window = f.segment.window;
    s.mss = f.segment.options.mss;
    s.window_scale = f.segment.options.window_scale;
    s.sack_permitted = f.segment.options.sack_permitted;
    if (f.segment.options.timestamps) {
      s.timestamps = sim::Timestamps{f.segment.options.timestamps->value,
                                     f.segment.options.timestamps->echo_reply};
    }
    s.payload = f.payload;
    if (!accepted_ && s.has(sim::kSyn)) {
      accepted_ = true;
      peer_.accept(s, Instant(now_));
    } else if (accepted_) {
      peer_.receive(s, Instant(now_));
    }
  }
  // What a check does.
  void steer() {
    if (client_->established() && !asked_) {
      asked_ = true;
      client_->write_whole(Octets(kHeader, 'h'), Instant(now_));
      Octets request(kRequest);
      for (size_t i = 0; i < request.size(); ++i) request[i] = static_cast<uint8_t>(i);
      client_->write(request, Instant(now_));
    }
    const auto bytes = client_->take_received();
    answered_.insert(answered_.end(), bytes.begin(), bytes.end());
    if (client_->peer_closed() || (!peer_closes_first_ && answered_.size() == kAnswer)) {
      client_->close(Instant(now_));
    }
  }

  bool peer_closes_first_;
  sim::Violations violations_;
  sim::CheckRules rules_;
  sim::TcpEndpoint peer_;
  std::unique_ptr<TcpClient> client_;
  std::deque<Flying> flying_;
  Duration now_ = 1000s;
  Mishap mishap_ = Mishap::none;
  bool mishap_to_peer_ = false;
  size_t mishap_at_ = 0;
  size_t counts_[2] = {0, 0};
  bool accepted_ = false, asked_ = false, answering_ = false;
  Octets heard_, answered_;
};

std::unique_ptr<Pair> g_pair;

void test_each_mishap_of_each_segment(void**) {
  for (const bool peer_closes_first : {false, true}) {
    for (const bool timestamps : {false, true}) {
      sim::TcpOptions options;
      options.iss = Seq32(0xfffff000);
      options.timestamps = timestamps;
      options.mss = 700;
      options.time_wait = 1s;
      g_pair = std::make_unique<Pair>(options, peer_closes_first);
      g_pair->run(false, 0, Mishap::none);
      g_pair->expect_all_well();
      for (const bool to_peer : {false, true}) {
        const size_t count = g_pair->count(to_peer);
        assert_true(count > 10);
        for (size_t n = 0; n < count; ++n) {
          for (const Mishap mishap : {Mishap::lost, Mishap::twice, Mishap::late}) {
            auto pair = std::make_unique<Pair>(options, peer_closes_first);
            pair->run(to_peer, n, mishap);
            pair->expect_all_well();
          }
        }
      }
    }
  }
  g_pair.reset();
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
      cmocka_unit_test(test_each_mishap_of_each_segment),
  };
  int failed = 0;
  for (const Ends& ends : kFamilies) {
    g_ends = &ends;
    failed += cmocka_run_group_tests_name(ends.name, tests, nullptr, nullptr);
  }
  return failed;
}
