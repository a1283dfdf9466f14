#include "lib/pcap/segment.hh"

#include <pcap/dlt.h>

#include <optional>

#include "lib/wire/headers.hh"

namespace mqlb::pcap {
namespace {

constexpr int kLinkTypeRaw = 101;  // as files number it; libpcap gives DLT_RAW for it

constexpr uint16_t kVlanTag = 0x8100;         // IEEE 802.1Q
constexpr uint16_t kServiceTag = 0x88a8;      // IEEE 802.1ad
constexpr uint16_t kOldServiceTag = 0x9100;   // before it
constexpr uint16_t kFirstEtherType = 0x0600;  // below: a length (IEEE 802.3)
constexpr uint16_t kIpv6MoreFragments = 1;
constexpr uint16_t kIpv4MoreFragments = 0x2000;
constexpr uint16_t kIpv4FragmentOffset = 0x1fff;
constexpr size_t kIpv6Header = 40;

// RFC 8200 section 4; every one is at least 8 bytes.
constexpr uint8_t kHopByHop = 0;
constexpr uint8_t kRouting = 43;
constexpr uint8_t kFragment = 44;
constexpr uint8_t kDestinationOptions = 60;
constexpr size_t kSmallestExtension = 8;

// What is left of a packet: the bytes at hand, which are never more than those on the wire.
struct Rest {
  base::Bytes bytes;
  size_t wire = 0;

