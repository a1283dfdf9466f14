// Life of an endpoint: opening, the application's calls, timers, closing.
#include "tests/support/sim/tcp_endpoint.hh"

#include <algorithm>

namespace mqlb::sim {

std::string_view to_string(CloseReason reason) {
  switch (reason) {
    case CloseReason::none:
      return "none";
    case CloseReason::normal:
      return "normal";
    case CloseReason::aborted:
      return "aborted";
    case CloseReason::reset:
      return "reset";
    case CloseReason::refused:
      return "refused";
    case CloseReason::timeout:
      return "timeout";
    case CloseReason::vanished:
      return "vanished";
    case CloseReason::storm:
      return "storm";
  }
  return "?";
}

TcpEndpoint::TcpEndpoint(const wire::Endpoint& local, const wire::Endpoint& remote,
                         const TcpOptions& options, SegmentSink& sink, Violations& violations,
                         const CheckRules& rules)
    : local_(local),
      remote_(remote),
      options_(options),
      sink_(sink),
      checks_(violations, rules, to_string(local) + " from " + to_string(remote)),
      rto_(options.initial_rto) {}

void TcpEndpoint::connect(Instant now) {
  phase_ = Phase::syn_sent;
  send_syn(now);
}

void TcpEndpoint::accept(const Segment& syn, Instant now) {
  passive_ = true;
  phase_ = Phase::syn_received;
  negotiate(syn);
  checks_.note_syn(syn, now);
  send_syn(now);
}

// From the other end's SYN or SYN-ACK.
void TcpEndpoint::negotiate(const Segment& syn) {
  irs_ = syn.seq;
  peer_mss_ = syn.mss.value_or(536);
  timestamps_ = options_.timestamps && syn.timestamps;
  sack_ = options_.sack && syn.sack_permitted;
  if (options_.window_scale && syn.window_scale) {
    snd_shift_ = std::min<uint8_t>(*syn.window_scale, 14);
    rcv_shift_ = *options_.window_scale;
  } else {
    options_.window_scale.reset();
  }
  queue_->set_window_unit(1U << rcv_shift_);
  options_.timestamps = timestamps_;
  options_.sack = sack_;
  if (timestamps_) ts_recent_ = syn.timestamps->value;
  snd_right_ = syn.window;  // never scaled in a SYN (RFC 7323 section 2.2)
  snd_furthest_right_ = max_window_ = syn.window;
  cwnd_ = options_.initial_window * segment_size();
}

void TcpEndpoint::write(base::Bytes bytes, Instant now, Boundary boundary) {
  if (phase_ == Phase::closed || fin_queued_) return;
  stream_->append(bytes);
  if (boundary == Boundary::yes) boundaries_.push_back(stream_->size());
  if (!dispatching_) output(now);
}

void TcpEndpoint::close(Instant now) {
  if (phase_ == Phase::closed || fin_queued_) return;
  fin_queued_ = true;
  stream_->close();
  if (!dispatching_) output(now);
}

void TcpEndpoint::abort(Instant now) {
  if (phase_ == Phase::closed) return;
  if (phase_ != Phase::syn_sent) send_reset(snd_seq(snd_max_), true, now);
  finish(CloseReason::aborted);
}

void TcpEndpoint::finish(CloseReason reason) {
  phase_ = Phase::closed;
  reason_ = reason;
  retransmit_at_ = ack_at_ = keepalive_at_ = time_wait_until_ = kNever;
}

void TcpEndpoint::poll(Instant now) {
  if (dispatching_) return;
  dispatching_ = true;
  if (app_ != nullptr && phase_ == Phase::open && !told_established_) {
    told_established_ = true;
    app_->on_established(*this, now);
  }
  if (app_ != nullptr && readable() > 0) app_->on_readable(*this, now);
  if (app_ != nullptr && fin_received_ && readable() == 0 && !told_end_) {
    told_end_ = true;
    app_->on_end(*this, now);
  }
  dispatching_ = false;
  if (phase_ != Phase::closed) {
    output(now);
    return;
  }
  // What arrived before an orderly end can still be read.
  if (!told_closed_ && (reason_ != CloseReason::normal || readable() == 0)) {
    told_closed_ = true;
    if (app_ != nullptr) app_->on_closed(*this, reason_, now);
  }
}

Instant TcpEndpoint::deadline() const {
  return std::min({retransmit_at_, ack_at_, keepalive_at_, time_wait_until_});
}

void TcpEndpoint::advance(Instant now) {
  if (time_wait_until_ <= now) finish(CloseReason::normal);
  if (ack_at_ <= now) {
    ack_at_ = kNever;
    ack_now_ = true;
  }
  if (retransmit_at_ <= now) on_retransmit_timer(now);
  if (keepalive_at_ <= now) on_keepalive_timer(now);
  poll(now);
}

Duration TcpEndpoint::timeout() const {
  return std::min(rto_ * (int64_t{1} << std::min(retries_, 10U)), options_.max_rto);
}

void TcpEndpoint::on_retransmit_timer(Instant now) {
  retransmit_at_ = kNever;
  ++retries_;
  ++unanswered_;
  const bool opening = phase_ == Phase::syn_sent || phase_ == Phase::syn_received;
  const unsigned most = opening ? options_.max_syn_retries : options_.max_retries;
  // An end that answers but never lets anything through is given up later.
  if (unanswered_ > most || retries_ > 4 * most) {
    finish(CloseReason::timeout);
    return;
  }
  if (opening) {
    send_syn(now);
    return;
  }
  const bool window_closed = snd_right_ <= snd_una_;
  if (window_closed || snd_una_ == snd_max_) {
    send_probe(now);
    return;
  }
  ssthresh_ = std::max(flight() / 2, 2 * segment_size());
  cwnd_ = segment_size();
  snd_nxt_ = snd_una_;
  recovering_ = false;
  recover_ = snd_max_;
  dup_acks_ = 0;
  timed_ = 0;
  if (retries_ > 1) sacked_.clear();  // the receiver may have dropped them (RFC 2018 section 8)
}

void TcpEndpoint::on_keepalive_timer(Instant now) {
  if (keepalive_sent_ >= options_.keepalive_probes) {
    send_reset(snd_seq(snd_max_), true, now);
    finish(CloseReason::timeout);
    return;
  }
  ++keepalive_sent_;
  keepalive_at_ = now + *options_.keepalive;
  Segment s;
  s.seq = snd_seq(snd_una_) - 1;
  s.flags = kAck;
  emit(s, now);
}

bool TcpEndpoint::reusable_by(const Segment& syn) const {
  if (phase_ != Phase::time_wait || !syn.has(kSyn) || syn.has(kAck)) return false;
  const bool newer = timestamps_ && syn.timestamps &&
                     base::Seq32(syn.timestamps->value).after(base::Seq32(ts_recent_));
  return newer || syn.seq.after(rcv_seq(rcv_next()));
}

void TcpEndpoint::give_way(Instant now) {
  finish(CloseReason::normal);
  poll(now);
}

bool TcpEndpoint::done() const {
  return phase_ == Phase::closed && (told_closed_ || app_ == nullptr);
}

CheckState TcpEndpoint::check_state() const {
  CheckState c;
  c.syn_sent = phase_ == Phase::syn_sent;
  c.iss = options_.iss;
  c.irs = irs_;
  c.snd_una = snd_una_;
  c.snd_max = snd_max_;
  c.written = stream_->size();
  c.rcv_next = rcv_next();
  c.rcv_right = queue_->right_edge();
  c.offered_scale = options_.window_scale.has_value();
  c.offered_sack = options_.sack;
  c.offered_timestamps = options_.timestamps;
  c.timestamps = timestamps_;
  c.sack = sack_;
  c.snd_shift = snd_shift_;
  c.mss = options_.mss;
  c.ts_recent = ts_recent_;
  return c;
}

}  // namespace mqlb::sim
