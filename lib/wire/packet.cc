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

// SYN with FIN or RST, or no control bit at all, is no segment that RFC 9293 defines.
bool flags_make_sense(uint8_t flags) {
  if ((flags & kSyn) != 0) return (flags & (kFin | kRst)) == 0;
  return (flags & (kAck | kRst)) != 0;
}

std::optional<Drop> parse_tcp(Packet& packet, HardwareChecksum checksum) {
  if (packet.transport_length < kTcpHeader) return Drop::truncated_frame;
  const TcpView tcp = packet.tcp();
  packet.tcp_header_length = tcp.header_length();
  if (packet.tcp_header_length < kTcpHeader || packet.tcp_header_length > packet.transport_length) {
    return Drop::bad_tcp_header;
  }
  packet.payload_length = static_cast<uint16_t>(packet.transport_length - packet.tcp_header_length);
  if (checksum == HardwareChecksum::unknown) {
    const uint64_t sum =
        pseudo_header_v4(packet.ipv4().addresses(), kProtocolTcp, packet.transport_length) +
        sum_bytes({packet.transport, packet.transport_length});
    if (fold(sum) != 0xffff) return Drop::bad_tcp_checksum;
  }
  if (tcp.source_port() == 0 || tcp.destination_port() == 0) return Drop::bad_tcp_header;
  if (!flags_make_sense(tcp.flags())) return Drop::bad_tcp_flags;
  packet.kind = PacketKind::tcp;
  return std::nullopt;
}

std::optional<Drop> parse_icmp(Packet& packet) {
  if (packet.transport_length < kIcmpHeader ||
      sum_bytes({packet.transport, packet.transport_length}) != 0xffff) {
    return Drop::bad_icmp;
  }
  packet.kind = PacketKind::icmp;
  return std::nullopt;
}

std::optional<Drop> parse_ipv4(Packet& packet, size_t available, const ParseRules& rules,
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

}  // namespace

std::optional<Drop> parse_packet(base::MutableBytes frame, const ParseRules& rules,
                                 HardwareChecksum checksum, Packet& out) {
  if (frame.size() < kEthernetHeader) return Drop::truncated_frame;
  out.frame = frame.data();
  out.network = frame.data() + kEthernetHeader;
  const EthernetView ethernet = out.ethernet();
  const bool own = ethernet.destination_bits() == rules.mac.bits();
  if (!own && !ethernet.destination().is_group()) return Drop::foreign_mac;
  const size_t available = frame.size() - kEthernetHeader;
  const uint16_t type = ethernet.type();
  // Unicast IP in a group frame is a flood or an attack (RFC 1122 section 3.3.6).
  if (type == kEtherTypeIpv4) {
    return own ? parse_ipv4(out, available, rules, checksum) : Drop::foreign_mac;
  }
  if (type == kEtherTypeArp) {
    if (available < kArpPacket) return Drop::truncated_frame;
    out.kind = PacketKind::arp;
    out.frame_length = static_cast<uint16_t>(kEthernetHeader + kArpPacket);
    return std::nullopt;
  }
  return type == kEtherTypeIpv6 ? Drop::ipv6_unsupported : Drop::unknown_ethertype;
}

uint16_t tcp_checksum_v4(const uint8_t* ip_addresses, base::Bytes segment) {
  return checksum_of(
      pseudo_header_v4(ip_addresses, kProtocolTcp, static_cast<uint16_t>(segment.size())) +
      sum_bytes(segment));
}

}  // namespace mqlb::wire
