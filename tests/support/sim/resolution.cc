#include "tests/support/sim/resolution.hh"

#include <algorithm>

namespace mqlb::sim {
namespace {

using base::load_be16;
using base::store_be16;
using wire::IpAddress;
using wire::MacAddress;

constexpr MacAddress kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr size_t kIpHeader = 40;
constexpr size_t kIcmpLength = 32;  // with one link address
constexpr size_t kNeighbourFrame = kEthernetHeader + kIpHeader + kIcmpLength;
constexpr uint8_t kSolicitation = 135;
constexpr uint8_t kAdvertisement = 136;
constexpr uint8_t kSolicited = 0x40;
constexpr uint8_t kOverride = 0x20;
constexpr uint8_t kHopLimit = 255;

uint64_t pseudo_header(const uint8_t* ip) {
  return checksum_add(0, {ip + 8, 32}) + kProtocolIcmpv6 + kIcmpLength;
}

// ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1).
IpAddress solicited_node(const IpAddress& address) {
  std::array<uint8_t, 16> octets{0xff, 2};
  const std::array<uint8_t, 16> own = address.octets();
  octets[11] = 1;
  octets[12] = 0xff;
  std::copy(own.begin() + 13, own.end(), octets.begin() + 13);
  return IpAddress::load_v6(octets.data());
}

// RFC 2464 section 7.
MacAddress group_mac(const IpAddress& group) {
  const std::array<uint8_t, 16> octets = group.octets();
  return {{0x33, 0x33, octets[12], octets[13], octets[14], octets[15]}};
}

std::vector<uint8_t> encode_arp(const Resolution& packet) {
  std::vector<uint8_t> frame(60);
  put_ethernet(frame.data(), packet.sender_mac, packet.request ? kBroadcast : packet.target_mac,
               kEtherTypeArp);
  uint8_t* arp = frame.data() + kEthernetHeader;
  store_be16(arp, 1);
  store_be16(arp + 2, kEtherTypeIpv4);
  arp[4] = 6;
  arp[5] = 4;
  store_be16(arp + 6, packet.request ? 1 : 2);
  packet.sender_mac.store(arp + 8);
  packet.sender.store_v4(arp + 14);
  packet.target_mac.store(arp + 18);
  packet.target.store_v4(arp + 24);
  return frame;
}

std::optional<Resolution> parse_arp(base::Bytes frame) {
  if (frame.size() < kEthernetHeader + 28) return std::nullopt;
  const uint8_t* arp = frame.data() + kEthernetHeader;
  const uint16_t operation = load_be16(arp + 6);
  const bool ethernet_ipv4 =
      load_be16(arp) == 1 && load_be16(arp + 2) == kEtherTypeIpv4 && arp[4] == 6 && arp[5] == 4;
  if (!ethernet_ipv4 || operation < 1 || operation > 2) return std::nullopt;
  return Resolution{operation == 1, MacAddress::load(arp + 8), IpAddress::load_v4(arp + 14),
                    MacAddress::load(arp + 18), IpAddress::load_v4(arp + 24)};
}

std::vector<uint8_t> encode_neighbour(const Resolution& packet) {
  const IpAddress destination = packet.request ? solicited_node(packet.target) : packet.target;
  std::vector<uint8_t> frame(kNeighbourFrame);
  put_ethernet(frame.data(), packet.sender_mac,
               packet.request ? group_mac(destination) : packet.target_mac, kEtherTypeIpv6);
  uint8_t* ip = frame.data() + kEthernetHeader;
  ip[0] = 0x60;
  store_be16(ip + 4, kIcmpLength);
  ip[6] = kProtocolIcmpv6;
  ip[7] = kHopLimit;
  packet.sender.store_v6(ip + 8);
  destination.store_v6(ip + 24);
  uint8_t* icmp = ip + kIpHeader;
  icmp[0] = packet.request ? kSolicitation : kAdvertisement;
  icmp[4] = packet.request ? 0 : kSolicited | kOverride;
  (packet.request ? packet.target : packet.sender).store_v6(icmp + 8);
  icmp[24] = packet.request ? 1 : 2;  // the sender's, the target's
  icmp[25] = 1;                       // in units of 8 bytes
  packet.sender_mac.store(icmp + 26);
  store_be16(icmp + 2, checksum_finish(checksum_add(pseudo_header(ip), {icmp, kIcmpLength})));
  return frame;
}

// Only as an ordinary host sends it: with one option, the sender's link address.
std::optional<Resolution> parse_neighbour(base::Bytes frame) {
  if (frame.size() != kNeighbourFrame) return std::nullopt;
  const uint8_t* ip = frame.data() + kEthernetHeader;
  const uint8_t* icmp = ip + kIpHeader;
  const bool request = icmp[0] == kSolicitation;
  if (load_be16(ip + 4) != kIcmpLength || ip[7] != kHopLimit || icmp[1] != 0 ||
      icmp[24] != (request ? 1 : 2) || icmp[25] != 1 ||
      checksum_finish(checksum_add(pseudo_header(ip), {icmp, kIcmpLength})) != 0) {
    return std::nullopt;
  }
  const auto mac = MacAddress::load(frame.data());
  const IpAddress source = IpAddress::load_v6(ip + 8);
  const IpAddress destination = IpAddress::load_v6(ip + 24);
  const IpAddress about = IpAddress::load_v6(icmp + 8);
  const bool to_group = ip[24] == 0xff;
  if (to_group != mac.is_group() || (to_group && mac != group_mac(destination))) {
    return std::nullopt;
  }
  const auto told = MacAddress::load(icmp + 26);
  if (request) return Resolution{true, told, source, {}, about};
  if ((icmp[4] & kSolicited) == 0) return Resolution{true, told, about, {}, about};
  return Resolution{false, told, about, mac, destination};
}

}  // namespace

bool is_resolution(base::Bytes frame) {
  if (ether_type(frame) == kEtherTypeArp) return true;
  if (ether_type(frame) != kEtherTypeIpv6 || frame.size() <= kEthernetHeader + kIpHeader) {
    return false;
  }
  const uint8_t type = frame[kEthernetHeader + kIpHeader];
  return frame[kEthernetHeader + 6] == kProtocolIcmpv6 &&
         (type == kSolicitation || type == kAdvertisement);
}

std::optional<Resolution> parse_resolution(base::Bytes frame) {
  return ether_type(frame) == kEtherTypeArp ? parse_arp(frame) : parse_neighbour(frame);
}

std::vector<uint8_t> encode_resolution(const Resolution& packet) {
  return packet.target.is_v4() ? encode_arp(packet) : encode_neighbour(packet);
}

}  // namespace mqlb::sim
