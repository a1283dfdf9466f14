// Two players over a wire that loses, repeats and reorders: what was recorded arrives, and in what
// pieces it is said.
#include <functional>
#include <queue>
#include <string>

#include "lib/replay/faults.hh"
#include "lib/replay/player.hh"
#include "lib/wire/packet.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::replay {
namespace {

using base::Duration;
using base::Instant;
using wire::kAck;
using wire::kFin;
using wire::kPsh;
using wire::kRst;
using wire::kSyn;

constexpr Instant kStart{Duration(1'000'000)};

// A recording made of what each side says in turn.
class Talk {
 public:
  Talk() {
    offer_options(recording.client);
    offer_options(recording.server);
    recording.client.endpoint = *wire::Endpoint::parse("198.18.0.20:4000");
    recording.server.endpoint = *wire::Endpoint::parse("198.18.0.10:1883");
    recording.client.iss = base::Seq32(0xffffff00);
    recording.server.iss = base::Seq32(0xfffffff0);
    add(recording.client, kSyn, 0, 0);
    add(recording.server, kSyn | kAck, 0, 0);
    add(recording.client, kAck, 0, 0);
  }
  // New bytes of one side, or again those from `offset` on.
  Talk& says(bool client, uint32_t length, uint8_t flags = kAck | kPsh, int64_t offset = -1) {
    Side& side = client ? recording.client : recording.server;
    const auto size = static_cast<uint32_t>(side.stream.size());
    const uint32_t at = offset < 0 ? size : static_cast<uint32_t>(offset);
    for (uint32_t i = size; i < at + length; ++i) {
      side.stream.push_back(static_cast<uint8_t>(i * 31 + i / 251 + (client ? 1 : 2)));
    }
    add(side, flags, at, length);
    if ((flags & kFin) != 0) side.has_fin = true;
    return *this;
  }
  Talk& client(uint32_t length, uint8_t flags = kAck | kPsh) { return says(true, length, flags); }
  Talk& over_ipv6() {
    recording.client.endpoint = *wire::Endpoint::parse("[2001:db8::20]:4000");
    recording.server.endpoint = *wire::Endpoint::parse("[2001:db8::10]:1883");
    return *this;
  }
  Talk& server(uint32_t length, uint8_t flags = kAck | kPsh) { return says(false, length, flags); }
  Talk& pause(int64_t micros) {
    now_ += Duration(micros);
    return *this;
  }

  Recording recording;

 private:
  static void offer_options(Side& side) {
    side.syn.mss = 1460;
    side.syn.window_scale = 7;
    side.syn.sack_permitted = true;
    side.syn.timestamps = wire::Timestamps{1000, 0};
    side.has_syn = true;
  }
  void add(Side& side, uint8_t flags, uint32_t offset, uint32_t length) {
    const Side& peer = &side == &recording.client ? recording.server : recording.client;
    Step step;
    step.at = now_;
    step.flags = flags;
    step.offset = offset;
    step.length = length;
    step.peer_bytes = static_cast<uint32_t>(peer.stream.size());
    step.peer_fin = peer.has_fin;
    step.window = 64240;
    step.tsval = 1000 + static_cast<uint32_t>(side.steps.size());
    side.steps.push_back(step);
  }
  Duration now_{0};
};

// One segment on its way, with its bytes.
struct Flying {
  Instant at;
  uint64_t order;
  bool to_server;
  std::vector<uint8_t> frame;
  friend bool operator>(const Flying& a, const Flying& b) {
    return a.at != b.at ? a.at > b.at : a.order > b.order;
  }
};

struct Heard : PlayerHost {
  void transmit(Player&, const wire::Segment& segment) override { send(segment); }
  void on_bytes(Player&, base::Bytes more, Instant) override {
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  std::vector<uint8_t> bytes;
  std::function<void(const wire::Segment&)> send;
};

// What the client sent that was no repetition of its own accord: "SA 0+100" is 100 bytes at 0.
std::string text_of(const wire::Segment& s, base::Seq32 iss) {
  std::string flags;
  for (const auto& [bit, name] : {std::pair(kSyn, 'S'), {kFin, 'F'}, {kRst, 'R'}, {kPsh, 'P'}}) {
    if ((s.flags & bit) != 0) flags += name;
  }
  return flags + std::to_string(s.seq - (iss + 1)) + "+" + std::to_string(s.payload.size());
}

class Stage {
 public:
  Stage(const Recording& recording, const Faults& faults, uint64_t seed, double speed = 1,
        uint16_t mtu = 1500)
      : recording_(recording),
        client_script_(recording, true, kNone_),
        server_script_(recording, false, kNone_),
        client_(setup(recording.client, recording.server, speed, mtu), client_host),
        server_(setup(recording.server, recording.client, speed, mtu), server_host),
        wire_(faults, base::Random(seed)) {
    client_host.send = [this](const wire::Segment& s) {
      sent += (sent.empty() ? "" : " ") + text_of(s, recording_.client.iss);
      fly(s, true);
    };
    server_host.send = [this](const wire::Segment& s) { fly(s, false); };
  }

