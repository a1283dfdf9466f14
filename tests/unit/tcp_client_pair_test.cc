// Control's TCP against an independent end over a wire that loses, repeats and swaps any segment.
#include <deque>
#include <memory>

#include "tests/support/sim/tcp_endpoint.hh"
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
      cmocka_unit_test(test_each_mishap_of_each_segment),
  };
  return run_in_both_families(tests);
}
