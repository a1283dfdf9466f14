#include "lib/wire/tcp_options.hh"

#include <algorithm>

namespace mqlb::wire {
namespace {

// Reads one option of the right length; a known kind with another length is malformed.
bool read_option(uint8_t kind, base::Bytes body, size_t offset, TcpOptions& out) {
  switch (kind) {
    case kOptionMss:
      if (body.size() != 2) return false;
      out.mss = base::load_be16(body.data());
      return true;
    case kOptionWindowScale:
      if (body.size() != 1) return false;
      out.window_scale = std::min(body[0], kMaxWindowScale);
      return true;
    case kOptionSackPermitted:
      if (!body.empty()) return false;
      out.sack_permitted = true;
      return true;
    case kOptionSack:
      if (body.empty() || body.size() % 8 != 0) return false;
      out.sack_offset = static_cast<uint8_t>(offset);
      out.sack_blocks = static_cast<uint8_t>(body.size() / 8);
      return true;
    case kOptionTimestamps:
      if (body.size() != 8) return false;
      out.timestamps = Timestamps{base::load_be32(body.data()), base::load_be32(body.data() + 4)};
      out.timestamps_offset = static_cast<uint8_t>(offset);
      return true;
    default:
      return true;
  }
}

}  // namespace

std::optional<TcpOptions> parse_tcp_options(base::Bytes options) {
  TcpOptions out;
  if (has_usual_timestamps(options)) {
    constexpr uint8_t kValue = 4;
    out.timestamps = Timestamps{base::load_be32(options.data() + kValue),
                                base::load_be32(options.data() + kValue + 4)};
    out.timestamps_offset = kValue;
    return out;
  }
  size_t i = 0;
  while (i < options.size()) {
    const uint8_t kind = options[i];
    if (kind == kOptionEnd) break;
    if (kind == kOptionNop) {
      ++i;
      continue;
    }
    if (i + 1 >= options.size()) return std::nullopt;
    const size_t length = options[i + 1];
    if (length < 2 || i + length > options.size()) return std::nullopt;
    if (!read_option(kind, options.subspan(i + 2, length - 2), i + 2, out)) return std::nullopt;
    i += length;
  }
  return out;
}

// In words, as the checksum reads them.
size_t encode_tcp_options(const TcpOptions& options, uint8_t* out) {
  constexpr uint32_t kTwoNops = uint32_t{kOptionNop} << 24 | uint32_t{kOptionNop} << 16;
  constexpr uint32_t kSackPermitted = uint32_t{kOptionSackPermitted} << 8 | 2;
  constexpr uint32_t kTimestamps = uint32_t{kOptionTimestamps} << 8 | 10;
  uint8_t* p = out;
  const auto add = [&p](uint32_t word) {
    base::store_be32(p, word);
    p += 4;
  };
  if (options.mss) add(uint32_t{kOptionMss} << 24 | 4U << 16 | *options.mss);
  if (options.timestamps) {
    add((options.sack_permitted ? kSackPermitted << 16 : kTwoNops) | kTimestamps);
    add(options.timestamps->value);
    add(options.timestamps->echo_reply);
  } else if (options.sack_permitted) {
    add(kTwoNops | kSackPermitted);
  }
  if (options.window_scale) {
    add(uint32_t{kOptionNop} << 24 | uint32_t{kOptionWindowScale} << 16 | 3U << 8 |
        *options.window_scale);
  }
  return static_cast<size_t>(p - out);
}

size_t encode_sack(std::span<const SackBlock> blocks, uint8_t* options, size_t length) {
  constexpr size_t kBlock = 8;
  constexpr size_t kHead = 4;  // two NOPs, kind, length
  if (blocks.empty() || length + kHead + kBlock > kMaxTcpOptions) return length;
  const size_t room = (kMaxTcpOptions - length - kHead) / kBlock;
  const size_t count = std::min(blocks.size(), room);
  base::ByteWriter w({options + length, kMaxTcpOptions - length});
  w.u8(kOptionNop);
  w.u8(kOptionNop);
  w.u8(kOptionSack);
  w.u8(static_cast<uint8_t>(2 + count * kBlock));
  for (const SackBlock& block : blocks.first(count)) {
    w.be32(block.left.raw());
    w.be32(block.right.raw());
  }
  return length + w.size();
}

}  // namespace mqlb::wire