  void run() {
    client_.set_script(client_script_, Follow::bytes, nullptr, now);
    server_.set_script(server_script_, Follow::bytes, nullptr, now);
    client_.connect(now);
    for (int events = 0; events < 2'000'000; ++events) {
      const End end = client_.end();
      if (end != End::none && end != End::open && server_.end() != End::none) return;
      const Instant flight = flying_.empty() ? kNever : flying_.top().at;
      const Instant next = std::min({flight, client_.deadline(), server_.deadline()});
      if (next == kNever || next > kStart + Duration(600'000'000)) return;
      now = std::max(now, next);
      if (!flying_.empty() && flying_.top().at <= now) {
        land();
      } else {
        client_.advance(now);
        server_.advance(now);
      }
    }
    fail_msg("no end");
  }

  Player& client() { return client_; }
  Player& server() { return server_; }

  Heard client_host;
  Heard server_host;
  std::string sent;
  Instant now = kStart;

 private:
  static PlayerSetup setup(const Side& own, const Side& peer, double speed, uint16_t mtu) {
    PlayerSetup s;
    s.local = own.endpoint;
    s.remote = peer.endpoint;
    s.iss = own.iss;
    s.syn = own.syn;
    s.speed = speed;
    s.mtu = mtu;
    s.patience = Duration(60'000'000);
    return s;
  }
  void fly(const wire::Segment& s, bool to_server) {
    std::vector<uint8_t> frame(65536);
    frame.resize(wire::build_segment(s, frame));
    assert_true(!frame.empty());
    const Wire::Passage passage = wire_.pass(frame);
    for (size_t i = 0; i < passage.copies; ++i) {
      flying_.push({now + passage.delays[i], order_++, to_server, frame});
    }
  }
  void land() {
    Flying f = flying_.top();
    flying_.pop();
    wire::ParseRules rules;
    rules.mtu = 65535;
    const auto packet = wire::parse_packet(f.frame, rules, wire::HardwareChecksum::unknown);
    if (!packet) return;
    const wire::TcpView tcp = packet->tcp();
    const auto options = wire::parse_tcp_options(tcp.options());
    if (!options) return;
    const Incoming in{tcp.seq(), tcp.ack(), tcp.flags(), tcp.window(), *options, packet->payload()};
    if (!f.to_server) {
      client_.receive(in, now);
    } else if (!accepted_) {
      if (!in.has(kSyn)) return;
      accepted_ = true;
      server_.accept(in, now);
    } else {
      server_.receive(in, now);
    }
  }

