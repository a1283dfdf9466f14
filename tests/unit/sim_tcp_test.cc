// One endpoint of the simulator, segment by segment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cstdio>
#include <string>
#include <vector>

#include "tests/support/sim/tcp_endpoint.hh"

// Last: it defines fail and skip as macros.
extern "C" {
#include <cmocka.h>
}

namespace mqlb::sim {
namespace {

using base::Seq32;

const wire::Endpoint kLocal{wire::IpAddress::v4(0xc6120001U), 1000};
const wire::Endpoint kRemote{wire::IpAddress::v4(0xc6120002U), 1883};
constexpr uint32_t kIss = 0xfffffff0U;  // the stream wraps after 15 bytes
constexpr uint32_t kIrs = 5000;

struct Sent {
  Segment segment;
  std::string payload;
};

// An endpoint under test and everything it sent since the last look.
struct Trace final : public SegmentSink, public App {
  explicit Trace(TcpOptions o) {
    o.iss = Seq32(kIss);
    tcp = std::make_unique<TcpEndpoint>(kLocal, kRemote, o, *this, violations, rules);
    tcp->set_app(this);
  }
  void transmit(const Segment& s, Instant) override {
    sent.push_back({s, std::string(base::as_text(s.payload))});
    sent.back().segment.payload = {};
  }
  void on_closed(TcpEndpoint&, CloseReason reason, Instant) override { closed = reason; }

  // A segment of the peer; numbers are offsets in the two streams.
  void receive(uint32_t seq, uint32_t ack, std::string_view data = {}, uint8_t flags = 0,
               uint16_t window = 1000) {
    Segment s = peer(flags == kRst ? kRst : flags | kAck);
    s.seq = Seq32(kIrs + 1 + seq);
    s.ack = Seq32(kIss + 1 + ack);
    s.window = window;
    s.payload = base::as_bytes(data);
    tcp->receive(s, now);
  }
  void receive(const Segment& s) { tcp->receive(s, now); }
  [[nodiscard]] Segment peer(int flags) const {
    Segment s;
    s.source = kRemote;
    s.destination = kLocal;
    s.flags = static_cast<uint8_t>(flags);
    s.window = 1000;
    if (tcp->options().timestamps) s.timestamps = Timestamps{peer_clock, our_clock()};
    return s;
  }
  [[nodiscard]] uint32_t our_clock() const {
    return base::to_milliseconds(now) + tcp->options().timestamp_offset;
  }
  void open(uint16_t window = 1000) {
    tcp->connect(now);
    Segment s = peer(kSyn | kAck);
    s.seq = Seq32(kIrs);
    s.ack = Seq32(kIss + 1);
    s.mss = 100;
    s.window = window;
    s.sack_permitted = tcp->options().sack;
    tcp->receive(s, now);
    sent.clear();
  }
  void wait(int64_t milliseconds) {
    const Instant until = now + Duration{milliseconds * 1000};
    while (tcp->deadline() <= until) {
      now = std::max(now, tcp->deadline());
      tcp->advance(now);
    }
    now = until;
  }
  void write(std::string_view text) { tcp->write(base::as_bytes(text), now); }
  std::string read() {
    std::vector<uint8_t> out;
    tcp->read(SIZE_MAX, out);
    return {out.begin(), out.end()};
  }
  // "offset+length" of the segments with data, "A" and the like for others, with their ACK.
  std::string take() {
    std::string text;
    for (const Sent& s : sent) {
      if (!text.empty()) text += " ";
      const bool bare = s.payload.empty();
      if (s.segment.has(kSyn)) text += "S";
      if (s.segment.has(kRst)) text += "R";
      if (s.segment.has(kFin)) text += "F";
      if (bare && !s.segment.has(kSyn | kRst | kFin)) text += "A";
      const auto offset = static_cast<int32_t>(s.segment.seq.raw() - kIss - 1);
      text += std::to_string(offset);
      if (!bare) text += "+" + std::to_string(s.payload.size());
      if (s.segment.has(kAck)) text += "/" + std::to_string(s.segment.ack.raw() - kIrs - 1);
    }
    sent.clear();
    return text;
  }

