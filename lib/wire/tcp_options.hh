// TCP options (RFC 9293 section 3.2, RFC 7323, RFC 2018): what a SYN offers, and what later
// segments carry.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lib/base/bytes.hh"
#include "lib/base/seq32.hh"
#include "lib/wire/headers.hh"

namespace mqlb::wire {

enum TcpOptionKind : uint8_t {
  kOptionEnd = 0,
  kOptionNop = 1,
  kOptionMss = 2,
  kOptionWindowScale = 3,
  kOptionSackPermitted = 4,
  kOptionSack = 5,
  kOptionTimestamps = 8,
};

inline constexpr uint8_t kMaxWindowScale = 14;  // RFC 7323 section 2.3
inline constexpr uint16_t kDefaultMss = 536;    // RFC 9293 section 3.7.1
inline constexpr uint16_t kDefaultMssIpv6 = 1220;

struct Timestamps {
  uint32_t value = 0;       // TSval
  uint32_t echo_reply = 0;  // TSecr
};

// RFC 2018 section 3: bytes received out of order.
struct SackBlock {
  base::Seq32 left;
  base::Seq32 right;  // one past the last
};
inline constexpr size_t kMaxSackBlocks = 4;

struct TcpOptions {
  std::optional<uint16_t> mss;
  std::optional<uint8_t> window_scale;  // over 14 is read as 14 (RFC 7323 section 2.3)
  bool sack_permitted = false;
  std::optional<Timestamps> timestamps;
  uint8_t sack_offset = 0;  // of the first block from the start of the options; 0: no SACK option
  uint8_t sack_blocks = 0;
  uint8_t timestamps_offset = 0;  // of TSval from the start of the options
};

// NOP, NOP, timestamps and nothing else: how nearly all segments carry them (RFC 7323 appendix A).
[[nodiscard]] inline bool has_usual_timestamps(base::Bytes options) {
  return options.size() == 12 && base::load_be32(options.data()) == 0x0101080a;
}

// nullopt if an option's length is impossible or runs past the header. Unknown options are skipped.
[[nodiscard]] std::optional<TcpOptions> parse_tcp_options(base::Bytes options);

inline constexpr size_t kMaxTcpOptions = kMaxTcpHeader - kTcpHeader;

// Writes MSS, window scale, SACK permitted and timestamps, as present, padded to a multiple of 4;
// returns the length. `out` holds at least kMaxTcpOptions.
size_t encode_tcp_options(const TcpOptions& options, uint8_t* out);

// Appends a SACK option behind `length` bytes of options, with as many of the blocks as there is
// room for, aligned by two NOPs; returns the new length.
size_t encode_sack(std::span<const SackBlock> blocks, uint8_t* options, size_t length);

}  // namespace mqlb::wire
