// Frames for tests: an owned buffer, checksums that are computed a second way, and segments with
// whatever options a test wants.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/wire/build.hh"
#include "lib/wire/packet.hh"

namespace mqlb::tests {

using Octets = std::vector<uint8_t>;

inline const wire::MacAddress kMacA{{0x02, 0, 0, 0, 0, 0x0a}};
inline const wire::MacAddress kMacB{{0x02, 0, 0, 0, 0, 0x0b}};

inline wire::Endpoint client_endpoint() { return {wire::IpAddress::v4(0xc6120007), 40000}; }
inline wire::Endpoint listener_endpoint() { return {wire::IpAddress::v4(0xc612000a), 1883}; }

inline wire::Endpoint client_endpoint_v6() {
  return {*wire::IpAddress::parse("2001:db8:0:1200::7"), 40000};
}
inline wire::Endpoint listener_endpoint_v6() {
  return {*wire::IpAddress::parse("2001:db8:0:1200::a"), 1883};
}

// RFC 1071 word by word, as its text says, so that it shares nothing with lib/wire.
inline uint32_t plain_sum(const uint8_t* p, size_t n, uint32_t sum = 0) {
  for (size_t i = 0; i < n; ++i) {
    sum += i % 2 == 0 ? static_cast<uint32_t>(p[i]) << 8 : p[i];
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

inline uint16_t plain_checksum(uint32_t sum) { return static_cast<uint16_t>(0xffff - sum); }

inline bool is_v6(const Octets& frame) { return base::load_be16(&frame[12]) == 0x86dd; }
// Where the segment begins.
inline size_t tcp_at(const Octets& frame) { return is_v6(frame) ? 54 : 34; }

// What the IP header says of the packet's length, header included.
inline size_t ip_length(const Octets& frame) {
  return is_v6(frame) ? size_t{base::load_be16(&frame[18])} + 40 : base::load_be16(&frame[16]);
}

// The sum of pseudo-header and segment, its checksum field included: 0xffff if that is right.
inline uint32_t transport_sum(const Octets& frame) {
  const size_t at = tcp_at(frame);
  const auto length = static_cast<uint32_t>(ip_length(frame) + 14 - at);
  const uint32_t pseudo = is_v6(frame) ? plain_sum(&frame[22], 32, frame[20] + length)
                                       : plain_sum(&frame[26], 8, frame[23] + length);
  return plain_sum(&frame[at], length, pseudo);
}

// The checksum that a sender would put into the segment.
inline uint16_t full_tcp_checksum(Octets frame) {
  base::store_be16(&frame[tcp_at(frame) + 16], 0);
  return plain_checksum(transport_sum(frame));
}

inline bool checksums_right(const Octets& frame) {
  return (is_v6(frame) || plain_sum(&frame[14], 20) == 0xffff) && transport_sum(frame) == 0xffff;
}

// After a test has changed something behind the checksums' back.
inline void repair_ip(Octets& frame) {
  if (is_v6(frame)) return;
  frame[24] = frame[25] = 0;
  base::store_be16(&frame[24], plain_checksum(plain_sum(&frame[14], 20)));
}
inline void repair_tcp(Octets& frame) {
  base::store_be16(&frame[tcp_at(frame) + 16], full_tcp_checksum(frame));
}

// An ACK with these TCP options (padded to a multiple of four) and this payload.
inline Octets make_frame_between(const wire::Endpoint& source, const wire::Endpoint& destination,
                                 const Octets& options, const Octets& payload,
                                 uint8_t flags = wire::kAck | wire::kPsh) {
  wire::Segment segment;
  segment.link = {kMacA, kMacB};
  segment.source = source;
  segment.destination = destination;
  segment.seq = base::Seq32(1000);
  segment.ack = base::Seq32(2000);
  segment.flags = flags;
  segment.window = 500;
  Octets rest = options;
  rest.resize((rest.size() + 3) / 4 * 4);
  const auto header = static_cast<uint8_t>((wire::kTcpHeader + rest.size()) / 4 << 4);
  rest.insert(rest.end(), payload.begin(), payload.end());
  segment.payload = rest;  // options first: the header's length says so below
  Octets frame(2048);
  frame.resize(wire::build_segment(segment, frame));
  frame[tcp_at(frame) + 12] = header;
  repair_tcp(frame);
  return frame;
}
// From the client.
inline Octets make_frame(const Octets& options, const Octets& payload,
                         uint8_t flags = wire::kAck | wire::kPsh) {
  return make_frame_between(client_endpoint(), listener_endpoint(), options, payload, flags);
}
inline Octets make_frame_v6(const Octets& options, const Octets& payload,
                            uint8_t flags = wire::kAck | wire::kPsh) {
  return make_frame_between(client_endpoint_v6(), listener_endpoint_v6(), options, payload, flags);
}

inline tl::expected<wire::Packet, base::Drop> parse(
    Octets& frame, wire::HardwareChecksum checksum = wire::HardwareChecksum::unknown) {
  return wire::parse_packet(frame, {kMacB, 1500}, checksum);
}

}  // namespace mqlb::tests
