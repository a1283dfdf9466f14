// Sending: segmentation, windows, retransmission, acknowledgments.
#include <algorithm>

#include "tests/support/sim/tcp_endpoint.hh"

namespace mqlb::sim {
namespace {

constexpr size_t kTimestampBytes = 12;

}  // namespace

void TcpEndpoint::output(Instant now) {
  if (phase_ == Phase::syn_sent || phase_ == Phase::closed) return;
  if (phase_ == Phase::open) {
    send_holes(now);
    send_new(now);
  }
  // Tells of room that the application made, but not in crumbs (RFC 9293 section 3.8.6.2.2).
  const uint64_t room = options_.receive_buffer - queue_->readable();
  const uint64_t reach = std::min<uint64_t>(room, uint64_t{65535} << rcv_shift_);
  const uint64_t edge = queue_->next() + reach;
  const uint64_t worth = std::min<uint64_t>(options_.receive_buffer / 2, 2U * options_.mss);
  if (phase_ == Phase::open && !fin_received_ && edge >= queue_->right_edge() + worth)
    ack_now_ = true;
  if (ack_now_) send_ack(now);
  if (phase_ == Phase::open) arm_timers(now);
}

void TcpEndpoint::send_syn(Instant now) {
  Segment s;
  s.seq = options_.iss;
  s.flags = passive_ ? kSyn | kAck : kSyn;
  if (options_.announce_mss) s.mss = options_.mss;
  s.window_scale = options_.window_scale;
  s.sack_permitted = options_.sack;
  s.window = static_cast<uint16_t>(std::min<uint32_t>(options_.receive_buffer, 65535));
  queue_->raise_right_edge(s.window);
  retransmit_at_ = now + timeout();
  emit(s, now);
}

uint64_t TcpEndpoint::flight() const {
  const uint64_t sent = snd_nxt_ - snd_una_;
  return sent - std::min(sent, sacked_.covered_below(snd_nxt_));
}

uint64_t TcpEndpoint::boundary_after(uint64_t offset) const {
  if (options_.coalesce_retransmits && offset < snd_max_) return send_end();
  const auto it = std::upper_bound(boundaries_.begin(), boundaries_.end(), offset);
  return it == boundaries_.end() ? send_end() : *it;
}

void TcpEndpoint::send_new(Instant now) {
  while (true) {
    if (snd_nxt_ < snd_max_) snd_nxt_ = sacked_.past(snd_nxt_);
    if (snd_nxt_ >= send_end() || flight() >= cwnd_) return;
    const uint64_t usable = snd_right_ > snd_nxt_ ? snd_right_ - snd_nxt_ : 0;
    if (usable == 0) return;
    const uint64_t most = std::min({segment_size(), usable, sacked_.next_start(snd_nxt_) - snd_nxt_,
                                    boundary_after(snd_nxt_) - snd_nxt_});
    const uint64_t length = std::min(most, stream_->size() - snd_nxt_);
    if (!may_send(length, usable, snd_nxt_ + length == stream_->size())) return;
    snd_nxt_ += send_at(snd_nxt_, most, now);
  }
}

// Nagle's rule and the sender's side of the silly window syndrome (RFC 9293 section 3.8.6.2.1).
bool TcpEndpoint::may_send(uint64_t length, uint64_t usable, bool last) const {
  if (length >= segment_size() || snd_nxt_ < snd_max_) return true;
  if (length == usable && !last) return 2 * usable >= max_window_;
  if (last && fin_queued_) return true;
  return !options_.nagle || snd_una_ == snd_max_;
}

void TcpEndpoint::send_holes(Instant now) {
  while (recovering_ && hole_credit_ > 0) {
    const uint64_t limit = std::min(std::max(sacked_.end(), snd_una_ + 1), snd_max_);
    hole_ = sacked_.past(std::max(hole_, snd_una_));
    if (hole_ >= limit) return;
    --hole_credit_;
    const uint64_t most =
        std::min({segment_size(), snd_max_ - hole_, sacked_.next_start(hole_) - hole_,
                  boundary_after(hole_) - hole_});
    hole_ += send_at(hole_, most, now);
  }
}

// One segment of at most `most` bytes, with the FIN when it gets there. Returns its length.
uint64_t TcpEndpoint::send_at(uint64_t offset, uint64_t most, Instant now) {
  const uint64_t size = stream_->size();
  const uint64_t length = offset < size ? std::min(most, size - offset) : 0;
  const uint64_t end = offset + length;
  const bool fin_fits = length == 0 || end < snd_right_ || end < snd_max_;
  const bool fin = fin_queued_ && end == size && fin_fits;
  Segment s;
  s.seq = snd_seq(offset);
  s.flags = kAck;
  if (length > 0) s.payload = stream_->view(offset, length);
  if (length > 0 && (end == size || end == boundary_after(offset))) s.flags |= kPsh;
  if (fin) s.flags |= kFin;
  const uint64_t taken = length + (fin ? 1 : 0);
  if (offset < snd_max_) {
    timed_ = 0;
  } else if (timed_ == 0) {
    timed_ = offset + taken;
    timed_at_ = now;
  }
  if (fin && !fin_sent_) {
    fin_sent_ = true;
    sent_fin_first_ = !fin_received_;
  }
  snd_max_ = std::max(snd_max_, offset + taken);
  emit(s, now);
  return taken;
}

void TcpEndpoint::send_probe(Instant now) {
  if (snd_una_ < snd_right_ && snd_una_ < send_end()) {  // a small window, avoided as silly so far
    const uint64_t sent = send_at(snd_una_, std::min(segment_size(), snd_right_ - snd_una_), now);
    snd_nxt_ = std::max(snd_nxt_, snd_una_ + sent);
    return;
  }
  if (options_.probe == ProbeStyle::data_byte && snd_una_ < send_end()) {
    send_at(snd_una_, 1, now);
    return;
  }
  Segment s;
  s.seq = snd_seq(snd_una_) - 1;
  s.flags = kAck;
  emit(s, now);
}

// From the furthest byte sent, also while older ones are resent: two ends that both acknowledged
// from a point that the other has passed would refuse each other's ACKs for ever. A probe beyond
// the window does not count.
void TcpEndpoint::send_ack(Instant now) {
  Segment s;
  s.seq = snd_seq(std::min(snd_max_, std::max(snd_furthest_right_, snd_una_)));
  s.flags = kAck;
  emit(s, now);
}

void TcpEndpoint::send_reset(base::Seq32 seq, bool with_ack, Instant now) {
  Segment s;
  s.seq = seq;
  s.flags = with_ack ? kRst | kAck : kRst;
  emit(s, now);
}

void TcpEndpoint::emit(Segment& s, Instant now) {
  s.source = local_;
  s.destination = remote_;
  s.layout = options_.layout;
  const bool offered = s.has(kSyn) && options_.timestamps;
  if (timestamps_ || offered) {
    s.timestamps = Timestamps{timestamp(now), s.has(kAck) ? ts_recent_ : 0};
    checks_.note_sent(s.timestamps->value);
  }
  if (s.has(kAck)) {
    s.ack = rcv_seq(rcv_next());
    if (!s.has(kSyn)) s.window = advance_window();
    if (!s.has(kSyn) && !s.has(kRst)) add_sack(s);
    ack_now_ = false;
    ack_at_ = kNever;
    unacked_segments_ = 0;
    last_ack_sent_ = rcv_next();
  }
  sink_.transmit(s, now);
}

size_t TcpEndpoint::sack_room() const {
  if (!sack_) return 0;
  return std::min<size_t>(queue_->early().ranges().size(), timestamps_ ? 3 : 4);
}

// The range that changed last comes first (RFC 2018 section 4).
void TcpEndpoint::add_sack(Segment& s) {
  const size_t room = sack_room();
  if (room == 0) return;
  const auto& ranges = queue_->early().ranges();
  const auto add = [&](const std::pair<const uint64_t, uint64_t>& range) {
    const base::Seq32 left = rcv_seq(range.first);
    for (size_t i = 0; i < s.sack_count; ++i) {
      if (s.sack[i].left == left) return;
    }
    if (s.sack_count < room) s.sack[s.sack_count++] = {left, rcv_seq(range.second)};
  };
  for (const uint64_t offset : recent_) {
    auto it = ranges.upper_bound(offset);
    if (it == ranges.begin()) continue;
    --it;
    if (offset < it->second) add(*it);
  }
  for (auto it = ranges.begin(); it != ranges.end() && s.sack_count < room; ++it) add(*it);
}

// Moves the right edge when that is worth while and returns the window field.
uint16_t TcpEndpoint::advance_window() {
  const uint64_t next = queue_->next();
  const uint64_t most = uint64_t{65535} << rcv_shift_;
  const uint64_t room =
      options_.receive_buffer - std::min<size_t>(queue_->readable(), options_.receive_buffer);
  const uint64_t edge = next + std::min(room, most);
  const uint64_t worth = std::min<uint64_t>(options_.receive_buffer / 2, options_.mss);
  if (edge >= queue_->right_edge() + worth) queue_->raise_right_edge(edge);
  const uint64_t window = queue_->right_edge() - std::min(next, queue_->right_edge());
  return static_cast<uint16_t>(std::min(window, most) >> rcv_shift_);
}

uint64_t TcpEndpoint::segment_size() const {
  const size_t blocks = sack_room();
  const size_t options = (timestamps_ ? kTimestampBytes : 0) + (blocks > 0 ? 4 + 8 * blocks : 0);
  return std::min(peer_mss_, options_.mss) - std::min<uint64_t>(options, 100);
}

// One timer for retransmission and for probing a window that lets nothing through.
void TcpEndpoint::arm_timers(Instant now) {
  const bool waiting = snd_una_ < snd_max_ || snd_nxt_ < send_end();
  if (!waiting) {
    retransmit_at_ = kNever;
  } else if (retransmit_at_ == kNever) {
    retransmit_at_ = now + timeout();
  }
}

}  // namespace mqlb::sim