  Instant now{Duration{5'000'000}};
  uint32_t peer_clock = 0xffffffffU;
  Violations violations;
  CheckRules rules;
  std::vector<Sent> sent;
  CloseReason closed = CloseReason::none;
  std::unique_ptr<TcpEndpoint> tcp;
};

TcpOptions plain() {
  TcpOptions o;
  o.timestamps = false;
  o.sack = false;
  o.window_scale.reset();
  o.delayed_ack = Duration{0};
  o.mss = 100;
  return o;
}

TcpOptions with(void (*change)(TcpOptions&)) {
  TcpOptions o = plain();
  change(o);
  return o;
}

// The trace lives beyond a failed assertion; the leak of a failed test does not matter.
std::unique_ptr<Trace> open_trace(const TcpOptions& o, uint16_t window = 1000) {
  auto t = std::make_unique<Trace>(o);
  t->open(window);
  return t;
}

#define assert_trace(t, expected) assert_string_equal((t)->take().c_str(), expected)

void test_options_are_offered_and_only_then_accepted(void**) {
  for (unsigned mask = 0; mask < 8; ++mask) {
    TcpOptions o;
    o.timestamps = (mask & 1U) != 0;
    o.sack = (mask & 2U) != 0;
    if ((mask & 4U) == 0) o.window_scale.reset();
    Trace t(o);
    t.tcp->connect(t.now);
    const Segment syn = t.sent.at(0).segment;
    assert_int_equal(syn.timestamps.has_value(), o.timestamps);
    assert_int_equal(syn.sack_permitted, o.sack);
    assert_int_equal(syn.window_scale.has_value(), o.window_scale.has_value());
    assert_int_equal(syn.mss.value_or(0), o.mss);
    Segment answer = t.peer(kSyn | kAck);
    answer.seq = Seq32(kIrs);
    answer.ack = Seq32(kIss + 1);
    answer.timestamps = Timestamps{1, t.our_clock()};
    answer.sack_permitted = true;
    answer.window_scale = 3;
    t.receive(answer);
    assert_int_equal(t.tcp->phase(), Phase::open);
    assert_int_equal(t.violations.count(Fault::option_unexpected), mask == 7 ? 0 : 1);
    assert_int_equal(t.sent.back().segment.timestamps.has_value(), o.timestamps);
  }
}

void test_passive_open(void**) {
  Trace t(plain());
  Segment syn = t.peer(kSyn);
  syn.seq = Seq32(kIrs);
  t.tcp->accept(syn, t.now);
  assert_trace(&t, "S-1/0");
  t.receive(syn);
  assert_trace(&t, "S-1/0");
  t.wait(1000);
  assert_trace(&t, "S-1/0");
  t.receive(0, 0, "hello");
  assert_int_equal(t.tcp->phase(), Phase::open);
  assert_string_equal(t.read().c_str(), "hello");
  assert_int_equal(t.violations.total(), 0);
}

void test_segments_follow_writes(void**) {
  auto t = open_trace(plain());
  t->tcp->write(base::as_bytes("abc"), t->now, TcpEndpoint::Boundary::yes);
  t->tcp->write(base::as_bytes("defg"), t->now, TcpEndpoint::Boundary::yes);
  t->write(std::string(250, 'x'));
  assert_trace(t, "0+3/0 3+4/0 7+100/0 107+100/0 207+50/0");
  t->wait(1000);  // the timeout resends what begins within one segment's worth of bytes
  assert_trace(t, "0+3/0 3+4/0 7+100/0");

  auto c = open_trace(with([](TcpOptions& o) { o.coalesce_retransmits = true; }));
  c->tcp->write(base::as_bytes("abc"), c->now, TcpEndpoint::Boundary::yes);
  c->tcp->write(base::as_bytes("defg"), c->now, TcpEndpoint::Boundary::yes);
  assert_trace(c, "0+3/0 3+4/0");
  c->wait(1000);
  assert_trace(c, "0+7/0");
}

void test_nagle(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.nagle = true; }));
  t->write("a");
  t->write("b");
  t->write("c");
  assert_trace(t, "0+1/0");
  t->receive(0, 1);
  assert_trace(t, "1+2/0");
}

void test_delayed_ack(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.delayed_ack = Duration{40'000}; }));
  t->receive(0, 0, "a");
  t->read();
  assert_trace(t, "");
  t->wait(39);
  assert_trace(t, "");
  t->wait(1);
  assert_trace(t, "A0/1");
  t->receive(1, 0, "b");
  t->receive(2, 0, "c");
  assert_trace(t, "A0/3");
}

void test_timeout_doubles_and_gives_up(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.max_retries = 3; }));
  t->write("x");
  t->take();
  for (const int64_t milliseconds : {1000, 2000, 4000}) {
    t->wait(milliseconds - 1);
    assert_trace(t, "");
    t->wait(1);
    assert_trace(t, "0+1/0");
  }
  t->wait(8000);
  assert_int_equal(t->closed, CloseReason::timeout);
}

