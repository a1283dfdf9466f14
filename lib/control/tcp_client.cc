// What it sends, and its timers; tcp_client_receive.cc has what it receives.
#include "lib/control/tcp_client.hh"

#include <algorithm>
#include <utility>

namespace mqlb::control {

using base::Instant;
using base::Seq32;

namespace {

using namespace std::chrono_literals;

constexpr base::Duration kFirstTimeout = 200ms;  // as the engine's; RFC 6298 asks for a second
constexpr base::Duration kLongestTimeout = 3s;
constexpr base::Duration kChallengeInterval = 100ms;  // RFC 5961 section 7
constexpr size_t kTimestampBytes = 12;
constexpr uint32_t kInitialSegments = 10;  // RFC 6928

}  // namespace

TcpClient::TcpClient(const TcpSetup& setup, Emit emit)
    : setup_(setup),
      emit_(std::move(emit)),
      snd_una_(setup.iss),
      snd_nxt_(setup.iss),
      snd_max_(setup.iss),
      timeout_(kFirstTimeout) {}

void TcpClient::connect(Instant now) {
  snd_nxt_ = snd_max_ = setup_.iss + 1U;
  send_syn(now);
}

size_t TcpClient::own_headers() const {
  return (setup_.local.address.is_v4() ? wire::kIpv4Header : wire::kIpv6Header) + wire::kTcpHeader;
}

wire::Segment TcpClient::segment(uint8_t flags, Seq32 seq, Instant now) const {
  wire::Segment s;
  s.source = setup_.local;
  s.destination = setup_.remote;
  s.flags = flags;
  s.seq = seq;
  s.ack = rcv_nxt_;
  s.window = kWindow;
  if (timestamps_) s.options.timestamps = wire::Timestamps{timestamp(now), ts_recent_};
  return s;
}

// Offers everything, to learn what the peer supports. Our own scale is 0.
void TcpClient::send_syn(Instant now) {
  wire::Segment syn = segment(wire::kSyn, setup_.iss, now);
  syn.options.mss = static_cast<uint16_t>(setup_.mtu - own_headers());
  syn.options.window_scale = uint8_t{0};
  syn.options.sack_permitted = true;
  syn.options.timestamps = wire::Timestamps{timestamp(now), 0};
  emit_(syn);
  arm(now);
}

void TcpClient::arm(Instant now) {
  constexpr unsigned kMostDoublings = 8;
  const base::Duration wait = timeout_ * (1 << std::min(repeats_, kMostDoublings));
  retransmit_at_ = now + std::min(wait, kLongestTimeout);
}

// Bytes of the next segment from `offset` of what was written; 0: the window is used up.
size_t TcpClient::next_size(size_t offset) const {
  const size_t most =
      std::min<size_t>(peer_mss_, setup_.mtu - own_headers()) - (timestamps_ ? kTimestampBytes : 0);
  const uint32_t window = std::min(send_window_, kInitialSegments * peer_mss_);
  const auto in_flight = static_cast<uint32_t>(snd_nxt_ - snd_una_);
  const size_t room = window > in_flight ? window - in_flight : 0;
  if (offset < whole_) return whole_ - offset <= room || repeats_ > 0 ? whole_ - offset : 0;
  return std::min({out_.size() - offset, most, room});
}

// Sends on from snd_nxt; false if nothing could be sent.
bool TcpClient::send_pending(Instant now) {
  const Seq32 begin = setup_.iss + 1U;
  bool sent = false;
  while (snd_nxt_.before(send_end())) {
    const auto offset = static_cast<size_t>(snd_nxt_ - begin);
    if (offset >= out_.size()) {  // only the FIN is left, which needs no window
      emit_(segment(wire::kFin | wire::kAck, snd_nxt_, now));
      snd_nxt_ += 1U;
    } else {
      const size_t size = next_size(offset);
      if (size == 0) break;
      wire::Segment data = segment(wire::kAck | wire::kPsh, snd_nxt_, now);
      data.payload = base::Bytes(out_).subspan(offset, size);
      emit_(data);
      snd_nxt_ += static_cast<uint32_t>(size);
    }
    sent = true;
    snd_max_ = base::later(snd_max_, snd_nxt_);
  }
  // Either something is in flight, or a window must open.
  if (snd_una_.before(send_end()) && !retransmit_at_) arm(now);
  return sent;
}

void TcpClient::advance(Instant now) {
  if (state_ == TcpState::time_wait && now >= time_wait_ends_) {
    finish(TcpEnd::orderly);
    return;
  }
  if (!retransmit_at_ || now < *retransmit_at_) return;
  ++repeats_;
  if (state_ == TcpState::syn_sent) {
    send_syn(now);
    return;
  }
  snd_nxt_ = snd_una_;
  if (send_window_ == 0) send_window_ = 1;  // probes it (RFC 9293 section 3.8.6.1)
  send_pending(now);
  arm(now);
}

void TcpClient::write_whole(base::Bytes bytes, Instant now) {
  if (out_.empty()) whole_ = bytes.size();
  write(bytes, now);
}

void TcpClient::write(base::Bytes bytes, Instant now) {
  if (fin_queued_ || state_ == TcpState::closed || !established()) return;
  out_.insert(out_.end(), bytes.begin(), bytes.end());
  send_pending(now);
}

void TcpClient::close(Instant now) {
  if (fin_queued_ || state_ == TcpState::closed) return;
  if (!established()) {
    finish(TcpEnd::aborted);
    return;
  }
  fin_queued_ = true;
  state_ = state_ == TcpState::close_wait ? TcpState::last_ack : TcpState::fin_wait_1;
  send_pending(now);
}

// At the number that the peer expects if it has received everything; if not, it asks, and the RST
// that answers an unknown segment is right (RFC 5961 section 3).
void TcpClient::abort() {
  if (state_ == TcpState::closed) return;
  if (established() && state_ != TcpState::time_wait) {
    wire::Segment rst;
    rst.source = setup_.local;
    rst.destination = setup_.remote;
    rst.flags = wire::kRst | wire::kAck;
    rst.seq = snd_max_;
    rst.ack = rcv_nxt_;
    emit_(rst);
  }
  finish(TcpEnd::aborted);
}

void TcpClient::finish(TcpEnd end) {
  state_ = TcpState::closed;
  end_ = end;
  retransmit_at_.reset();
}

void TcpClient::send_ack(Instant now) { emit_(segment(wire::kAck, snd_max_, now)); }

// Two ends that disagree must not answer each other without end.
void TcpClient::challenge(Instant now) {
  if (challenged_at_ && now < *challenged_at_ + kChallengeInterval) return;
  challenged_at_ = now;
  send_ack(now);
}

std::vector<uint8_t> TcpClient::take_received() { return std::exchange(in_, {}); }

}  // namespace mqlb::control
