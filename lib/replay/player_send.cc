// What a Player sends: the steps of its script, answers, and what was lost again.
#include <algorithm>
#include <array>

#include "lib/replay/player.hh"

namespace mqlb::replay {
namespace {

using wire::kAck;
using wire::kFin;
using wire::kPsh;
using wire::kRst;
using wire::kSyn;

constexpr base::Duration kSynTimeout{1'000'000};  // RFC 6298 section 2
constexpr base::Duration kTimeout{300'000};
// Far below RFC 6298's least of 60 s: patience is shorter than that.
constexpr base::Duration kLongestTimeout{2'000'000};
constexpr unsigned kMaxTries = 8;
constexpr unsigned kUnacknowledged = 2;  // segments, RFC 9293 section 3.8.6.3
// A script knows when its host acknowledged, and that may be rarely.
constexpr unsigned kUnacknowledgedInScript = 8;

}  // namespace

void Player::poll(base::Instant now) {
  if (phase_ != Phase::over) {
    if (script_ != nullptr) {
      play_steps(now);
    } else {
      say_more(now);
    }
  }
  if (phase_ != Phase::open) return;
  const auto unacknowledged = static_cast<uint32_t>(ack_number() - last_ack_);
  const unsigned most = script_ != nullptr ? kUnacknowledgedInScript : kUnacknowledged;
  if (ack_now_ || unacknowledged >= most * mss_) send_ack(now);
  check_completion(now);
}

void Player::play_steps(base::Instant now) {
  while (next_ < script_->size()) {
    const Step step = script_->step(next_);
    const Wait wait = waits(step, now);
    if (wait != Wait::nothing) {
      wait_ = wait;
      if (wait == Wait::window && timer_ == kNever) start_timer(now);
      return;
    }
    // What comes later keeps its distance from a step that had to wait.
    if (wait_ != Wait::time && setup_.speed > 0) {
      started_ += std::max(base::Duration(0), now - step_time(step));
    }
    wait_ = Wait::time;
    progress_ = now;
    if (!says_nothing_new(step)) take_step(step, now);
    if (taken_ > 0) continue;  // waits() says whether there is room for more
    ++next_;
    if (phase_ == Phase::over) return;
  }
  wait_ = Wait::completion;
}

Player::Wait Player::waits(const Step& step, base::Instant now) {
  if (setup_.speed > 0 && now < step_time(step)) return Wait::time;
  if (phase_ != Phase::open) {
    return (step.flags & kSyn) != 0 ? Wait::nothing : Wait::handshake;
  }
  switch (follow_) {
    case Follow::bytes:
      if (rcv_ - prefix_ < step.peer_bytes) return Wait::bytes;
      for (size_t i = 0; sack_ && i < step.sack_blocks; ++i) {
        if (!has_received(step.sack[i])) return Wait::bytes;
      }
      if (step.peer_fin && !peer_fin_) return Wait::fin;
      break;
    case Follow::replies:
      if (replies_ < replies_needed(step.peer_bytes)) return Wait::replies;
      break;
  }
  if (una_ < step.acked) return Wait::acknowledgement;
  return has_room(step) ? Wait::nothing : Wait::window;
}

// For the next piece of a step; what was sent before needs none.
bool Player::has_room(const Step& step) const {
  const uint32_t end = step.offset + taken_ + std::min(step.length - taken_, mss_);
  return step.length == taken_ || end <= max_ || end <= una_ + peer_window_;
}

// An acknowledgement that was given before, because this time it was due earlier or what it
// answers did not come. One that was a repetition in the capture is repeated.
bool Player::says_nothing_new(const Step& step) const {
  const bool bare = step.length == 0 && (step.flags & (kSyn | kFin | kRst)) == 0;
  if (!bare || phase_ != Phase::open || step.offset < max_) return false;
  const bool same_window = wire_window() == std::min(65535U, step.window >> own_scale_);
  const base::Seq32 ack = step_ack(step);
  if (ack != last_ack_ || !same_window || !step_sack(step, ack).empty()) return false;
  if (follow_ == Follow::replies) return true;
  if (next_ == 0) return true;
  const Step before = script_->step(next_ - 1);
  return before.peer_bytes != step.peer_bytes || before.peer_fin != step.peer_fin;
}

void Player::take_step(const Step& step, base::Instant now) {
  if (taken_ == 0) ++played_;
  if (step.tsval) {
    const uint32_t tsval = *step.tsval + setup_.tsval_shift;
    if (static_cast<int32_t>(tsval - tsval_) > 0) tsval_ = tsval;
  }
  if ((step.flags & kSyn) != 0) {
    send_syn(now);
    return;
  }
  window_ = step.window;
  bool last = false;
  do {
    const uint32_t length = std::min(step.length - taken_, mss_);
    last = taken_ + length == step.length;
    const auto kept = static_cast<uint8_t>(kAck | (last ? kFin | kPsh | kRst : 0));
    const auto flags = static_cast<uint8_t>(step.flags & kept);
    send_new_piece({step.offset + taken_, length, (flags & kFin) != 0}, flags, step, now);
    taken_ = last ? 0 : taken_ + length;
    if (!last) ++split_;
  } while (!last && has_room(step));
  if ((step.flags & kRst) != 0 && last) {
    finish(End::aborted, now);
  } else if (!flight_.empty() && timer_ == kNever) {
    start_timer(now);
  }
}

void Player::send_new_piece(const Piece& piece, uint8_t flags, const Step& step,
                            base::Instant now) {
  const base::Seq32 ack = step_ack(step);
  const bool bare = piece.length == 0 && !piece.fin;
  Piece sent = piece;
  // What is no probe goes out at the end of what was sent.
  if (bare && piece.offset >= max_) sent.offset = max_ + (fin_sent_ ? 1U : 0U);
  send_piece(sent, flags, ack, step_sack(step, ack), now);
  const uint32_t end = piece.offset + piece.length;
  if (bare || (end <= max_ && (!piece.fin || fin_sent_))) return;
  max_ = std::max(max_, end);
  fin_sent_ = fin_sent_ || piece.fin;
  flight_.push_back(piece);
  if (timed_since_ == kNever) begin_timing(piece, now);
}

void Player::say_more(base::Instant now) {
  if (phase_ != Phase::open || fin_sent_) return;
  const auto size = static_cast<uint32_t>(said_.size());
  while (max_ < size) {
    const uint32_t wanted = std::min(size - max_, mss_);
    const uint32_t in_flight = max_ - una_;
    const uint32_t room = peer_window_ > in_flight ? peer_window_ - in_flight : 0;
    if (room < wanted && (room == 0 || !flight_.empty())) break;
    const Piece piece{max_, std::min(wanted, room), false};
    send_piece(piece, kAck | kPsh, ack_number(), {}, now);
    flight_.push_back(piece);
    if (timed_since_ == kNever) begin_timing(piece, now);
    max_ += piece.length;
  }
  if (closing_ && max_ == size) {
    const Piece fin{max_, 0, true};
    send_piece(fin, kAck | kFin, ack_number(), {}, now);
    flight_.push_back(fin);
    fin_sent_ = true;
  }
  if (timer_ == kNever && (!flight_.empty() || max_ < size)) start_timer(now);
}

void Player::check_completion(base::Instant now) {
  if (end_ != End::none) return;
  if (fin_sent_ && una_ == max_ + 1 && peer_fin_) {
    if (last_ack_ != ack_number()) send_ack(now);
    finish(End::closed, now);
    return;
  }
  if (script_ == nullptr || next_ < script_->size() || !flight_.empty()) return;
  switch (follow_) {
    case Follow::bytes:
      if (rcv_ - prefix_ < script_->peer_size()) return;
      if (script_->peer_has_fin() && !peer_fin_) return;
      break;
    case Follow::replies:
      if (replies_ < reply_ends_->size() || fin_sent_) return;
      break;
  }
  finish(End::open, now);
}

void Player::say(base::Bytes bytes, base::Instant now) {
  said_.insert(said_.end(), bytes.begin(), bytes.end());
  say_more(now);
}

void Player::close(base::Instant now) {
  closing_ = true;
  say_more(now);
}

void Player::abort(base::Instant now) {
  if (phase_ == Phase::over || end_ == End::closed) return;
  send_reset(now);
  finish(End::aborted, now);
}

void Player::send_reset(base::Instant now) {
  if (phase_ != Phase::open && phase_ != Phase::syn_received) return;
  send_piece({max_ + (fin_sent_ ? 1U : 0U), 0, false}, kRst | kAck, ack_number(), {}, now);
}

void Player::send_syn(base::Instant now) {
  wire::Segment s;
  s.source = setup_.local;
  s.destination = setup_.remote;
  s.seq = setup_.iss;
  s.flags = kSyn;
  s.payload = {};
  s.window = static_cast<uint16_t>(std::min(window_, 65535U));
  s.options = setup_.syn;
  s.options.sack_blocks = 0;
  std::vector<uint8_t> payload;
  if (active_ && script_ != nullptr && next_ > 0) {
    payload.resize(std::min(script_->step(0).length, mss_));
    copy(0, static_cast<uint32_t>(payload.size()), payload.data());
    s.payload = payload;
  }
  if (!active_) {
    s.flags = kSyn | kAck;
    s.ack = irs_ + 1;
    if (!timestamps_) s.options.timestamps.reset();
    if (!sack_) s.options.sack_permitted = false;
    if (own_scale_ == 0 && peer_scale_ == 0) s.options.window_scale.reset();
  }
  if (s.options.timestamps) {
    s.options.timestamps = wire::Timestamps{timestamp(now), active_ ? 0 : ts_recent_};
  }
  host_.transmit(*this, s);
}

void Player::send_piece(const Piece& piece, uint8_t flags, base::Seq32 ack,
                        std::span<const wire::SackBlock> sack, base::Instant now) {
  std::array<uint8_t, 65536> payload;
  copy(piece.offset, piece.length, payload.data());
  wire::Segment s;
  s.source = setup_.local;
  s.destination = setup_.remote;
  s.seq = setup_.iss + 1 + piece.offset;
  s.flags = flags;
  s.window = wire_window();
  s.payload = {payload.data(), piece.length};
  if (timestamps_) s.options.timestamps = wire::Timestamps{timestamp(now), ts_recent_};
  if ((flags & kAck) != 0) {
    s.ack = ack;
    s.sack = sack;
    last_ack_ = base::later(last_ack_, ack);
    if (last_ack_ == ack_number()) {
      ack_due_ = kNever;
      ack_now_ = false;
    }
  }
  host_.transmit(*this, s);
}

void Player::send_ack(base::Instant now) {
  std::vector<wire::SackBlock> blocks;
  for (auto it = held_.begin(); sack_ && it != held_.end() && blocks.size() < 3; ++it) {
    const base::Seq32 left = irs_ + 1 + it->first;
    const base::Seq32 right = left + static_cast<uint32_t>(it->second.size());
    if (!blocks.empty() && !left.after(blocks.back().right)) {
      blocks.back().right = base::later(blocks.back().right, right);
    } else {
      blocks.push_back({left, right});
    }
  }
  // Behind the FIN as well, if it was sent.
  send_piece({max_ + (fin_sent_ ? 1U : 0U), 0, false}, kAck, ack_number(), blocks, now);
  ack_due_ = kNever;
  ack_now_ = false;
}

void Player::repeat_front(base::Instant now) {
  const Piece& front = flight_.front();
  ++repeated_;
  timed_since_ = kNever;
  const auto flags =
      static_cast<uint8_t>(kAck | (front.fin ? kFin : 0) | (front.length ? kPsh : 0));
  send_piece(front, flags, ack_number(), {}, now);
}

void Player::retransmit(base::Instant now) {
  if (++tries_ > kMaxTries && script_ == nullptr) {
    finish(End::stalled, now);
    return;
  }
  switch (phase_) {
    case Phase::syn_sent:
    case Phase::syn_received:
      ++repeated_;
      timed_since_ = kNever;
      send_syn(now);
      break;
    case Phase::open:
      if (flight_.empty()) {  // the window is closed
        send_piece({una_ - 1, 0, false}, kAck, ack_number(), {}, now);
      } else {
        recover_ = max_;
        repeat_front(now);
      }
      break;
    case Phase::idle:
    case Phase::over:
      return;
  }
  start_timer(now);
}

void Player::start_timer(base::Instant now) {
  const base::Duration first = phase_ == Phase::open ? std::max(kTimeout, rto_) : kSynTimeout;
  timer_ =
      now + std::max(first, std::min(first * (1U << std::min(tries_, kMaxTries)), kLongestTimeout));
}

// One round trip is measured at a time, and none with repetitions in it (RFC 6298 section 3).
void Player::begin_timing(const Piece& piece, base::Instant now) {
  timed_end_ = piece.end();
  timed_since_ = now;
}

// RFC 6298 section 2; but timeouts begin at kTimeout.
void Player::end_timing(base::Instant now) {
  if (timed_since_ == kNever) return;
  const base::Duration sample = now - timed_since_;
  timed_since_ = kNever;
  if (rto_ == base::Duration(0)) {
    round_trip_ = sample;
    variation_ = sample / 2;
  } else {
    variation_ = (3 * variation_ + std::chrono::abs(round_trip_ - sample)) / 4;
    round_trip_ = (7 * round_trip_ + sample) / 8;
  }
  rto_ = round_trip_ + std::max(base::Duration(1), 4 * variation_);
}

void Player::advance(base::Instant now) {
  if (timer_ <= now) {
    timer_ = kNever;
    const bool wanted = !flight_.empty() || phase_ == Phase::syn_sent ||
                        phase_ == Phase::syn_received || wait_ == Wait::window ||
                        max_ < said_.size();
    if (wanted) retransmit(now);
  }
  if (ack_due_ <= now && phase_ == Phase::open) send_ack(now);
  poll(now);
  if (script_ != nullptr && end_ == End::none && wait_ != Wait::time &&
      now >= progress_ + setup_.patience) {
    stall(wait_, now);
  }
}

void Player::stall(Wait wait, base::Instant now) {
  const Step step = next_ < script_->size() ? script_->step(next_) : Step{};
  switch (wait) {
    case Wait::nothing:
    case Wait::time:
    case Wait::handshake:
      waits_for_ = "an answer to the SYN";
      break;
    case Wait::replies:
      waits_for_ = "reply " + std::to_string(replies_ + 1) + " of the broker";
      break;
    case Wait::bytes:
      waits_for_ = "byte " + std::to_string(rcv_ - prefix_) + " of the other side";
      break;
    case Wait::fin:
      waits_for_ = "FIN of the other side";
      break;
    case Wait::acknowledgement:
      waits_for_ = "the acknowledgement of byte " + std::to_string(step.acked);
      break;
    case Wait::window:
      waits_for_ = "room for byte " + std::to_string(una_ + peer_window_);
      break;
    case Wait::completion:
      waits_for_ = flight_.empty() ? "the rest of the other side"
                                   : "the acknowledgement of byte " + std::to_string(una_ + 1);
      break;
  }
  send_reset(now);
  finish(End::stalled, now);
}

base::Instant Player::deadline() const {
  if (end_ == End::closed) return std::min(over_at_, ack_due_);
  if (phase_ == Phase::over || phase_ == Phase::idle) return kNever;
  base::Instant at = std::min(timer_, ack_due_);
  if (script_ == nullptr || end_ != End::none) return at;
  if (wait_ == Wait::time && next_ < script_->size()) {
    return std::min(at, step_time(script_->step(next_)));
  }
  return std::min(at, progress_ + setup_.patience);
}

base::Seq32 Player::step_ack(const Step& step) const {
  if (follow_ == Follow::replies) return ack_number();
  const base::Seq32 wanted = irs_ + 1 + prefix_ + step.peer_bytes + (step.peer_fin ? 1U : 0U);
  const base::Seq32 ack = base::later(last_ack_, wanted);
  return ack.after(ack_number()) ? ack_number() : ack;
}

// Captured blocks, of bytes that did arrive; one below the acknowledgement says that they came
// twice (RFC 2883), if it did so when it was captured.
std::vector<wire::SackBlock> Player::step_sack(const Step& step, base::Seq32 ack) const {
  std::vector<wire::SackBlock> out;
  if (!sack_ || follow_ == Follow::replies) return out;
  for (size_t i = 0; i < step.sack_blocks; ++i) {
    const base::Seq32 left = irs_ + 1 + prefix_ + step.sack[i].left;
    const base::Seq32 right = irs_ + 1 + prefix_ + step.sack[i].right;
    const bool repeated = step.sack[i].left < step.peer_bytes;
    if (has_received(step.sack[i]) && (repeated || left.after(ack))) out.push_back({left, right});
  }
  return out;
}

bool Player::has_received(const Step::Block& block) const {
  uint32_t known = rcv_;
  const uint32_t right = prefix_ + block.right;
  for (const auto& [begin, bytes] : held_) {
    if (known >= right) break;
    if (begin <= std::max(known, prefix_ + block.left)) {
      known = std::max(known, begin + static_cast<uint32_t>(bytes.size()));
    }
  }
  return known >= right;
}

// As captured, or without a script that of a clock of milliseconds (RFC 7323 section 5.4).
uint32_t Player::timestamp(base::Instant now) const {
  if (script_ != nullptr) return tsval_;
  return tsval_ + static_cast<uint32_t>((now - opened_).count() / 1000);
}

uint16_t Player::wire_window() const {
  return static_cast<uint16_t>(std::min(window_ >> own_scale_, 65535U));
}

base::Instant Player::step_time(const Step& step) const {
  if (setup_.speed <= 0) return started_;
  const auto micros = static_cast<double>(step.at.count()) / setup_.speed;
  return started_ + base::Duration(static_cast<int64_t>(micros));
}

uint32_t Player::replies_needed(uint32_t peer_bytes) const {
  const auto end = std::upper_bound(reply_ends_->begin(), reply_ends_->end(), peer_bytes);
  return static_cast<uint32_t>(end - reply_ends_->begin());
}

void Player::copy(uint32_t offset, uint32_t length, uint8_t* out) const {
  if (length == 0) return;
  if (script_ != nullptr) {
    script_->copy(offset, length, out);
  } else {
    std::copy_n(said_.begin() + offset, length, out);
  }
}

}  // namespace mqlb::replay
