#include "lib/wire/packet.hh"

#include "lib/wire/checksum.hh"

namespace mqlb::wire {
namespace {

using base::Drop;

constexpr uint16_t kMoreFragments = 0x2000;
constexpr uint16_t kFragmentOffset = 0x1fff;
constexpr uint8_t kVersion4NoOptions = 0x45;

// Not "this network", loopback, multicast, reserved or broadcast (RFC 6890 section 2.2.2).
bool can_be_source(uint32_t address) {
  const uint32_t network = address >> 24;
  return network != 0 && network != 127 && network < 224;
}

// Not unspecified, loopback, multicast or IPv4-mapped (RFC 6890 section 2.2.3).
bool can_be_source_v6(const IpAddress& address) {
  static const IpAddress loopback = [] {
    uint8_t octets[16] = {};
    octets[15] = 1;
    return IpAddress::load_v6(octets);
  }();
  return !address.is_v4() && !address.is_unspecified() && !address.is_multicast_or_broadcast() &&
         address != loopback;
}

// SYN with FIN or RST, or no control bit at all, is no segment that RFC 9293 defines.
bool flags_make_sense(uint8_t flags) {
  if ((flags & kSyn) != 0) return (flags & (kFin | kRst)) == 0;
  return (flags & (kAck | kRst)) != 0;
}

// Only without a card that has summed the segment, so what the loop needs is no matter to others.
[[gnu::noinline]] bool tcp_sum_ok(const Packet& packet) {
  const uint64_t pseudo_header =
      packet.is_v6
          ? pseudo_header_v6(packet.ipv6().addresses(), kProtocolTcp, packet.transport_length)
          : pseudo_header_v4(packet.ipv4().addresses(), kProtocolTcp, packet.transport_length);
  return fold(pseudo_header + sum_bytes({packet.transport, packet.transport_length})) == 0xffff;
}

[[gnu::always_inline]] inline std::optional<Drop> parse_tcp(Packet& packet,
                                                            HardwareChecksum checksum) {
  if (packet.transport_length < kTcpHeader) return Drop::truncated_frame;
  const TcpView tcp = packet.tcp();
  packet.tcp_header_length = tcp.header_length();
  if (packet.tcp_header_length < kTcpHeader || packet.tcp_header_length > packet.transport_length) {
    return Drop::bad_tcp_header;
  }
  packet.payload_length = static_cast<uint16_t>(packet.transport_length - packet.tcp_header_length);
  if (checksum == HardwareChecksum::unknown && !tcp_sum_ok(packet)) return Drop::bad_tcp_checksum;
  if (tcp.source_port() == 0 || tcp.destination_port() == 0) return Drop::bad_tcp_header;
  if (!flags_make_sense(tcp.flags())) return Drop::bad_tcp_flags;
  packet.kind = PacketKind::tcp;
  return std::nullopt;
}

[[gnu::noinline]] std::optional<Drop> parse_icmp(Packet& packet) {
  if (packet.transport_length < kIcmpHeader ||
      sum_bytes({packet.transport, packet.transport_length}) != 0xffff) {
    return Drop::bad_icmp;
  }
  packet.kind = PacketKind::icmp;
  return std::nullopt;
}

[[gnu::always_inline]] inline std::optional<Drop> parse_ipv4(Packet& packet, size_t available,
                                                             const ParseRules& rules,
                                                             HardwareChecksum checksum) {
  if (available < kIpv4Header) return Drop::truncated_frame;
  const Ipv4View ip = packet.ipv4();
  if (ip.version_and_length() != kVersion4NoOptions) {
    const bool options =
        ip.version_and_length() > kVersion4NoOptions && (ip.version_and_length() >> 4) == 4;
    return options ? Drop::ip_options : Drop::bad_ip_header;
  }
  const uint16_t total = ip.total_length();
  if (total < kIpv4Header) return Drop::bad_ip_header;
  if (total > available) return Drop::truncated_frame;
  if (total > rules.mtu) return Drop::over_mtu;
  if (!ip.checksum_ok()) return Drop::bad_ip_checksum;
  if ((ip.fragment() & (kMoreFragments | kFragmentOffset)) != 0) return Drop::ip_fragment;
  if (!can_be_source(ip.source().v4_bits())) return Drop::bad_source_address;
  packet.frame_length = static_cast<uint16_t>(kEthernetHeader + total);
  packet.transport = packet.network + kIpv4Header;
  packet.transport_length = static_cast<uint16_t>(total - kIpv4Header);
  if (ip.protocol() == kProtocolTcp) return parse_tcp(packet, checksum);
  if (ip.protocol() == kProtocolIcmp) return parse_icmp(packet);
  return Drop::unknown_protocol;
}

std::optional<Drop> parse_icmpv6(Packet& packet) {
  if (packet.transport_length < kIcmpHeader ||
      fold(pseudo_header_v6(packet.ipv6().addresses(), kProtocolIcmpv6, packet.transport_length) +
           sum_bytes({packet.transport, packet.transport_length})) != 0xffff) {
    return Drop::bad_icmp;
  }
  packet.kind = PacketKind::icmpv6;
  return std::nullopt;
}

// What RFC 8200 section 4 puts between the header and the segment, and what RFC 4302, 4303, 6275,
// 5201 and 5533 do.
Drop reason_for_next_header(uint8_t next) {
  constexpr uint8_t kExtensions[] = {0, 43, 50, 51, 60, 135, 139, 140};
  constexpr uint8_t kFragment = 44;
  if (next == kFragment) return Drop::ip_fragment;
  for (const uint8_t extension : kExtensions) {
    if (next == extension) return Drop::ipv6_extension;
  }
  return Drop::unknown_protocol;
}

// own: the frame is for our link address, not a group's.
[[gnu::noinline]] std::optional<Drop> parse_ipv6(Packet& packet, size_t available,
                                                 const ParseRules& rules, HardwareChecksum checksum,
                                                 bool own) {
  if (available < kIpv6Header) return Drop::truncated_frame;
  const Ipv6View ip = packet.ipv6();
  if (ip.version() != 6) return Drop::bad_ip_header;
  const size_t total = kIpv6Header + ip.payload_length();
  if (total > available) return Drop::truncated_frame;
  if (total > rules.mtu) return Drop::over_mtu;
  const uint8_t next = ip.next_header();
  const IpAddress source = ip.source();
  // Neighbours that look for a duplicate of their address do not have it yet (RFC 4862 section
  // 5.4.2).
  const bool nobody = source.is_unspecified() && !source.is_v4() && next == kProtocolIcmpv6;
  if (!nobody && !can_be_source_v6(source)) return Drop::bad_source_address;
  if (ip.destination().is_v4()) return Drop::foreign_address;
  packet.is_v6 = true;
  packet.frame_length = static_cast<uint16_t>(kEthernetHeader + total);
  packet.transport = packet.network + kIpv6Header;
  packet.transport_length = ip.payload_length();
  const bool to_group = ip.destination().is_multicast_or_broadcast();
  if (!own && !to_group) return Drop::foreign_mac;
  if (next == kProtocolIcmpv6) return parse_icmpv6(packet);
  if (to_group) return Drop::ipv6_group;
  if (next != kProtocolTcp) return reason_for_next_header(next);
  return parse_tcp(packet, checksum);
}

// What is not IPv4 to our link address.
[[gnu::noinline]] std::optional<Drop> parse_other(Packet& packet, size_t available,
                                                  const ParseRules& rules,
                                                  HardwareChecksum checksum) {
  const EthernetView ethernet = packet.ethernet();
  const bool own = ethernet.destination_bits() == rules.mac.bits();
  if (!own && !ethernet.destination().is_group()) return Drop::foreign_mac;
  const uint16_t type = ethernet.type();
  // Unicast IP in a group frame is a flood or an attack (RFC 1122 section 3.3.6).
  if (type == kEtherTypeIpv4) return Drop::foreign_mac;
  if (type == kEtherTypeIpv6) return parse_ipv6(packet, available, rules, checksum, own);
  if (type != kEtherTypeArp) return Drop::unknown_ethertype;
  if (available < kArpPacket) return Drop::truncated_frame;
  packet.kind = PacketKind::arp;
  packet.frame_length = static_cast<uint16_t>(kEthernetHeader + kArpPacket);
  return std::nullopt;
}

}  // namespace

std::optional<Drop> parse_packet(base::MutableBytes frame, const ParseRules& rules,
                                 HardwareChecksum checksum, Packet& out) {
  if (frame.size() < kEthernetHeader) return Drop::truncated_frame;
  out.is_v6 = false;
  out.frame = frame.data();
  out.network = frame.data() + kEthernetHeader;
  const EthernetView ethernet = out.ethernet();
  const size_t available = frame.size() - kEthernetHeader;
  if (ethernet.destination_bits() == rules.mac.bits() && ethernet.type() == kEtherTypeIpv4) {
    return parse_ipv4(out, available, rules, checksum);
  }
  return parse_other(out, available, rules, checksum);
}

}  // namespace mqlb::wire
