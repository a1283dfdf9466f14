// Receiving, in the order of RFC 9293 section 3.10.7 with RFC 5961 and RFC 7323.
#include <algorithm>

#include "tests/support/sim/tcp_endpoint.hh"

namespace mqlb::sim {

void TcpEndpoint::receive(const Segment& s, Instant now) {
  checks_.check(s, check_state(), now);
  if (checks_.storm()) finish(CloseReason::storm);
  if (options_.keepalive && phase_ == Phase::open) {
    keepalive_at_ = now + *options_.keepalive;
    keepalive_sent_ = 0;
  }
  switch (phase_) {
    case Phase::closed:
      return;
    case Phase::syn_sent:
      receive_syn_sent(s, now);
      break;
    case Phase::syn_received:
    case Phase::open:
    case Phase::time_wait:
      receive_open(s, now);
      break;
  }
  poll(now);
}

void TcpEndpoint::receive_syn_sent(const Segment& s, Instant now) {
  const bool good_ack = s.has(kAck) && s.ack == options_.iss + 1;
  if (s.has(kAck) && !good_ack) {
    if (s.has(kRst)) return;
    // Somebody holds an older connection of these addresses: clear it and try again at once.
    send_reset(s.ack, false, now);
    if (++retries_ <= options_.max_syn_retries) send_syn(now);
    return;
  }
  if (s.has(kRst)) {
    if (good_ack) finish(CloseReason::refused);
    return;
  }
  if (!s.has(kSyn) || !good_ack) return;
  negotiate(s);
  phase_ = Phase::open;
  retries_ = unanswered_ = 0;
  retransmit_at_ = kNever;
  ack_now_ = true;
  if (options_.keepalive) keepalive_at_ = now + *options_.keepalive;
}

void TcpEndpoint::receive_open(const Segment& s, Instant now) {
  const base::Seq32 next = rcv_seq(rcv_next());
  const int64_t from = static_cast<int64_t>(rcv_next()) + (s.seq - next);
  if (phase_ == Phase::syn_received && s.has(kSyn) && !s.has(kAck) && s.seq == irs_) {
    send_syn(now);
    return;
  }
  if (!accept_timestamps(s, from) || !accept_sequence(s, from)) return;
  if (s.has(kRst)) {
    receive_reset(s, from, now);
    return;
  }
  if (s.has(kSyn)) {
    ack_now_ = true;  // challenge (RFC 5961 section 4)
    return;
  }
  if (!s.has(kAck) || !receive_ack(s, from, now)) return;
  if (!fin_received_) receive_data(s, from, now);
  if (s.has(kFin)) receive_fin(from + static_cast<int64_t>(s.payload.size()), now);
  check_finished(now);
}

// RFC 7323 section 5.3.
bool TcpEndpoint::accept_timestamps(const Segment& s, int64_t from) {
  if (!timestamps_ || s.has(kRst)) return true;
  if (!s.timestamps) return false;
  const base::Seq32 value(s.timestamps->value);
  if (value.before(base::Seq32(ts_recent_))) {
    ack_now_ = true;
    return false;
  }
  const bool in_window = from <= static_cast<int64_t>(queue_->right_edge());
  if (in_window && !s.has(kSyn) && from <= static_cast<int64_t>(last_ack_sent_)) {
    ts_recent_ = s.timestamps->value;
  }
  return true;
}

// Both edges count as inside: a sender that has used the whole window acknowledges from its edge.
bool TcpEndpoint::accept_sequence(const Segment& s, int64_t from) {
  const int64_t to = from + s.length();
  const uint64_t right = std::max(queue_->right_edge(), rcv_next());
  if (to >= static_cast<int64_t>(rcv_next()) && from <= static_cast<int64_t>(right)) return true;
  if (!s.has(kRst)) ack_now_ = true;
  return false;
}

// Only the exact next number resets; others are challenged (RFC 5961 section 3).
void TcpEndpoint::receive_reset(const Segment& s, int64_t from, Instant now) {
  if (phase_ == Phase::time_wait) return;  // RFC 1337
  if (from != static_cast<int64_t>(rcv_next())) {
    send_ack(now);
    return;
  }
  if (s.has(kAck) && s.ack.after(snd_seq(snd_max_))) return;
  // The other end's TIME-WAIT was over before our FIN's last repetition.
  const bool both_ended = fin_received_ && fin_sent_ && snd_una_ >= stream_->size();
  const bool opening = phase_ == Phase::syn_received;
  finish(both_ended ? CloseReason::normal : opening ? CloseReason::refused : CloseReason::reset);
}

bool TcpEndpoint::receive_ack(const Segment& s, int64_t from, Instant now) {
  const int64_t ack = static_cast<int64_t>(snd_una_) + (s.ack - snd_seq(snd_una_));
  const bool unsent = ack > static_cast<int64_t>(snd_max_);
  if (phase_ == Phase::syn_received) {
    if (unsent || ack < 0) {
      send_reset(s.ack, false, now);
      return false;
    }
    phase_ = Phase::open;
    retries_ = 0;
    retransmit_at_ = kNever;
    if (options_.keepalive) keepalive_at_ = now + *options_.keepalive;
  }
  if (unsent || ack + static_cast<int64_t>(max_window_) < static_cast<int64_t>(snd_una_)) {
    ack_now_ = true;  // RFC 5961 section 5
    return false;
  }
  unanswered_ = 0;
  if (ack < static_cast<int64_t>(snd_una_)) return true;
  const auto to = static_cast<uint64_t>(ack);
  const uint64_t right = to + (static_cast<uint64_t>(s.window) << snd_shift_);
  const bool same_window = right == snd_right_;
  take_window(s, from, to);
  const uint64_t known = sacked_.covered_below(snd_max_);
  if (sack_) take_sack(s);
  const bool news = sacked_.covered_below(snd_max_) > known;
  if (to > snd_una_) {
    take_new_ack(s, to, now);
  } else if (snd_una_ < snd_max_ && (news || (s.length() == 0 && same_window && !sack_))) {
    take_duplicate_ack();
  }
  return true;
}

void TcpEndpoint::take_window(const Segment& s, int64_t from, uint64_t ack) {
  if (wl1_ > from || (wl1_ == from && wl2_ > ack)) return;
  wl1_ = from;
  wl2_ = ack;
  const uint64_t window = static_cast<uint64_t>(s.window) << snd_shift_;
  max_window_ = std::max(max_window_, window);
  const bool opened = ack + window > snd_right_;
  snd_right_ = ack + window;
  snd_furthest_right_ = std::max(snd_furthest_right_, snd_right_);
  if (opened && snd_una_ == snd_max_) {
    retransmit_at_ = kNever;
    retries_ = 0;
  }
}

void TcpEndpoint::take_sack(const Segment& s) {
  for (size_t i = 0; i < s.sack_count; ++i) {
    const int64_t left = static_cast<int64_t>(snd_una_) + (s.sack[i].left - snd_seq(snd_una_));
    const int64_t right = static_cast<int64_t>(snd_una_) + (s.sack[i].right - snd_seq(snd_una_));
    const bool sane = left >= static_cast<int64_t>(snd_una_) && left < right &&
                      right <= static_cast<int64_t>(snd_max_);
    if (sane) sacked_.add(static_cast<uint64_t>(left), static_cast<uint64_t>(right));
  }
}

void TcpEndpoint::take_new_ack(const Segment& s, uint64_t ack, Instant now) {
  sample_rtt(s, ack, now);
  const uint64_t acked = ack - snd_una_;
  snd_una_ = ack;
  snd_nxt_ = std::max(snd_nxt_, snd_una_);
  sacked_.remove_below(snd_una_);
  retries_ = 0;
  dup_acks_ = 0;
  retransmit_at_ = kNever;
  const uint64_t size = segment_size();
  if (recovering_) {
    hole_credit_ = 2;
    if (snd_una_ >= recover_) {
      recovering_ = false;
      cwnd_ = ssthresh_;
    }
  } else if (cwnd_ < ssthresh_) {
    cwnd_ += std::min(acked, 2 * size);
  } else {
    cwnd_ += std::max<uint64_t>(1, size * size / cwnd_);
  }
}

void TcpEndpoint::take_duplicate_ack() {
  ++dup_acks_;
  if (recovering_) {
    ++hole_credit_;
    if (!sack_) cwnd_ += segment_size();
  } else if (dup_acks_ >= 3 && snd_una_ >= recover_) {
    enter_recovery();
  }
}

void TcpEndpoint::enter_recovery() {
  recovering_ = true;
  recover_ = snd_max_;
  hole_ = snd_una_;
  hole_credit_ = 1;
  ssthresh_ = std::max(flight() / 2, 2 * segment_size());
  cwnd_ = ssthresh_ + (sack_ ? 0 : 3 * segment_size());
}

// RFC 6298; by timestamps where there are any, else by one timed segment (Karn's rule).
void TcpEndpoint::sample_rtt(const Segment& s, uint64_t ack, Instant now) {
  Duration rtt{-1};
  if (timestamps_ && s.timestamps) {
    const uint32_t milliseconds = timestamp(now) - s.timestamps->echo;
    if (milliseconds < 60'000) rtt = Duration{int64_t{milliseconds} * 1000};
  } else if (timed_ != 0 && ack >= timed_) {
    rtt = now - timed_at_;
  }
  if (timed_ != 0 && ack >= timed_) timed_ = 0;
  if (rtt < Duration{0}) return;
  if (srtt_ == Duration{0}) {
    srtt_ = rtt;
    rttvar_ = rtt / 2;
  } else {
    const Duration error = rtt > srtt_ ? rtt - srtt_ : srtt_ - rtt;
    rttvar_ = (3 * rttvar_ + error) / 4;
    srtt_ = (7 * srtt_ + rtt) / 8;
  }
  rto_ = std::clamp(srtt_ + 4 * rttvar_, options_.min_rto, options_.max_rto);
}

void TcpEndpoint::receive_data(const Segment& s, int64_t from, Instant now) {
  base::Bytes bytes = s.payload;
  if (bytes.empty()) return;
  if (from >= 0 && app_ != nullptr) {
    app_->on_segment(*this, static_cast<uint64_t>(from), bytes, now);
  }
  const uint64_t right = queue_->right_edge();
  if (from < 0) bytes = bytes.subspan(std::min(static_cast<size_t>(-from), bytes.size()));
  const auto offset = static_cast<uint64_t>(std::max<int64_t>(from, 0));
  if (offset + bytes.size() > right) {
    ack_now_ = true;
    bytes = bytes.first(right - std::min(offset, right));
  }
  const base::Bytes ready = queue_->insert(offset, bytes);
  if (ready.empty()) {  // early, known, or outside
    ack_now_ = true;
    if (offset > queue_->next() && !bytes.empty()) {
      std::copy_backward(recent_.begin(), recent_.end() - 1, recent_.end());
      recent_.front() = offset;
    }
    return;
  }
  checks_.check_data(queue_->next() - ready.size(), ready, now);
  const bool was_hole = !queue_->early().empty() || ready.size() > bytes.size();
  if (was_hole || ++unacked_segments_ >= 2 || options_.delayed_ack == Duration{0}) {
    ack_now_ = true;
  } else {
    ack_at_ = std::min(ack_at_, now + options_.delayed_ack);
  }
}

void TcpEndpoint::receive_fin(int64_t at, Instant now) {
  ack_now_ = true;
  if (phase_ == Phase::time_wait) time_wait_until_ = now + options_.time_wait;
  if (at < 0 || static_cast<uint64_t>(at) >= queue_->right_edge()) return;
  if (!fin_received_) queue_->set_fin(static_cast<uint64_t>(at));
}

void TcpEndpoint::check_finished(Instant now) {
  if (!fin_received_ && queue_->fin_reached()) {
    fin_received_ = true;
    ack_now_ = true;
  }
  if (phase_ != Phase::open || !fin_received_ || !fin_sent_ || !all_acknowledged()) return;
  if (!sent_fin_first_) {
    finish(CloseReason::normal);
    return;
  }
  phase_ = Phase::time_wait;
  retransmit_at_ = keepalive_at_ = kNever;
  time_wait_until_ = now + options_.time_wait;
}

}  // namespace mqlb::sim