  [[nodiscard]] std::optional<Unusable> lacks(size_t n) const {
    if (n <= bytes.size()) return std::nullopt;
    return n <= wire ? Unusable::snapped : Unusable::truncated;
  }
  void skip(size_t n) {
    bytes = bytes.subspan(n);
    wire -= n;
  }
  // A header says that the packet ends after n more bytes. False if the wire had fewer.
  [[nodiscard]] bool limit(size_t n) {
    if (n > wire) return false;
    wire = n;
    if (bytes.size() > n) bytes = bytes.first(n);
    return true;
  }
};

struct Network {
  wire::IpAddress source;
  wire::IpAddress destination;
  uint8_t protocol = 0;
};

using EtherType = tl::expected<uint16_t, Unusable>;

// A link header of `size` bytes with the type at `offset`, and VLAN tags behind it.
EtherType strip_typed_header(Rest& rest, size_t size, size_t offset) {
  if (const auto why = rest.lacks(size)) return tl::unexpected(*why);
  uint16_t type = base::load_be16(rest.bytes.data() + offset);
  rest.skip(size);
  while (type == kVlanTag || type == kServiceTag || type == kOldServiceTag) {
    if (const auto why = rest.lacks(4)) return tl::unexpected(*why);
    type = base::load_be16(rest.bytes.data() + 2);
    rest.skip(4);
  }
  return type;
}

// An address family in the byte order of the machine that captured (DLT_NULL) or of the network.
EtherType strip_loopback(Rest& rest) {
  if (const auto why = rest.lacks(4)) return tl::unexpected(*why);
  uint32_t family = base::load_be32(rest.bytes.data());
  rest.skip(4);
  if (family > 0xffff) family = __builtin_bswap32(family);
  switch (family) {
    case 2:
      return wire::kEtherTypeIpv4;
    case 10:  // Linux, 24 NetBSD and OpenBSD, 28 FreeBSD, 30 macOS
    case 24:
    case 28:
    case 30:
      return wire::kEtherTypeIpv6;
    default:
      return tl::unexpected(Unusable::not_ip);
  }
}

EtherType look_at_version(const Rest& rest) {
  if (const auto why = rest.lacks(1)) return tl::unexpected(*why);
  switch (rest.bytes[0] >> 4) {
    case 4:
      return wire::kEtherTypeIpv4;
    case 6:
      return wire::kEtherTypeIpv6;
    default:
      return tl::unexpected(Unusable::bad_ip_header);
  }
}

EtherType strip_link(int link_type, Rest& rest) {
  switch (link_type) {
    case DLT_EN10MB:
      return strip_typed_header(rest, wire::kEthernetHeader, 12);
    case DLT_LINUX_SLL:
      return strip_typed_header(rest, 16, 14);
    case DLT_LINUX_SLL2:
      return strip_typed_header(rest, 20, 0);
    case DLT_NULL:
    case DLT_LOOP:
      return strip_loopback(rest);
    case DLT_RAW:
    case kLinkTypeRaw:
      return look_at_version(rest);
    case DLT_IPV4:
      return wire::kEtherTypeIpv4;
    case DLT_IPV6:
      return wire::kEtherTypeIpv6;
    default:
      return tl::unexpected(Unusable::link_type);
  }
}

tl::expected<Network, Unusable> strip_ipv4(Rest& rest) {
  if (const auto why = rest.lacks(wire::kIpv4Header)) return tl::unexpected(*why);
  const uint8_t* p = rest.bytes.data();
  const size_t header = static_cast<size_t>(p[0] & 0x0f) * 4;
  if (p[0] >> 4 != 4 || header < wire::kIpv4Header) return tl::unexpected(Unusable::bad_ip_header);
  const uint16_t total = base::load_be16(p + 2);
  if (total != 0 && total < header) return tl::unexpected(Unusable::bad_ip_header);
  if (total != 0 && !rest.limit(total)) return tl::unexpected(Unusable::truncated);
  if (const auto why = rest.lacks(header)) return tl::unexpected(*why);
  if ((base::load_be16(p + 6) & (kIpv4MoreFragments | kIpv4FragmentOffset)) != 0) {
    return tl::unexpected(Unusable::ip_fragment);
  }
  rest.skip(header);
  return Network{wire::IpAddress::load_v4(p + 12), wire::IpAddress::load_v4(p + 16), p[9]};
}

// Leaves `next` at the first header that is none of these. A fragment that is the whole packet is
// none (RFC 6946).
std::optional<Unusable> strip_extensions(Rest& rest, uint8_t& next) {
  while (next == kHopByHop || next == kRouting || next == kFragment ||
         next == kDestinationOptions) {
    if (const auto why = rest.lacks(kSmallestExtension)) return why;
    const uint8_t* p = rest.bytes.data();
    const bool fragment = next == kFragment;
    if (fragment && (base::load_be16(p + 2) & (0xfff8 | kIpv6MoreFragments)) != 0) {
      return Unusable::ip_fragment;
    }
    const size_t size = fragment ? kSmallestExtension : (size_t{p[1]} + 1) * 8;
    if (const auto why = rest.lacks(size)) return why;
    next = p[0];
    rest.skip(size);
  }
  return std::nullopt;
}

tl::expected<Network, Unusable> strip_ipv6(Rest& rest) {
  if (const auto why = rest.lacks(kIpv6Header)) return tl::unexpected(*why);
  const uint8_t* p = rest.bytes.data();
  if (p[0] >> 4 != 6) return tl::unexpected(Unusable::bad_ip_header);
  const uint16_t length = base::load_be16(p + 4);
  Network network{wire::IpAddress::load_v6(p + 8), wire::IpAddress::load_v6(p + 24), p[6]};
  rest.skip(kIpv6Header);
  if (length != 0 && !rest.limit(length)) return tl::unexpected(Unusable::truncated);
  if (const auto why = strip_extensions(rest, network.protocol)) return tl::unexpected(*why);
  return network;
}

tl::expected<Network, Unusable> strip_ip(uint16_t ether_type, Rest& rest) {
  switch (ether_type) {
    case wire::kEtherTypeIpv4:
      return strip_ipv4(rest);
    case wire::kEtherTypeIpv6:
      return strip_ipv6(rest);
    default:
      return tl::unexpected(Unusable::not_ip);
  }
}

void copy_sack_blocks(base::Bytes options, Segment& out) {
  for (size_t i = 0; i < out.options.sack_blocks && i < wire::kMaxSackBlocks; ++i) {
    const uint8_t* p = options.data() + out.options.sack_offset + i * 8;
    out.sack[i] = {base::Seq32(base::load_be32(p)), base::Seq32(base::load_be32(p + 4))};
    ++out.sack_blocks;
  }
}

tl::expected<Segment, Unusable> parse_tcp(const Network& network, Rest rest) {
  if (const auto why = rest.lacks(wire::kTcpHeader)) return tl::unexpected(*why);
  const uint8_t* p = rest.bytes.data();
  const size_t header = static_cast<size_t>(p[12] >> 4) * 4;
  if (header < wire::kTcpHeader || header > rest.wire) {
    return tl::unexpected(Unusable::bad_tcp_header);
  }
  if (const auto why = rest.lacks(header)) return tl::unexpected(*why);
  const base::Bytes option_bytes = rest.bytes.subspan(wire::kTcpHeader, header - wire::kTcpHeader);
  const auto options = wire::parse_tcp_options(option_bytes);
  Segment out;
  out.source = {network.source, base::load_be16(p)};
  out.destination = {network.destination, base::load_be16(p + 2)};
  if (!options || out.source.port == 0 || out.destination.port == 0) {
    return tl::unexpected(Unusable::bad_tcp_header);
  }
  out.seq = base::Seq32(base::load_be32(p + 4));
  out.ack = base::Seq32(base::load_be32(p + 8));
  out.flags = p[13];
  out.window = base::load_be16(p + 14);
  out.options = *options;
  copy_sack_blocks(option_bytes, out);
  rest.skip(header);
  out.payload = rest.bytes;
  out.payload_length = static_cast<uint32_t>(rest.wire);
  return out;
}

std::string name_of_protocol(uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolIcmp:
      return "icmp";
    case wire::kProtocolTcp:
      return "tcp";
    case 2:
      return "igmp";
    case 17:
      return "udp";
    case 58:
      return "icmpv6";
    default:
      return "ip protocol " + std::to_string(protocol);
  }
}

std::string name_of_ether_type(uint16_t type) {
  switch (type) {
    case wire::kEtherTypeArp:
      return "arp";
    case wire::kEtherTypeIpv4:
      return "ipv4";
    case wire::kEtherTypeIpv6:
      return "ipv6";
    default:
      break;
  }
  if (type < kFirstEtherType) return "802.3";
  char text[sizeof "ethertype 0xffff"];
  std::snprintf(text, sizeof text, "ethertype 0x%04x", type);
  return text;
}

}  // namespace

