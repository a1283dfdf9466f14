// What a connection receives: RFC 9293 section 3.10.7, in the order of its steps.
#include <algorithm>

#include "lib/control/tcp_client.hh"

namespace mqlb::control {

using base::Instant;
using base::Seq32;

namespace {

using namespace std::chrono_literals;

constexpr base::Duration kLeastTimeout = 200ms;
constexpr unsigned kStaleTries = 4;
constexpr uint16_t kLeastMss = 88;  // less is no real path's, and would cost a segment a few bytes

}  // namespace

void TcpClient::receive(const wire::Packet& packet, Instant now) {
  const auto options = wire::parse_tcp_options(packet.tcp().options());
  if (state_ == TcpState::closed || !options) return;
  if (state_ == TcpState::syn_sent) {
    in_syn_sent(packet.tcp(), *options, now);
  } else {
    in_connection(packet, *options, now);
  }
}

void TcpClient::in_syn_sent(wire::TcpView tcp, const wire::TcpOptions& options, Instant now) {
  const bool acceptable = tcp.has(wire::kAck) && tcp.ack() == setup_.iss + 1U;
  if (tcp.has(wire::kRst)) {
    if (acceptable) finish(TcpEnd::refused);
    return;
  }
  if (!acceptable) {
    // An old connection there answers; reset, it makes room (RFC 9293 section 3.5.1, figure 9).
    if (!tcp.has(wire::kAck) || stale_++ >= kStaleTries) return;
    wire::Segment rst = segment(wire::kRst, tcp.ack(), now);
    rst.window = 0;
    rst.options = {};
    emit_(rst);
    send_syn(now);
    return;
  }
  if (!tcp.has(wire::kSyn)) return;
  peer_options_ = options;
  timestamps_ = options.timestamps.has_value();
  if (timestamps_) ts_recent_ = options.timestamps->value;
  peer_scale_ = options.window_scale.value_or(uint8_t{0});
  peer_mss_ = std::max(options.mss.value_or(wire::kDefaultMss), kLeastMss);
  rcv_nxt_ = tcp.seq() + 1U;
  snd_una_ = snd_nxt_ = snd_max_ = setup_.iss + 1U;
  send_window_ = largest_window_ = tcp.window();  // never scaled in a SYN
  repeats_ = 0;
  retransmit_at_.reset();
  state_ = TcpState::established;
  send_ack(now);
}

void TcpClient::in_connection(const wire::Packet& packet, const wire::TcpOptions& options,
                              Instant now) {
  const wire::TcpView tcp = packet.tcp();
  const Seq32 seq = tcp.seq();
  const bool is_reset = tcp.has(wire::kRst);
  const bool is_old = timestamps_ && options.timestamps &&
                      static_cast<int32_t>(options.timestamps->value - ts_recent_) < 0;
  if (!is_reset && (is_old || !is_acceptable(packet))) {
    // What takes sequence numbers is a repetition, and its sender waits for the answer.
    if (packet.segment_length() > 0 && !tcp.has(wire::kSyn)) {
      send_ack(now);
    } else {
      challenge(now);
    }
    return;
  }
  if (is_reset) {
    take_reset(seq, now);
    return;
  }
  if (tcp.has(wire::kSyn)) {
    challenge(now);
    return;
  }
  if (!tcp.has(wire::kAck) || !take_ack(tcp, options, now)) return;
  const bool news = take_data(packet, now);
  const bool sent = state_ != TcpState::closed && send_pending(now);
  if (news && !sent) send_ack(now);
}

bool TcpClient::is_acceptable(const wire::Packet& packet) const {
  const Seq32 seq = packet.tcp().seq();
  const uint32_t length = packet.segment_length();
  return seq.in_window(rcv_nxt_, kWindow) ||
         (length > 0 && (seq + (length - 1)).in_window(rcv_nxt_, kWindow));
}

// Only the exact next number resets (RFC 5961 section 3).
void TcpClient::take_reset(Seq32 seq, Instant now) {
  if (seq != rcv_nxt_) {
    if (seq.in_window(rcv_nxt_, kWindow)) challenge(now);
    return;
  }
  const bool both_ended = peer_closed_ && fin_queued_;
  finish(both_ended ? TcpEnd::orderly : TcpEnd::reset);
}

// False if the segment is to be ignored.
bool TcpClient::take_ack(wire::TcpView tcp, const wire::TcpOptions& options, Instant now) {
  const Seq32 ack = tcp.ack();
  // RFC 5961 section 5.
  if (ack.after(snd_max_) || snd_una_ - ack > static_cast<int32_t>(largest_window_)) {
    challenge(now);
    return false;
  }
  if (timestamps_ && options.timestamps && !tcp.seq().after(rcv_nxt_)) {
    ts_recent_ = options.timestamps->value;
  }
  if (ack.before(snd_una_)) return true;
  send_window_ = uint32_t{tcp.window()} << peer_scale_;
  largest_window_ = std::max(largest_window_, send_window_);
  if (ack == snd_una_) return true;
  snd_una_ = ack;
  snd_nxt_ = base::later(snd_nxt_, ack);
  repeats_ = 0;
  retransmit_at_.reset();
  if (timestamps_ && options.timestamps) {
    constexpr uint32_t kLongest = 60'000;
    const uint32_t trip = timestamp(now) - options.timestamps->echo_reply;
    if (trip < kLongest) timeout_ = std::max(kLeastTimeout, base::Duration(2000 * int64_t{trip}));
  }
  if (fin_queued_ && ack == send_end()) own_fin_acknowledged(now);
  return true;
}

void TcpClient::own_fin_acknowledged(Instant now) {
  if (state_ == TcpState::fin_wait_1) state_ = TcpState::fin_wait_2;
  // After LAST-ACK the peer waits, not we; but our port rests all the same.
  if (state_ == TcpState::closing || state_ == TcpState::last_ack) enter_time_wait(now);
}

// True if the segment is to be acknowledged.
bool TcpClient::take_data(const wire::Packet& packet, Instant now) {
  if (packet.segment_length() == 0) return false;
  if (peer_closed_) return true;  // nothing can follow its FIN
  const Seq32 seq = packet.tcp().seq();
  if (seq.after(rcv_nxt_)) return true;  // out of order: the ACK asks for what is missing
  const auto skip = static_cast<size_t>(rcv_nxt_ - seq);
  const base::Bytes payload = packet.payload();
  if (skip < payload.size()) {
    const base::Bytes fresh =
        payload.subspan(skip).first(std::min<size_t>(payload.size() - skip, kWindow));
    in_.insert(in_.end(), fresh.begin(), fresh.end());
    rcv_nxt_ += static_cast<uint32_t>(fresh.size());
  }
  const bool all_taken = rcv_nxt_ == seq + static_cast<uint32_t>(payload.size());
  if (packet.tcp().has(wire::kFin) && all_taken) take_fin(now);
  return true;
}

void TcpClient::take_fin(Instant now) {
  rcv_nxt_ += 1U;
  peer_closed_ = true;
  switch (state_) {
    case TcpState::established:
      state_ = TcpState::close_wait;
      break;
    case TcpState::fin_wait_1:
      state_ = TcpState::closing;
      break;
    case TcpState::fin_wait_2:
      enter_time_wait(now);
      break;
    default:
      break;
  }
}

void TcpClient::enter_time_wait(Instant now) {
  state_ = TcpState::time_wait;
  end_ = TcpEnd::orderly;
  retransmit_at_.reset();
  time_wait_ends_ = now + kTimeWait;
}

}  // namespace mqlb::control
