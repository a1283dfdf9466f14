// What the checkers saw that a correct middlebox would not have done.
//
// One object per World. Every violation is counted by kind; the texts of the first ones are kept.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/time.hh"

namespace mqlb::sim {

using base::Duration;
using base::Instant;

inline constexpr Instant kNever = Instant::max();

enum class Fault : uint8_t {
  frame,  // not a well-formed frame: lengths, IP header, TCP options
  ip_checksum,
  tcp_checksum,
  mtu,                  // frame over the host's MTU
  mac,                  // wrong destination or source MAC, or one that nobody has
  resolution,           // of a link address, ill-formed or against an earlier one
  mss,                  // payload and options over the announced MSS
  ack_unsent,           // acknowledges what this end never sent
  ack_regressed,        // goes back further than reordering explains, or before the stream's start
  ack_untrue,           // acknowledges what the real peer has not received
  ack_stale,            // does not acknowledge what the peer received long ago
  sack_range,           // block outside (ack, snd_nxt], empty or inside out
  sack_untrue,          // block over what the real peer has not received
  timestamp_echo,       // TSecr that this end never sent
  timestamp_regressed,  // TSval going back further than reordering explains
  option_unexpected,    // option that was not negotiated, or not for this kind of segment
  option_missing,       // timestamps negotiated but absent (RFC 7323 section 3.2)
  window,               // more than the real peer can mean, or far less than it does
  sequence,             // before the peer's first byte or beyond what was ever allowed to it
  data,                 // bytes, or the end of the stream, differ from what the peer wrote
  proxy_header,         // missing, in pieces, or with other addresses than the client's
  mqtt,                 // packet order or form that the peer did not write
  storm,                // frames without progress, or too many at once
};
inline constexpr size_t kFaults = static_cast<size_t>(Fault::storm) + 1;

[[nodiscard]] std::string_view to_string(Fault kind);

struct Violation {
  Fault kind;
  Instant at;
  std::string text;
};

class Violations {
 public:
  // Kinds that a test knows about and does not want to hear of.
  void allow(Fault kind) { allowed_[index(kind)] = true; }
  [[nodiscard]] bool is_allowed(Fault kind) const { return allowed_[index(kind)]; }
  void report(Fault kind, Instant at, std::string text);

  [[nodiscard]] size_t total() const { return total_; }
  [[nodiscard]] size_t count(Fault kind) const { return counts_[index(kind)]; }
  [[nodiscard]] const std::vector<Violation>& first() const { return first_; }
  // Counts by kind and the first texts, one a line; empty when there is nothing.
  [[nodiscard]] std::string summary(size_t lines = 10) const;

 private:
  static size_t index(Fault kind) { return static_cast<size_t>(kind); }
  std::array<size_t, kFaults> counts_{};
  std::array<bool, kFaults> allowed_{};
  size_t total_ = 0;
  std::vector<Violation> first_;
};

}  // namespace mqlb::sim
