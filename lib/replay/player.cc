#include "lib/replay/player.hh"

#include <algorithm>

namespace mqlb::replay {
namespace {

using wire::kAck;
using wire::kFin;
using wire::kRst;
using wire::kSyn;

constexpr uint32_t kMaxHeld = 1U << 26;  // farther ahead is not kept
constexpr unsigned kDuplicateAcks = 3;   // RFC 5681 section 3.2
constexpr uint32_t kTimestampsSize = 12;

// What a side can take that does not say so (RFC 9293 section 3.7.1).
uint16_t default_mss(const wire::IpAddress& address) {
  return address.is_v4() ? wire::kDefaultMss : wire::kDefaultMssIpv6;
}

}  // namespace

Player::Player(const PlayerSetup& setup, PlayerHost& host) : setup_(setup), host_(host) {
  if (setup_.syn.timestamps) tsval_ = setup_.syn.timestamps->value + setup_.tsval_shift;
}

void Player::set_script(const Script& script, Follow follow, const std::vector<uint32_t>* replies,
                        base::Instant now) {
  script_ = &script;
  follow_ = follow;
  reply_ends_ = replies;
  if (script.size() > 0) {
    const Step first = script.step(0);
    started_ = now;
    started_ -= step_time(first) - now;
    window_ = first.window;
    // The opening SYN, or SYN-ACK, is sent by connect() and accept().
    if ((first.flags & kSyn) != 0) next_ = 1;
  }
  progress_ = now;
  if (phase_ == Phase::open) poll(now);
}

void Player::connect(base::Instant now) {
  phase_ = Phase::syn_sent;
  active_ = true;
  opened_ = progress_ = timed_since_ = now;
  // A SYN may carry data (RFC 9293 section 3.10.7.4); what is not acknowledged is sent again.
  if (script_ != nullptr && next_ == 1) max_ = script_->step(0).length;
  if (max_ > 0) flight_.push_back({0, max_, false});
  send_syn(now);
  start_timer(now);
  ++played_;
}

void Player::accept(const Incoming& syn, base::Instant now) {
  phase_ = Phase::syn_received;
  opened_ = progress_ = timed_since_ = now;
  irs_ = syn.seq;
  last_ack_ = irs_ + 1;
  peer_window_ = syn.window;
  if (syn.options.timestamps) ts_recent_ = syn.options.timestamps->value;
  agree(syn.options);
  send_syn(now);
  start_timer(now);
}

// What both sides offer (RFC 7323 sections 1.3, 2.2; RFC 2018 section 2).
void Player::agree(const wire::TcpOptions& theirs) {
  timestamps_ = setup_.syn.timestamps && theirs.timestamps;
  sack_ = setup_.syn.sack_permitted && theirs.sack_permitted;
  if (setup_.syn.window_scale && theirs.window_scale) {
    own_scale_ = *setup_.syn.window_scale;
    peer_scale_ = *theirs.window_scale;
  }
  const wire::IpAddress& own = setup_.local.address;
  mss_ = std::min<uint32_t>(theirs.mss.value_or(default_mss(own)), wire::mss_of(setup_.mtu, own));
  // One byte goes into a segment whatever the other side says: 0 would never send anything.
  const uint32_t taken = timestamps_ ? kTimestampsSize : 0;
  mss_ = mss_ > taken + 1 ? mss_ - taken : 1;
}

void Player::receive(const Incoming& segment, base::Instant now) {
  if (phase_ == Phase::idle) return;
  const bool was_open = phase_ == Phase::open;
  if (phase_ == Phase::syn_sent || phase_ == Phase::syn_received) {
    receive_handshake(segment, now);
    if (phase_ != Phase::open) return;
  }
  if (segment.has(kRst)) {
    receive_reset(segment, now);
    return;
  }
  if (segment.has(kSyn)) {  // an old SYN-ACK, or the peer lost our ACK of it
    ack_now_ = was_open;
    if (!was_open && segment.has(kAck)) receive_ack(segment, now);
  } else {
    if (segment.has(kAck)) receive_ack(segment, now);
    receive_data(segment, now);
  }
  poll(now);
}

// Only the next number ends the connection; another one in the window is asked about (RFC 9293
// section 3.10.7.4).
void Player::receive_reset(const Incoming& segment, base::Instant now) {
  const int32_t ahead = segment.seq - ack_number();
  if (phase_ != Phase::open || ahead < 0 || static_cast<uint32_t>(ahead) > window_) return;
  if (ahead == 0) {
    finish(End::reset, now);
  } else {
    send_ack(now);
  }
}

void Player::receive_handshake(const Incoming& segment, base::Instant now) {
  const bool active = phase_ == Phase::syn_sent;
  const uint32_t acked = static_cast<uint32_t>(segment.ack - (setup_.iss + 1));
  const bool acceptable = segment.has(kAck) && acked <= max_;
  if (segment.has(kRst)) {
    if (active ? acceptable : segment.seq == irs_ + 1) finish(End::refused, now);
    return;
  }
  if (active) {
    if (!segment.has(kSyn) || !acceptable) return;
    irs_ = segment.seq;
    last_ack_ = irs_;
    peer_window_ = segment.window;
    if (segment.options.timestamps) ts_recent_ = segment.options.timestamps->value;
    agree(segment.options);
    ack_due_ = now + kAckDelay;
  } else if (segment.has(kSyn)) {
    if (segment.seq == irs_) send_syn(now);
    return;
  } else if (!segment.has(kAck) || (segment.ack - (setup_.iss + 1)) < 0) {
    return;
  }
  phase_ = Phase::open;
  tries_ = 0;
  timer_ = kNever;
  end_timing(now);
  if (!flight_.empty()) start_timer(now);
  progress_ = now;
  host_.on_established(*this, now);
}

void Player::receive_ack(const Incoming& segment, base::Instant now) {
  const int32_t acked = segment.ack - (setup_.iss + 1);
  const uint32_t highest = max_ + (fin_sent_ ? 1U : 0U);
  if (acked < 0 || static_cast<uint32_t>(acked) > highest) return;
  const auto offset = static_cast<uint32_t>(acked);
  if (offset < una_) return;
  const uint32_t window = static_cast<uint32_t>(segment.window) << peer_scale_;
  if (offset > una_) {
    una_ = offset;
    if (una_ >= timed_end_) end_timing(now);
    while (!flight_.empty() && flight_.front().end() <= una_) flight_.pop_front();
    if (!flight_.empty() && flight_.front().offset < una_) {
      Piece& front = flight_.front();
      front.length -= std::min(una_ - front.offset, front.length);
      front.offset = una_;
    }
    duplicate_acks_ = 0;
    tries_ = 0;
    progress_ = now;
    timer_ = kNever;
    if (!flight_.empty()) {
      start_timer(now);
      if (una_ < recover_) repeat_front(now);
    }
  } else if (segment.payload.empty() && !segment.has(kFin) && window == peer_window_ &&
             !flight_.empty() && ++duplicate_acks_ == kDuplicateAcks && una_ >= recover_) {
    recover_ = max_;
    repeat_front(now);
  }
  if (window != peer_window_) progress_ = now;
  peer_window_ = window;
}

void Player::receive_data(const Incoming& segment, base::Instant now) {
  const int32_t ahead = segment.seq - (irs_ + 1 + rcv_);
  if (segment.options.timestamps && ahead <= 0 &&
      static_cast<int32_t>(segment.options.timestamps->value - ts_recent_) >= 0) {
    ts_recent_ = segment.options.timestamps->value;
  }
  if (segment.payload.empty() && !segment.has(kFin)) {
    // A probe of a keepalive or of a closed window asks for an answer.
    if (ahead < 0) ack_now_ = true;
    return;
  }
  if (ahead > 0 && static_cast<uint32_t>(ahead) > kMaxHeld) return;
  const uint32_t begin = rcv_ + static_cast<uint32_t>(ahead);
  if (segment.has(kFin)) peer_fin_at_ = begin + static_cast<uint32_t>(segment.payload.size());
  if (ahead > 0) {
    auto& slot = held_[begin];
    if (slot.size() < segment.payload.size()) {
      slot.assign(segment.payload.begin(), segment.payload.end());
    }
    ack_now_ = true;
    return;
  }
  const auto known = static_cast<size_t>(-int64_t{ahead});
  if (known < segment.payload.size()) {
    deliver(segment.payload.subspan(known), now);
    deliver_held(now);
  } else if (peer_fin_ || !segment.has(kFin)) {
    ack_now_ = true;
  }
  if (!peer_fin_ && peer_fin_at_ == rcv_) {
    peer_fin_ = true;
    progress_ = now;
    if (ack_due_ == kNever) ack_due_ = now + kAckDelay;
    host_.on_peer_fin(*this, now);
  }
}

void Player::deliver(base::Bytes bytes, base::Instant now) {
  rcv_ += static_cast<uint32_t>(bytes.size());
  progress_ = now;
  if (ack_due_ == kNever) ack_due_ = now + kAckDelay;
  host_.on_bytes(*this, bytes, now);
}

void Player::deliver_held(base::Instant now) {
  while (!held_.empty() && held_.begin()->first <= rcv_) {
    const auto node = held_.extract(held_.begin());
    const size_t known = rcv_ - node.key();
    if (known < node.mapped().size()) deliver(base::Bytes(node.mapped()).subspan(known), now);
  }
}

void Player::count_reply(base::Instant now) {
  ++replies_;
  progress_ = now;
}

void Player::finish(End end, base::Instant now) {
  if (end_ == End::none) end_ = end;
  if (end == End::open) return;  // goes on answering
  over_at_ = now + setup_.linger;
  timer_ = kNever;
  if (end != End::closed) {
    ack_due_ = kNever;
    phase_ = Phase::over;
    flight_.clear();
  }
}

bool Player::gone(base::Instant now) const {
  switch (end_) {
    case End::none:
    case End::open:
      return phase_ == Phase::over;
    case End::closed:
      return now >= over_at_;
    case End::aborted:
    case End::reset:
    case End::refused:
    case End::stalled:
      return true;
  }
  return true;
}

}  // namespace mqlb::replay
