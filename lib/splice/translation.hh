// The splice: what turns a segment of one connection into a segment of the other.
//
//   client space                                   broker space
//   seq  x  ------------------------------------>  x + seq          (seq is 0 unless an ISN
//   clashed) ack  y  ------------------------------------>  y + ack          (ack = broker's ISN -
//   our ISN) SACK of broker's bytes                          + ack TSecr + timestamp
//
// and back with the same numbers negated. Everything the rewrite changes by a constant changes the
// TCP checksum by a constant too: 2^32 = 1 (mod 2^16 - 1), so one precomputed 16-bit value covers
// addresses, ports, seq and ack, less one for each 32-bit addition that wraps.
//
// Pure functions over a frame; the caller owns the frame and the Translation.
#pragma once

#include <cstdint>

#include "lib/wire/packet.hh"

namespace mqlb::splice {

// Which timestamp field is the other side's clock.
enum class Direction : uint8_t { to_broker, to_client };

struct Translation {
  uint32_t seq = 0;
  uint32_t ack = 0;
  uint32_t timestamp = 0;
  uint16_t checksum = 0;    // what addresses, ports, seq and ack together add to the TCP sum
  int8_t window_shift = 0;  // window << shift; negative: >>
  bool strip_sack = false;  // the receiver never permitted SACK
};

// The end points that the rewritten segment carries.
struct Path {
  const wire::Endpoint& source;
  const wire::Endpoint& destination;
  const wire::MacAddress& link_source;
  const wire::MacAddress& link_destination;
};

// The checksum constant for segments that carry old_* and will carry new_*.
[[nodiscard]] uint16_t checksum_constant(const wire::Endpoint& old_source,
                                         const wire::Endpoint& old_destination,
                                         const wire::Endpoint& new_source,
                                         const wire::Endpoint& new_destination, uint32_t seq,
                                         uint32_t ack);

// Rewrites one TCP segment in place. False, and the frame is spoilt, if its options are malformed.
[[nodiscard]] bool rewrite_segment(wire::Packet& packet, const Translation& t, Direction direction,
                                   const Path& path);

// Replaces a field's value inside the TCP header and keeps the checksum right.
void replace_ack(wire::TcpView tcp, base::Seq32 ack);
void replace_window(wire::TcpView tcp, uint16_t window);
// Raises TSecr to `floor` if it is before it; false if there was no such need.
bool raise_tsecr(const wire::Packet& packet, uint32_t floor);

}  // namespace mqlb::splice
