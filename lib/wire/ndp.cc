#include "lib/wire/ndp.hh"

#include <algorithm>
#include <array>

namespace mqlb::wire {
namespace {

constexpr uint8_t kVersion6 = 6;
constexpr uint8_t kHopLimit = 255;  // proves that no router passed it on (RFC 4861 section 3.1)
constexpr uint8_t kSourceLinkAddress = 1;
constexpr uint8_t kTargetLinkAddress = 2;
constexpr size_t kOptionUnit = 8;

uint8_t link_option_of(uint8_t type) {
  return type == Neighbour::solicitation ? kSourceLinkAddress : kTargetLinkAddress;
}

// An IPv4-mapped address has no place in an IPv6 header (RFC 4942 section 2.2).
bool is_ipv4(const Neighbour& m) {
  return m.source.is_v4() || m.destination.is_v4() || m.target.is_v4();
}

bool parse_options(base::Bytes options, Neighbour& out) {
  base::ByteReader r(options);
  while (r.remaining() > 0) {
    const uint8_t type = r.u8();
    const size_t length = r.u8() * kOptionUnit;
    if (length == 0) return false;
    const base::Bytes body = r.take(length - 2);
    if (!r.ok()) return false;
    if (type != link_option_of(out.type)) continue;
    if (length != kOptionUnit) return false;
    out.link_address = MacAddress::load(body.data());
    if (out.link_address->is_group()) return false;
  }
  return true;
}

bool addresses_agree(const Neighbour& m) {
  if (is_ipv4(m) || m.target.is_multicast_or_broadcast() || m.target.is_unspecified()) return false;
  if (m.source.is_multicast_or_broadcast()) return false;
  if (m.type == Neighbour::advertisement) {
    const bool is_answer = (m.flags & Neighbour::solicited) != 0;
    return !m.source.is_unspecified() && !(is_answer && m.destination.is_multicast_or_broadcast());
  }
  if (!m.source.is_unspecified()) return true;
  return m.destination == solicited_node(m.target) && !m.link_address;
}

}  // namespace

IpAddress solicited_node(const IpAddress& address) {
  std::array<uint8_t, 16> group{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  const auto octets = address.octets();
  std::copy(octets.begin() + 13, octets.end(), group.begin() + 13);
  return IpAddress::load_v6(group.data());
}

IpAddress all_nodes() {
  constexpr uint8_t kOctets[16] = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  return IpAddress::load_v6(kOctets);
}

MacAddress multicast_mac(const IpAddress& group) {
  const auto octets = group.octets();
  return {{0x33, 0x33, octets[12], octets[13], octets[14], octets[15]}};
}

bool parse_neighbour(base::Bytes datagram, Neighbour& out) {
  if (datagram.size() < kIpv6Header + kNeighbourFixed) return false;
  const uint8_t* ip = datagram.data();
  const uint16_t length = base::load_be16(ip + 4);
  if (length < kNeighbourFixed || length > datagram.size() - kIpv6Header) return false;
  if (ip[0] >> 4 != kVersion6 || ip[6] != kProtocolIcmpv6 || ip[7] != kHopLimit) return false;
  const base::Bytes icmp = datagram.subspan(kIpv6Header, length);
  if (fold(pseudo_header_v6(ip + 8, kProtocolIcmpv6, length) + sum_bytes(icmp)) != 0xffff) {
    return false;
  }
  out = {};
  out.type = icmp[0];
  if (out.type != Neighbour::solicitation && out.type != Neighbour::advertisement) return false;
  if (icmp[1] != 0) return false;
  if (out.type == Neighbour::advertisement) out.flags = icmp[4];
  out.source = IpAddress::load_v6(ip + 8);
  out.destination = IpAddress::load_v6(ip + 24);
  out.target = IpAddress::load_v6(icmp.data() + 8);
  return parse_options(icmp.subspan(kNeighbourFixed), out) && addresses_agree(out);
}

Neighbour answer_to(const Neighbour& asked, const MacAddress& own) {
  const bool to_all = asked.source.is_unspecified();
  Neighbour answer;
  answer.type = Neighbour::advertisement;
  answer.flags = Neighbour::override_cached;
  if (!to_all) answer.flags |= Neighbour::solicited;
  answer.source = answer.target = asked.target;
  answer.destination = to_all ? all_nodes() : asked.source;
  answer.link_address = own;
  return answer;
}

size_t build_neighbour(const Neighbour& message, const LinkPair& link, base::MutableBytes out) {
  const size_t option = message.link_address ? kOptionUnit : 0;
  const size_t icmp_length = kNeighbourFixed + option;
  const size_t frame_length = kEthernetHeader + kIpv6Header + icmp_length;
  if (out.size() < frame_length || is_ipv4(message)) return 0;

  EthernetView ethernet(out.data());
  ethernet.set_destination(link.destination);
  ethernet.set_source(link.source);
  ethernet.set_type(kEtherTypeIpv6);
  uint8_t* ip = out.data() + kEthernetHeader;
  base::store_be32(ip, uint32_t{kVersion6} << 28);
  base::store_be16(ip + 4, static_cast<uint16_t>(icmp_length));
  ip[6] = kProtocolIcmpv6;
  ip[7] = kHopLimit;
  message.source.store_v6(ip + 8);
  message.destination.store_v6(ip + 24);
  uint8_t* icmp = ip + kIpv6Header;
  base::store_be32(icmp, uint32_t{message.type} << 24);
  base::store_be32(icmp + 4, uint32_t{message.flags} << 24);
  message.target.store_v6(icmp + 8);
  if (message.link_address) {
    icmp[kNeighbourFixed] = link_option_of(message.type);
    icmp[kNeighbourFixed + 1] = 1;
    message.link_address->store(icmp + kNeighbourFixed + 2);
  }
  const uint64_t sum =
      pseudo_header_v6(ip + 8, kProtocolIcmpv6, static_cast<uint32_t>(icmp_length)) +
      sum_bytes({icmp, icmp_length});
  base::store_be16(icmp + 2, checksum_of(sum));
  return frame_length;
}

}  // namespace mqlb::wire
