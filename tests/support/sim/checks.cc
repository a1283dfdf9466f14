#include "tests/support/sim/checks.hh"

#include <algorithm>
#include <cstring>

namespace mqlb::sim {
namespace {

constexpr Duration kIdleAckGap{100'000};

// Where a sequence number lies in a stream whose offset `at` has the number `at_seq`.
int64_t offset_of(base::Seq32 seq, base::Seq32 at_seq, uint64_t at) {
  return static_cast<int64_t>(at) + (seq - at_seq);
}

int64_t ack_offset(base::Seq32 ack, const CheckState& state) {
  const base::Seq32 una = state.iss + 1 + static_cast<uint32_t>(state.snd_una);
  return offset_of(ack, una, state.snd_una);
}

int64_t seq_offset(base::Seq32 seq, const CheckState& state) {
  const base::Seq32 next = state.irs + 1 + static_cast<uint32_t>(state.rcv_next);
  return offset_of(seq, next, state.rcv_next);
}

}  // namespace

int64_t SegmentChecks::Floor::note(int64_t value, Instant now, Duration age) {
  while (!rises.empty() && rises.front().first + age <= now) {
    floor = rises.front().second;
    has_floor = true;
    rises.pop_front();
  }
  if (!known || value > highest) {
    known = true;
    highest = value;
    rises.emplace_back(now, value);
  }
  return has_floor && value < floor ? floor - value : 0;
}

void SegmentChecks::report(Fault kind, Instant now, const std::string& text) {
  if (violations_.is_allowed(kind)) return;
  violations_.report(kind, now, name_ + ": " + text);
}

void SegmentChecks::complain(Fault kind, Instant now, const Segment& s, const std::string& text) {
  if (violations_.is_allowed(kind)) return;
  violations_.report(kind, now, name_ + ": " + text + " (" + describe(s) + ")");
}

void SegmentChecks::note_sent(uint32_t tsval) {
  if (sent_tsvals_.empty() || sent_tsvals_.back() != tsval) sent_tsvals_.push_back(tsval);
}

void SegmentChecks::note_syn(const Segment& syn, Instant now) {
  if (syn.timestamps) tsval_floor_.note(syn.timestamps->value, now, rules_.max_reorder);
}

void SegmentChecks::check(const Segment& s, const CheckState& state, Instant now) {
  check_options(s, state, now);
  // It speaks of an older connection of these addresses.
  if (state.syn_sent && !s.has(kSyn) && rules_.challenge_on_syn) return;
  if (s.has(kAck)) check_ack(s, state, now);
  if (s.timestamps) check_timestamps(s, state, now);
  // A repeated SYN is the device's or the peer's first answer once more; it is old by nature.
  if (state.syn_sent || s.has(kSyn)) return;
  if (s.has(kAck)) check_sack(s, state, now);
  if (s.has(kRst)) return;
  if (s.has(kAck)) check_window(s, state, now);
  check_sequence(s, state, now);
  check_storm(s, state, now);
  furthest_ = std::max(furthest_, seq_offset(s.seq, state) + s.length());
}

void SegmentChecks::check_options(const Segment& s, const CheckState& state, Instant now) {
  if (s.has(kSyn)) {
    const bool unasked = state.syn_sent && ((s.window_scale && !state.offered_scale) ||
                                            (s.sack_permitted && !state.offered_sack) ||
                                            (s.timestamps && !state.offered_timestamps));
    if (unasked) complain(Fault::option_unexpected, now, s, "SYN-ACK with an option not offered");
    if (s.window_scale && *s.window_scale > 14) {
      complain(Fault::option_unexpected, now, s, "window scale over 14");
    }
    return;
  }
  if (state.syn_sent) return;
  if (s.mss || s.window_scale || s.sack_permitted) {
    complain(Fault::option_unexpected, now, s, "option of a SYN on another segment");
  }
  if (s.timestamps && !state.timestamps) {
    complain(Fault::option_unexpected, now, s, "timestamps not negotiated");
  }
  if (s.sack_count > 0 && !state.sack) {
    complain(Fault::option_unexpected, now, s, "SACK not negotiated");
  }
  if (!s.timestamps && state.timestamps && !s.has(kRst)) {
    complain(Fault::option_missing, now, s, "timestamps negotiated but absent");
  }
  if (s.payload.size() + s.option_bytes > state.mss) {  // RFC 6691
    complain(Fault::mss, now, s, "payload and options over " + std::to_string(state.mss));
  }
}

void SegmentChecks::check_ack(const Segment& s, const CheckState& state, Instant now) {
  const int64_t ack = ack_offset(s.ack, state);
  if (ack > static_cast<int64_t>(state.snd_max)) {
    complain(Fault::ack_unsent, now, s,
             "acknowledges " + std::to_string(ack - static_cast<int64_t>(state.snd_max)) +
                 " bytes never sent");
    return;
  }
  if (ack < 0) {
    complain(Fault::ack_regressed, now, s, "acknowledges before the stream's first byte");
    return;
  }
  if (state.syn_sent || s.has(kSyn) || s.has(kRst)) return;
  const int64_t below_highest = ack_floor_.known ? ack_floor_.highest - ack : 0;
  worst_ack_regress_ =
      std::max(worst_ack_regress_, static_cast<uint64_t>(std::max<int64_t>(below_highest, 0)));
  const int64_t back = ack_floor_.note(ack, now, rules_.max_reorder);
  if (back > 0 && !comes_again(s, state)) {
    complain(Fault::ack_regressed, now, s, "ACK goes back by " + std::to_string(back));
  }
  if (!truth_) return;
  check_ack_truth(s, state, static_cast<uint64_t>(ack), now);
  check_staleness(s, state, static_cast<uint64_t>(ack), now);
}

void SegmentChecks::check_ack_truth(const Segment& s, const CheckState& state, uint64_t ack,
                                    Instant now) {
  if (ack <= rules_.device_may_acknowledge) return;
  const uint64_t bytes = std::min(ack, state.written);
  const ReceiveQueue* there = truth_->received.get();
  const bool has_bytes = there != nullptr && there->next() >= bytes + truth_->received_begins;
  if (bytes > 0 && !has_bytes) {
    complain(Fault::ack_untrue, now, s, "acknowledges what the peer has not received");
  } else if (ack > state.written && there != nullptr && !there->fin_reached()) {
    complain(Fault::ack_untrue, now, s, "acknowledges a FIN that the peer has not received");
  }
}

// What the peer knew when the oldest segment that may still be on its way was sent.
void SegmentChecks::check_staleness(const Segment& s, const CheckState& state, uint64_t ack,
                                    Instant now) {
  const ReceiveQueue* there = truth_->received.get();
  if (there == nullptr || there->next() < truth_->received_begins) return;
  if (truth_->received != floors_of_) {  // another peer, which knows less
    floors_of_ = truth_->received;
    true_ack_floor_ = {};
    true_window_floor_ = {};
  }
  const auto known = static_cast<int64_t>(there->next() - truth_->received_begins);
  true_ack_floor_.note(known, now, rules_.max_transit);
  const auto acknowledged = static_cast<int64_t>(ack);
  const bool again = comes_again(s, state);
  if (!again && true_ack_floor_.has_floor && acknowledged < true_ack_floor_.floor) {
    complain(Fault::ack_stale, now, s,
             "does not acknowledge " + std::to_string(true_ack_floor_.floor - acknowledged) +
                 " bytes that the peer received long before");
  }
  const auto edge = static_cast<int64_t>(there->right_edge() - truth_->received_begins);
  true_window_floor_.note(edge, now, rules_.max_transit);
  const int64_t rounding = there->window_unit() + (int64_t{1} << state.snd_shift);
  const int64_t right = acknowledged + (int64_t{s.window} << state.snd_shift) + rounding;
  const bool full = s.window == 0xffff;  // more cannot be said
  if (!again && !full && true_window_floor_.has_floor && right < true_window_floor_.floor) {
    complain(Fault::window, now, s, "window far smaller than the peer's");
  }
}

void SegmentChecks::check_sack(const Segment& s, const CheckState& state, Instant now) {
  for (size_t i = 0; i < s.sack_count; ++i) {
    const int64_t left = ack_offset(s.sack[i].left, state);
    const int64_t right = ack_offset(s.sack[i].right, state);
    const bool dsack = i == 0 && rules_.allow_dsack && left >= 0;
    const bool above_ack = left > ack_offset(s.ack, state) || dsack;
    if (!above_ack || right <= left || right > static_cast<int64_t>(state.snd_max)) {
      complain(Fault::sack_range, now, s, "SACK block outside (ack, snd_nxt]");
      continue;
    }
    if (!truth_ || !truth_->received) continue;
    const uint64_t base = truth_->received_begins;
    const auto from = static_cast<uint64_t>(left);
    const uint64_t to = std::min(static_cast<uint64_t>(right), state.written);
    if (from < to && !truth_->received->has(from + base, to + base)) {
      complain(Fault::sack_untrue, now, s, "SACK of what the peer has not received");
    }
  }
}

// What lies before something that was seen may carry an older ACK, window and timestamp: the old
// ACK and window are ignored (RFC 9293 section 3.10.7.4, SND.WL1), and PAWS compares what fills a
// hole only with the last segment that arrived in order (RFC 7323 section 4.3).
bool SegmentChecks::comes_again(const Segment& s, const CheckState& state) const {
  return !s.payload.empty() && seq_offset(s.seq, state) < furthest_;
}

void SegmentChecks::check_timestamps(const Segment& s, const CheckState& state, Instant now) {
  const Timestamps ts = *s.timestamps;
  if (s.has(kAck) && !sent_tsvals_.empty()) {
    const uint32_t first = sent_tsvals_.front();
    const uint32_t reach = sent_tsvals_.back() - first;
    const auto later = [first](uint32_t a, uint32_t b) { return a - first < b - first; };
    const bool sent = std::binary_search(sent_tsvals_.begin(), sent_tsvals_.end(), ts.echo, later);
    if (ts.echo - first > reach || (rules_.exact_echo && !sent)) {
      complain(Fault::timestamp_echo, now, s,
               "TSecr never sent; sent were " + std::to_string(first) + " to " +
                   std::to_string(sent_tsvals_.back()));
    }
  }
  if (s.has(kRst) || (s.has(kSyn) && tsval_floor_.known)) return;
  // Relative to the highest so far, so that a wrap is a rise.
  const auto highest = static_cast<uint32_t>(tsval_floor_.highest);
  const int64_t value = tsval_floor_.known
                            ? tsval_floor_.highest + static_cast<int32_t>(ts.value - highest)
                            : int64_t{ts.value};
  const int64_t back = tsval_floor_.note(value, now, rules_.max_reorder);
  // What overtook a hole does not count against what fills it: only TS.Recent is compared with.
  const bool refused = static_cast<int32_t>(ts.value - state.ts_recent) < 0;
  if (back > 0 && refused && !state.syn_sent && !comes_again(s, state)) {
    complain(Fault::timestamp_regressed, now, s, "TSval goes back by " + std::to_string(back));
  }
}

void SegmentChecks::check_window(const Segment& s, const CheckState& state, Instant now) {
  if (!truth_ || !truth_->received) return;
  const uint64_t window = static_cast<uint64_t>(s.window) << state.snd_shift;
  if (window <= rules_.device_window) return;
  const int64_t ack = ack_offset(s.ack, state);
  const uint64_t right = static_cast<uint64_t>(std::max<int64_t>(ack, 0)) + window;
  // A FIN that is acknowledged counts in the sequence space but not in the peer's buffer.
  uint64_t edge = truth_->received->right_edge();
  if (truth_->received_before) edge = std::max(edge, truth_->received_before->right_edge());
  const uint64_t allowed = edge - truth_->received_begins + 1;
  if (right > allowed) {
    complain(Fault::window, now, s,
             "window reaches " + std::to_string(right - allowed) + " bytes too far");
  }
}

void SegmentChecks::check_sequence(const Segment& s, const CheckState& state, Instant now) {
  const int64_t from = seq_offset(s.seq, state);
  const int64_t to = from + s.length();
  // One below the stream: a keepalive or probe before any byte. One beyond the window: a probe
  // with a byte, or a FIN.
  if (from < -1) {
    complain(Fault::sequence, now, s, "sequence before the stream's first byte");
    return;
  }
  if (to > static_cast<int64_t>(state.rcv_right) + 1) {
    complain(Fault::sequence, now, s, "sequence beyond every window announced");
    return;
  }
  if (from < 0) return;
  if (!s.payload.empty()) check_data(static_cast<uint64_t>(from), s.payload, now);
  if (!s.has(kFin) || !truth_ || !truth_->stream) return;
  const auto end = static_cast<uint64_t>(to) - 1;
  const Stream& stream = *truth_->stream;
  if (!stream.closed() || end != stream.size() + truth_->stream_begins) {
    complain(Fault::data, now, s, "FIN where the peer's stream does not end");
  }
}

void SegmentChecks::check_data(uint64_t offset, base::Bytes bytes, Instant now) {
  if (!truth_ || !truth_->stream) return;
  const uint64_t begins = truth_->stream_begins;
  if (offset < begins) {
    const uint64_t skip = std::min<uint64_t>(begins - offset, bytes.size());
    bytes = bytes.subspan(skip);
    offset += skip;
  }
  if (bytes.empty()) return;
  const uint64_t at = offset - begins;
  const Stream& stream = *truth_->stream;
  if (at + bytes.size() > stream.size()) {
    report(Fault::data, now,
           "bytes beyond the " + std::to_string(stream.size()) + " that the peer wrote");
  } else if (std::memcmp(stream.view(at, bytes.size()).data(), bytes.data(), bytes.size()) != 0) {
    report(Fault::data, now,
           "bytes differ from the peer's in " + std::to_string(at) + " to " +
               std::to_string(at + bytes.size()));
  }
}

void SegmentChecks::check_storm(const Segment& s, const CheckState& state, Instant now) {
  const bool bare = s.length() == 0 && s.sack_count == 0 && s.window == last_window_ &&
                    ack_offset(s.ack, state) <= static_cast<int64_t>(state.snd_una);
  last_window_ = s.window;
  if (now - last_idle_ack_ > kIdleAckGap) idle_acks_ = 0;  // probes and keepalives are slow
  last_idle_ack_ = now;
  idle_acks_ = bare ? idle_acks_ + 1 : 0;
  if (storm()) complain(Fault::storm, now, s, "bare ACKs without end");
}

}  // namespace mqlb::sim
