#include "lib/wire/build.hh"

#include <cstring>

#include "lib/wire/packet.hh"

namespace mqlb::wire {
namespace {

constexpr uint8_t kTtl = 64;
constexpr uint32_t kDontFragment = 0x4000;

void write_ethernet(uint8_t* frame, const LinkPair& link, uint16_t type) {
  EthernetView ethernet(frame);
  ethernet.set_destination(link.destination);
  ethernet.set_source(link.source);
  ethernet.set_type(type);
}

// Headers are written in words, as the checksums read them: to read a word that was written in
// parts would wait for those.
void write_ipv4(uint8_t* p, const IpAddress& source, const IpAddress& destination,
                uint8_t type_of_service, size_t tcp_length) {
  const auto total = static_cast<uint32_t>(kIpv4Header + tcp_length);
  base::store_be32(p, 0x45000000U | uint32_t{type_of_service} << 16 | total);
  base::store_be32(p + 4, kDontFragment);
  base::store_be32(p + 8, uint32_t{kTtl} << 24 | uint32_t{kProtocolTcp} << 16);
  Ipv4View ip(p);
  ip.set_source(source);
  ip.set_destination(destination);
  ip.set_checksum(checksum_of(sum_bytes({p, kIpv4Header})));
}

void write_ipv6(uint8_t* p, const IpAddress& source, const IpAddress& destination,
                uint8_t traffic_class, size_t tcp_length) {
  base::store_be32(p, 0x60000000U | uint32_t{traffic_class} << 20);
  base::store_be32(p + 4,
                   static_cast<uint32_t>(tcp_length) << 16 | uint32_t{kProtocolTcp} << 8 | kTtl);
  source.store_v6(p + 8);
  destination.store_v6(p + 24);
}

uint64_t pseudo_header(const IpAddress& family, const uint8_t* ip, uint16_t tcp_length) {
  return family.is_v4() ? pseudo_header_v4(ip + 12, kProtocolTcp, tcp_length)
                        : pseudo_header_v6(ip + 8, kProtocolTcp, tcp_length);
}

}  // namespace

void write_network_header(uint8_t* p, const IpAddress& source, const IpAddress& destination,
                          uint8_t traffic_class, size_t tcp_length) {
  if (source.is_v4()) {
    write_ipv4(p, source, destination, traffic_class, tcp_length);
  } else {
    write_ipv6(p, source, destination, traffic_class, tcp_length);
  }
}

size_t build_segment(const Segment& segment, base::MutableBytes out) {
  uint8_t options[kMaxTcpOptions];
  const size_t options_length =
      encode_sack(segment.sack, options, encode_tcp_options(segment.options, options));
  const size_t tcp_length = kTcpHeader + options_length + segment.payload.size();
  const IpAddress& source = segment.source.address;
  const IpAddress& destination = segment.destination.address;
  const size_t ip_length = ip_header_length(source);
  const size_t frame_length = kEthernetHeader + ip_length + tcp_length;
  if (frame_length > out.size() || frame_length > 0xffff) return 0;
  if (source.is_v4() != destination.is_v4()) return 0;

  write_ethernet(out.data(), segment.link, source.is_v4() ? kEtherTypeIpv4 : kEtherTypeIpv6);
  uint8_t* ip = out.data() + kEthernetHeader;
  write_network_header(ip, source, destination, 0, tcp_length);
  uint8_t* p = ip + ip_length;
  const auto words = static_cast<uint32_t>((kTcpHeader + options_length) / 4);
  base::store_be32(p, uint32_t{segment.source.port} << 16 | segment.destination.port);
  base::store_be32(p + 4, segment.seq.raw());
  base::store_be32(p + 8, (segment.flags & kAck) != 0 ? segment.ack.raw() : 0);
  base::store_be32(p + 12, words << 28 | uint32_t{segment.flags} << 16 | segment.window);
  base::store_be32(p + 16, 0);  // checksum, urgent pointer
  std::memcpy(p + kTcpHeader, options, options_length);
  if (!segment.payload.empty()) {
    std::memcpy(p + kTcpHeader + options_length, segment.payload.data(), segment.payload.size());
  }
  const auto length = static_cast<uint16_t>(tcp_length);
  TcpView(p).set_checksum(
      checksum_of(pseudo_header(source, ip, length) + sum_bytes({p, tcp_length})));
  return frame_length;
}

bool parse_arp(const uint8_t* packet, Arp& out) {
  constexpr uint8_t kEthernetIpv4[6] = {0, 1, 8, 0, 6, 4};
  if (std::memcmp(packet, kEthernetIpv4, sizeof kEthernetIpv4) != 0) return false;
  out.operation = base::load_be16(packet + 6);
  out.sender_mac = MacAddress::load(packet + 8);
  out.sender = IpAddress::load_v4(packet + 14);
  out.target_mac = MacAddress::load(packet + 18);
  out.target = IpAddress::load_v4(packet + 24);
  return !out.sender_mac.is_group();
}

size_t build_arp(const Arp& arp, const LinkPair& link, base::MutableBytes out) {
  if (out.size() < kArpFrame) return 0;
  write_ethernet(out.data(), link, kEtherTypeArp);
  base::ByteWriter w(out.subspan(kEthernetHeader, kArpPacket));
  w.be16(1);
  w.be16(kEtherTypeIpv4);
  w.u8(6);
  w.u8(4);
  w.be16(arp.operation);
  w.bytes(arp.sender_mac.octets);
  uint8_t address[4];
  arp.sender.store_v4(address);
  w.bytes(address);
  w.bytes(arp.target_mac.octets);
  arp.target.store_v4(address);
  w.bytes(address);
  return kArpFrame;
}

}  // namespace mqlb::wire