void test_fast_retransmit(void**) {
  auto t = open_trace(plain());
  t->write(std::string(500, 'x'));
  t->take();
  t->receive(0, 100);
  t->receive(0, 100);
  t->receive(0, 100);
  assert_trace(t, "");
  t->receive(0, 100);
  assert_trace(t, "100+100/0");
  t->receive(0, 200);  // partial: the next hole at once
  assert_trace(t, "200+100/0");
}

void test_sack_fills_holes_only(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.sack = true; }));
  t->write(std::string(700, 'x'));
  t->take();
  Segment s = t->peer(kAck);
  s.seq = Seq32(kIrs + 1);
  s.ack = Seq32(kIss + 1);
  const auto block = [](uint32_t from, uint32_t to) {
    return SackBlock{Seq32(kIss + 1 + from), Seq32(kIss + 1 + to)};
  };
  const uint32_t edges[][2] = {{100, 200}, {300, 400}, {500, 600}};
  for (size_t i = 0; i < 3; ++i) {
    s.sack[i] = block(edges[i][0], edges[i][1]);
    s.sack_count = i + 1;
    t->receive(s);
  }
  assert_trace(t, "0+100/0");
  s.ack = Seq32(kIss + 1 + 200);
  t->receive(s);
  assert_trace(t, "200+100/0 400+100/0");
}

void test_early_data_is_sacked_and_ordered(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.sack = true; }));
  t->receive(2, 0, "cd");
  t->receive(6, 0, "gh");
  const Segment last = t->sent.back().segment;
  assert_int_equal(last.sack_count, 2);
  assert_int_equal(last.sack[0].left.raw() - kIrs - 1, 6);  // the newest first
  assert_int_equal(last.sack[0].right.raw() - kIrs - 1, 8);
  assert_int_equal(last.sack[1].left.raw() - kIrs - 1, 2);
  assert_trace(t, "A0/0 A0/0");
  t->receive(0, 0, "abcdef");
  assert_trace(t, "A0/8");
  assert_string_equal(t->read().c_str(), "abcdefgh");
}

void test_receive_window_closes_and_opens(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.receive_buffer = 200; }));
  t->receive(0, 0, std::string(100, 'a'));
  t->receive(100, 0, std::string(100, 'b'));
  assert_int_equal(t->sent.back().segment.window, 0);
  assert_trace(t, "A0/100 A0/200");
  t->receive(200, 0, "c");  // a probe
  assert_trace(t, "A0/200");
  assert_int_equal(t->tcp->readable(), 200);
  t->read();
  t->tcp->poll(t->now);
  assert_int_equal(t->sent.back().segment.window, 200);
  assert_trace(t, "A0/200");
  assert_int_equal(t->violations.total(), 0);
}

struct ProbeRow {
  ProbeStyle style;
  const char* probe;
};

void test_zero_window_is_probed(void**) {
  for (const ProbeRow& row :
       {ProbeRow{ProbeStyle::data_byte, "0+1/0"}, ProbeRow{ProbeStyle::old_sequence, "A-1/0"}}) {
    TcpOptions o = plain();
    o.probe = row.style;
    auto t = open_trace(o, 0);
    t->write("abc");
    assert_trace(t, "");
    t->wait(1000);
    assert_trace(t, row.probe);
    t->receive(0, 0, {}, 0, 0);
    t->wait(2000);
    assert_trace(t, row.probe);
    t->receive(0, 0, {}, 0, 100);
    assert_trace(t, "0+3/0");
  }
}

struct ResetRow {
  const char* name;
  uint32_t seq;
  CloseReason reason;
  const char* answer;
};