  static const Rewrite kNone_;
  const Recording& recording_;
  Script client_script_;
  Script server_script_;
  Player client_;
  Player server_;
  Wire wire_;
  bool accepted_ = false;
  uint64_t order_ = 0;
  std::priority_queue<Flying, std::vector<Flying>, std::greater<>> flying_;
};
const Rewrite Stage::kNone_;

Talk long_talk() {
  Talk talk;
  for (int i = 0; i < 40; ++i) {
    for (int burst = 0; burst < i % 7; ++burst) talk.client(1400);
    talk.client(static_cast<uint32_t>(i * 13 + 1)).pause(300);
    talk.server(static_cast<uint32_t>(i * 97 % 1300 + 1)).pause(2000);
  }
  talk.client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
  return talk;
}

void assert_all_arrived(Stage& stage, const Recording& recording) {
  assert_int_equal(stage.client().end(), End::closed);
  assert_int_equal(stage.server().end(), End::closed);
  assert_true(stage.server_host.bytes == recording.client.stream);
  assert_true(stage.client_host.bytes == recording.server.stream);
}

void test_pieces_are_kept(void**) {
  Talk talk;
  talk.client(30).server(4).client(10).client(20);
  talk.says(true, 20, kAck | kPsh, 40);                              // a repetition
  talk.says(true, 100, kAck | kPsh, 160).says(true, 100, kAck, 60);  // overtaken
  talk.server(3).client(5, kAck | kPsh | kFin).server(0, kAck | kFin).client(0, kAck);
  Stage stage(talk.recording, {}, 1);
  stage.run();
  assert_all_arrived(stage, talk.recording);
  const std::string wanted = "S-1+0 0+0 P0+30 P30+10 P40+20 P40+20 P160+100 60+100 FP260+5 266+0";
  if (stage.sent != wanted) fail_msg("sent: %s", stage.sent.c_str());
}

void test_gaps_are_kept(void**) {
  Talk talk;
  talk.client(10).server(10).pause(1'000'000).client(10).pause(3'000'000).client(10);
  talk.client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
  const struct {
    double speed;
    int64_t least, most;  // microseconds
  } rows[] = {{1, 4'000'000, 4'100'000}, {10, 400'000, 500'000}, {0, 0, 90'000}};
  for (const auto& row : rows) {
    Stage stage(talk.recording, {}, 1, row.speed);
    stage.run();
    assert_all_arrived(stage, talk.recording);
    const int64_t took = (stage.now - kStart).count();
    if (took < row.least || took > row.most) fail_msg("%g: %ld us", row.speed, long{took});
  }
}

void test_large_segments_are_split(void**) {
  Talk talk;
  talk.client(32768).server(9000).client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
  Stage stage(talk.recording, {}, 1, 1, 600);
  stage.run();
  assert_all_arrived(stage, talk.recording);
  assert_true(stage.client().split() > 50);
}

// The first piece of the client's, behind its SYN and acknowledgement.
void test_segments_have_room_for_headers(void**) {
  const struct {
    const char* what;
    bool ipv6;
    uint16_t mtu;
    std::optional<uint16_t> mss;  // that the server offers
    bool timestamps;
    const char* sent;
  } rows[] = {{"IPv4, small MTU", false, 600, 1460, true, "0+548"},
              {"IPv6, small MTU", true, 600, 1460, true, "0+528"},
              {"IPv6", true, 1500, 1460, false, "0+1440"},
              {"IPv4, small MSS", false, 1500, 700, true, "0+688"},
              {"IPv6, small MSS", true, 1500, 700, true, "0+688"},
              {"IPv4, MSS not offered", false, 1500, std::nullopt, false, "0+536"},
              {"IPv6, MSS not offered", true, 1500, std::nullopt, false, "0+1220"},
              {"an MSS of nothing", false, 1500, 0, false, "0+1"},
              {"an MSS of nothing, timestamps", true, 1500, 0, true, "0+1"}};
  for (const auto& row : rows) {
    Talk talk;
    if (row.ipv6) talk.over_ipv6();
    talk.client(3000).client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
    talk.recording.server.syn.mss = row.mss;
    if (!row.timestamps) talk.recording.server.syn.timestamps.reset();
    Stage stage(talk.recording, {}, 1, 1, row.mtu);
    stage.run();
    assert_all_arrived(stage, talk.recording);
    const std::string wanted = std::string("S-1+0 0+0 ") + row.sent + " ";
    if (stage.sent.rfind(wanted, 0) != 0) {
      fail_msg("%s: %s", row.what, stage.sent.substr(0, 40).c_str());
    }
  }
}

void test_large_segments_wait_for_room(void**) {
  Talk talk;
  talk.client(32768).server(9000).client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
  // The peer never has room for a whole captured segment, only for a few of those that are played.
  for (Step& step : talk.recording.server.steps) step.window = 4000;
  Stage stage(talk.recording, {}, 1);
  stage.run();
  assert_all_arrived(stage, talk.recording);
  assert_int_equal(stage.client().repeated(), 0);
}

void test_slow_links_need_no_repetitions(void**) {
  const Talk talk = long_talk();
  Faults faults;
  faults.delay = Duration(400'000);  // a round trip is longer than the least timeout
  Stage stage(talk.recording, faults, 1);
  stage.run();
  assert_all_arrived(stage, talk.recording);
  assert_int_equal(stage.client().repeated(), 0);
  assert_int_equal(stage.server().repeated(), 0);
}

void test_losses_are_repeated(void**) {
  const Talk talk = long_talk();
  uint64_t repeated = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    Faults faults;
    faults.loss = 0.05;
    faults.duplicate = 0.03;
    faults.reorder = 0.05;
    faults.corrupt = 0.01;
    faults.delay = Duration(2000);
    faults.jitter = Duration(1000);
    Stage stage(talk.recording, faults, seed, seed % 2 == 0 ? 1 : 0);
    stage.run();
    if (stage.client().end() != End::closed) {
      fail_msg("seed %d: %s", static_cast<int>(seed), stage.client().waits_for().c_str());
    }
    assert_true(stage.server_host.bytes == talk.recording.client.stream);
    assert_true(stage.client_host.bytes == talk.recording.server.stream);
    repeated += stage.client().repeated();
  }
  assert_true(repeated > 100);
}

void test_waiting_in_vain(void**) {
  Talk talk;
  talk.client(10).server(10).client(10);
  // The server's bytes never come.
  Recording both = talk.recording;
  both.server.steps.resize(1);
  Stage stage(both, {}, 1);
  stage.run();
  // The server, whose script is over, is reset by the client that gives up; or gives up first.
  const bool client_waited = stage.client().end() == End::stalled;
  assert_true(client_waited || stage.server().end() == End::stalled);
  const Player& waited = client_waited ? stage.client() : stage.server();
  assert_string_equal(waited.waits_for().c_str(),
                      client_waited ? "byte 0 of the other side" : "the rest of the other side");
}

// The capture began behind the handshake, with an acknowledgement that is given already.
void test_a_server_without_its_syn(void**) {
  Talk talk;
  talk.client(10).server(0, kAck).server(10);
  talk.client(0, kAck | kFin).server(0, kAck | kFin).client(0, kAck);
  auto& steps = talk.recording.server.steps;
  steps.erase(steps.begin());
  steps.front().peer_bytes = 0;
  talk.recording.server.has_syn = false;
  Stage stage(talk.recording, {}, 1);
  stage.run();
  assert_all_arrived(stage, talk.recording);
}

void test_patience_with_an_unanswered_syn(void**) {
  Talk talk;
  talk.client(10);
  Faults faults;
  faults.loss = 1;
  Stage stage(talk.recording, faults, 1);
  stage.run();
  assert_int_equal(stage.client().end(), End::stalled);
  assert_string_equal(stage.client().waits_for().c_str(), "an answer to the SYN");
  assert_true(stage.client().repeated() > 3);
  assert_int_equal((stage.now - kStart).count(), 60'000'000);
}

void test_reset(void**) {
  Talk talk;
  talk.client(10).server(10).client(0, kRst | kAck);
  Stage stage(talk.recording, {}, 1);
  stage.run();
  assert_int_equal(stage.client().end(), End::aborted);
  assert_int_equal(stage.server().end(), End::reset);
}

void test_an_open_end(void**) {
  Talk talk;
  talk.client(10).server(10).client(10);
  Stage stage(talk.recording, {}, 1);
  stage.run();
  assert_int_equal(stage.client().end(), End::open);
  assert_true(stage.server_host.bytes == talk.recording.client.stream);
  assert_true(stage.client_host.bytes == talk.recording.server.stream);
}

}  // namespace
}  // namespace mqlb::replay

int main() {
  using namespace mqlb::replay;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_pieces_are_kept),
      cmocka_unit_test(test_gaps_are_kept),
      cmocka_unit_test(test_large_segments_are_split),
      cmocka_unit_test(test_segments_have_room_for_headers),
      cmocka_unit_test(test_large_segments_wait_for_room),
      cmocka_unit_test(test_slow_links_need_no_repetitions),
      cmocka_unit_test(test_losses_are_repeated),
      cmocka_unit_test(test_waiting_in_vain),
      cmocka_unit_test(test_a_server_without_its_syn),
      cmocka_unit_test(test_patience_with_an_unanswered_syn),
      cmocka_unit_test(test_reset),
      cmocka_unit_test(test_an_open_end),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
