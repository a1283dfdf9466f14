// The one check at the boundary: from a frame's bytes to a Packet that is safe to read, or the
// reason why not.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/bytes.hh"
#include "lib/base/reason.hh"
#include "lib/base/result.hh"
#include "lib/wire/address.hh"
#include "lib/wire/headers.hh"

namespace mqlb::wire {

// What the network card says of a frame's checksums.
enum class HardwareChecksum : uint8_t { unknown, good };

struct ParseRules {
  MacAddress mac;  // the port's own
  uint16_t mtu = 1500;
};

enum class PacketKind : uint8_t { arp, tcp, icmp, icmpv6 };

// Views into a frame, all lengths checked. Padding behind the IP packet is not part of it.
struct Packet {
  PacketKind kind = PacketKind::tcp;
  bool is_v6 = false;
  uint8_t* frame = nullptr;       // Ethernet header
  uint8_t* network = nullptr;     // IP header, or the ARP packet
  uint8_t* transport = nullptr;   // TCP or ICMP header
  uint16_t frame_length = 0;      // without padding
  uint16_t transport_length = 0;  // TCP or ICMP header and all that follows
  uint16_t payload_length = 0;    // TCP
  uint8_t tcp_header_length = 0;

  // As the IP header has them now; not for ARP.
  [[nodiscard]] IpAddress source() const { return is_v6 ? ipv6().source() : ipv4().source(); }
  [[nodiscard]] IpAddress destination() const {
    return is_v6 ? ipv6().destination() : ipv4().destination();
  }
  [[nodiscard]] EthernetView ethernet() const { return EthernetView(frame); }
  [[nodiscard]] Ipv4View ipv4() const { return Ipv4View(network); }
  [[nodiscard]] Ipv6View ipv6() const { return Ipv6View(network); }
  [[nodiscard]] TcpView tcp() const { return TcpView(transport); }
  [[nodiscard]] base::Bytes payload() const {
    return {transport + tcp_header_length, payload_length};
  }
  // Sequence numbers the segment takes: payload, SYN and FIN (RFC 9293 section 3.4).
  [[nodiscard]] uint32_t segment_length() const {
    const uint8_t flags = tcp().flags();
    return payload_length + ((flags & kSyn) != 0 ? 1U : 0U) + ((flags & kFin) != 0 ? 1U : 0U);
  }
  [[nodiscard]] base::Seq32 segment_end() const { return tcp().seq() + segment_length(); }
};

// Why the frame must be dropped, or nothing: `out` is then safe to read. ARP and ICMP are checked
// as far as their own handlers need no length check for the fixed part. In an IPv6 packet no
// address is IPv4-mapped, so none can be taken for an IPv4 address (RFC 4942 section 2.2).
[[nodiscard]] std::optional<base::Drop> parse_packet(base::MutableBytes frame,
                                                     const ParseRules& rules,
                                                     HardwareChecksum checksum, Packet& out);
// The same as a value.
[[nodiscard]] inline tl::expected<Packet, base::Drop> parse_packet(base::MutableBytes frame,
                                                                   const ParseRules& rules,
                                                                   HardwareChecksum checksum) {
  Packet packet;
  const auto drop = parse_packet(frame, rules, checksum, packet);
  if (drop) return tl::unexpected(*drop);
  return packet;
}

}  // namespace mqlb::wire