tl::expected<Segment, Unusable> parse_segment(int link_type, const Record& record) {
  Rest rest{record.bytes, record.original_length};
  const auto ether_type = strip_link(link_type, rest);
  if (!ether_type) return tl::unexpected(ether_type.error());
  const auto network = strip_ip(*ether_type, rest);
  if (!network) return tl::unexpected(network.error());
  if (network->protocol != wire::kProtocolTcp) return tl::unexpected(Unusable::not_tcp);
  return parse_tcp(*network, rest);
}

std::string describe(int link_type, const Record& record) {
  Rest rest{record.bytes, record.original_length};
  const auto ether_type = strip_link(link_type, rest);
  if (!ether_type) {
    const bool unknown = ether_type.error() == Unusable::link_type;
    return unknown ? "link type " + std::to_string(link_type) : "frame";
  }
  const auto network = strip_ip(*ether_type, rest);
  return network ? name_of_protocol(network->protocol) : name_of_ether_type(*ether_type);
}

std::string_view to_string(Unusable reason) {
  switch (reason) {
    case Unusable::link_type:
      return "link-type";
    case Unusable::truncated:
      return "truncated";
    case Unusable::snapped:
      return "snapped";
    case Unusable::not_ip:
      return "not-ip";
    case Unusable::not_tcp:
      return "not-tcp";
    case Unusable::ip_fragment:
      return "ip-fragment";
    case Unusable::bad_ip_header:
      return "bad-ip-header";
    case Unusable::bad_tcp_header:
      return "bad-tcp-header";
  }
  return "unknown";
}

}  // namespace mqlb::pcap