// RFC 5961 section 3.2, with a window of 65535.
void test_reset(void**) {
  const ResetRow rows[] = {
      {"exact", 10, CloseReason::reset, ""},
      {"one ahead", 11, CloseReason::none, "A0/10"},
      {"at the window's end", 10 + 60'000, CloseReason::none, "A0/10"},
      {"old", 9, CloseReason::none, ""},
      {"far ahead", 10 + 70'000, CloseReason::none, ""},
  };
  for (const ResetRow& row : rows) {
    auto t = open_trace(plain());
    t->receive(0, 0, "0123456789");
    t->read();
    t->take();
    t->receive(row.seq, 0, {}, kRst);
    assert_int_equal(t->closed, row.reason);
    assert_trace(t, row.answer);
  }
}

void test_challenges(void**) {
  auto t = open_trace(plain());
  t->receive(0, 0, {}, kSyn);
  assert_trace(t, "A0/0");
  t->receive(0, 1);  // never sent
  assert_trace(t, "A0/0");
  t->receive(5'000'000, 0, "x");
  assert_trace(t, "A0/0");
  assert_int_equal(t->violations.count(Fault::ack_unsent), 1);
  assert_int_equal(t->violations.count(Fault::sequence), 1);
}

void test_challenge_in_answer_to_syn(void**) {
  Trace t(plain());
  t.rules.challenge_on_syn = true;
  t.tcp->connect(t.now);
  t.take();
  t.receive(0, 77);
  assert_trace(&t, "R77 S-1");
  t.receive(0, 0, {}, kRst | kAck);
  assert_int_equal(t.closed, CloseReason::refused);
  assert_int_equal(t.violations.total(), 0);
}

void test_old_timestamps_are_dropped(void**) {
  auto t = open_trace(with([](TcpOptions& o) { o.timestamps = true; }));
  t->peer_clock = 5;  // beyond the wrap
  t->receive(0, 0, "a");
  t->take();
  t->peer_clock = 0xffffffffU;
  t->receive(1, 0, "b");
  assert_trace(t, "A0/1");
  assert_string_equal(t->read().c_str(), "a");
  assert_int_equal(t->violations.count(Fault::timestamp_regressed), 1);
}

void test_half_close_and_time_wait(void**) {
  auto t = open_trace(plain());
  t->write("bye");
  t->tcp->close(t->now);
  t->write("too late");
  assert_trace(t, "0+3/0 F3/0");
  t->receive(0, 4, "still here");
  assert_string_equal(t->read().c_str(), "still here");
  assert_trace(t, "A4/10");
  t->receive(10, 4, {}, kFin);
  assert_trace(t, "A4/11");
  assert_int_equal(t->tcp->phase(), Phase::time_wait);
  t->receive(10, 4, {}, kFin);
  assert_trace(t, "A4/11");
  t->wait(60'000);
  assert_int_equal(t->closed, CloseReason::normal);
}

void test_fin_before_its_data(void**) {
  auto t = open_trace(plain());
  t->receive(5, 0, "fghij", kFin);
  assert_int_equal(t->tcp->fin_received(), false);
  t->receive(0, 0, "abcde");
  assert_int_equal(t->tcp->fin_received(), true);
  assert_trace(t, "A0/0 A0/11");
  t->tcp->close(t->now);
  t->take();
  t->receive(11, 1);
  assert_int_equal(t->tcp->phase(), Phase::closed);  // no TIME-WAIT at the end that ends last
}

void test_keepalive(void**) {
  auto t = open_trace(with([](TcpOptions& o) {
    o.keepalive = Duration{1'000'000};
    o.keepalive_probes = 2;
  }));
  t->wait(1000);
  assert_trace(t, "A-1/0");
  t->receive(0, 0);
  t->wait(3000);
  assert_trace(t, "A-1/0 A-1/0 R0/0");
  assert_int_equal(t->closed, CloseReason::timeout);
}

// Two ends that both resend old data still take each other's ACKs.
void test_acks_come_from_the_furthest_byte(void**) {
  auto t = open_trace(plain());
  t->write(std::string(300, 'x'));
  t->take();
  t->wait(1000);
  assert_trace(t, "0+100/0");
  t->receive(0, 0, "data");
  assert_trace(t, "A300/4");
}

}  // namespace
}  // namespace mqlb::sim

int main() {
  using namespace mqlb::sim;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_options_are_offered_and_only_then_accepted),
      cmocka_unit_test(test_passive_open),
      cmocka_unit_test(test_segments_follow_writes),
      cmocka_unit_test(test_nagle),
      cmocka_unit_test(test_delayed_ack),
      cmocka_unit_test(test_timeout_doubles_and_gives_up),
      cmocka_unit_test(test_fast_retransmit),
      cmocka_unit_test(test_sack_fills_holes_only),
      cmocka_unit_test(test_early_data_is_sacked_and_ordered),
      cmocka_unit_test(test_receive_window_closes_and_opens),
      cmocka_unit_test(test_zero_window_is_probed),
      cmocka_unit_test(test_reset),
      cmocka_unit_test(test_challenges),
      cmocka_unit_test(test_challenge_in_answer_to_syn),
      cmocka_unit_test(test_old_timestamps_are_dropped),
      cmocka_unit_test(test_half_close_and_time_wait),
      cmocka_unit_test(test_fin_before_its_data),
      cmocka_unit_test(test_keepalive),
      cmocka_unit_test(test_acks_come_from_the_furthest_byte),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
