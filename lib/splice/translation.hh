// The splice: what turns a segment of one connection into a segment of the other.
//
//   client space                       broker space
//   seq x                          ->  x + seq  (seq is 0 unless an ISN clashed)
//   ack y                          ->  y + ack  (ack is the broker's ISN less ours)
//   SACK of the broker's bytes     ->  + ack
//   TSecr                          ->  + timestamp
//
// and back with the same numbers negated. Everything the rewrite changes by a constant changes the
// TCP checksum by a constant too: 2^32 = 1 (mod 2^16 - 1), so one precomputed 16-bit value covers
// addresses, ports, seq and ack, less one for each 32-bit addition that wraps.
//
// Pure functions over a frame; the caller owns the frame and the Translation.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/wire/checksum.hh"
#include "lib/wire/packet.hh"
#include "lib/wire/tcp_options.hh"

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
  bool is_v6 = false;
};

// The checksum constant for segments that carry old_* and will carry new_*.
[[nodiscard]] uint16_t checksum_constant(const wire::Endpoint& old_source,
                                         const wire::Endpoint& old_destination,
                                         const wire::Endpoint& new_source,
                                         const wire::Endpoint& new_destination, uint32_t seq,
                                         uint32_t ack);

inline constexpr uint8_t kTtl = 64;

// Adds to a 32-bit field anywhere in the header and returns what the checksum sum grows by. In a
// field at an odd offset the bytes of each word are swapped.
inline uint64_t add_to_field(uint8_t* field, uint32_t delta, bool odd) {
  const uint32_t from = base::load_be32(field);
  const uint32_t to = from + delta;
  base::store_be32(field, to);
  const uint64_t difference = wire::field_difference(from, to);
  return odd ? __builtin_bswap16(wire::fold(difference)) : difference;
}

// Where the other side's clock is behind the option's kind and length: TSval, or TSecr after it.
[[nodiscard]] inline size_t timestamp_field(Direction direction) {
  return direction == Direction::to_broker ? 4 : 0;
}

// Options in any order. nullopt: malformed; otherwise what the sum grows by.
[[nodiscard]] std::optional<uint64_t> rewrite_options(base::MutableBytes options,
                                                      const Translation& t, Direction direction);

// A window that is not zero stays not zero: zero means "stop" (RFC 9293 section 3.8.6.1).
[[nodiscard]] uint16_t shift_window(uint16_t window, int shift);

// Headers of link and network for the path, in place of those of any family, right before the
// segment. The frame then begins elsewhere than it did: 20 bytes earlier where IPv4 becomes IPv6,
// which its buffer must have before it.
void replace_network_header(wire::Packet& packet, const Path& path);

// What is known of a segment and its path: both are IPv4, or nothing.
enum class Families : uint8_t { ipv4, any };

// Rewrites one TCP segment in place; packet.frame and its length are then those of the new frame.
// False, and the frame is spoilt, if its options are malformed. Inline: it is what a spliced packet
// costs.
template <Families families = Families::any>
[[nodiscard]] inline bool rewrite_segment(wire::Packet& packet, const Translation& t,
                                          Direction direction, const Path& path) {
  // Modulo 65535, and not by a branch: whether a sum wraps differs from flow to flow.
  const auto minus_one_if = [](bool wrapped) {
    return (uint64_t{0} - static_cast<uint64_t>(wrapped)) & 0xfffe;
  };
  wire::TcpView tcp = packet.tcp();
  uint64_t sum = t.checksum;

  const uint32_t seq = tcp.seq().raw() + t.seq;
  sum += minus_one_if(seq < t.seq);
  tcp.set_seq(base::Seq32(seq));
  if (tcp.has(wire::kAck)) {
    const uint32_t ack = tcp.ack().raw() + t.ack;
    sum += minus_one_if(ack < t.ack);
    tcp.set_ack(base::Seq32(ack));
  } else {
    sum += wire::field_difference(t.ack, 0);  // no acknowledgement to translate
  }
  if (wire::has_usual_timestamps(tcp.options())) {
    uint8_t* const timestamps = tcp.data() + wire::kTcpHeader + 4;
    sum += add_to_field(timestamps + timestamp_field(direction), t.timestamp, false);
  } else if (packet.tcp_header_length > wire::kTcpHeader) {
    const Translation copy = t;  // so that t itself stays in registers
    const auto options = rewrite_options(tcp.options(), copy, direction);
    if (!options) return false;
    sum += wire::fold(*options);
  }
  if (t.window_shift != 0 && !tcp.has(wire::kSyn)) {
    const uint16_t window = shift_window(tcp.window(), t.window_shift);
    sum += wire::field_difference(tcp.window(), window);
    tcp.set_window(window);
  }
  tcp.set_source_port(path.source.port);
  tcp.set_destination_port(path.destination.port);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), sum));

  if (families == Families::any && (packet.is_v6 || path.is_v6)) {
    replace_network_header(packet, path);
    return true;
  }
  packet.ipv4().readdress(path.source.address, path.destination.address, kTtl);
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(path.link_source);
  ethernet.set_destination(path.link_destination);
  return true;
}

// Replaces a field's value inside the TCP header and keeps the checksum right.
void replace_ack(wire::TcpView tcp, base::Seq32 ack);
void replace_window(wire::TcpView tcp, uint16_t window);
// Raises TSecr to `floor` if it is before it; false if there was no such need.
bool raise_tsecr(const wire::Packet& packet, uint32_t floor);

}  // namespace mqlb::splice
