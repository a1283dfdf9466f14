// Frames that the balancer makes itself: TCP segments, ARP, and answers made in place.
#pragma once

#include <cstdint>
#include <span>

#include "lib/base/bytes.hh"
#include "lib/base/seq32.hh"
#include "lib/wire/headers.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::wire {

struct LinkPair {
  MacAddress source;
  MacAddress destination;
};

// One TCP segment in host order. Options other than those in `options` and `sack` are not sent.
struct Segment {
  LinkPair link;
  Endpoint source;
  Endpoint destination;
  base::Seq32 seq;
  base::Seq32 ack;
  uint8_t flags = kAck;
  uint16_t window = 0;
  TcpOptions options;
  std::span<const SackBlock> sack{};
  base::Bytes payload{};
};

// Bytes of a frame around a payload at the most (IPv6, all TCP options).
inline constexpr size_t kMaxSegmentHeaders = kEthernetHeader + kIpv6Header + kMaxTcpHeader;

// Of the IP header between two addresses of one family.
[[nodiscard]] inline size_t ip_header_length(const IpAddress& address) {
  return address.is_v4() ? kIpv4Header : kIpv6Header;
}

// What a host says in its SYN that can take packets of this size (RFC 9293 section 3.7.1).
[[nodiscard]] inline uint16_t mss_of(uint16_t mtu, const IpAddress& address) {
  return static_cast<uint16_t>(mtu - ip_header_length(address) - kTcpHeader);
}

// The network header of a TCP packet of ours: don't fragment, TTL 64, flow label 0. Both addresses
// are of one family.
void write_network_header(uint8_t* p, const IpAddress& source, const IpAddress& destination,
                          uint8_t traffic_class, size_t tcp_length);

// Writes the whole frame with its checksums (don't fragment, TTL 64, no ECN); returns its length,
// or 0 if `out` is too small or the addresses are not of one family.
size_t build_segment(const Segment& segment, base::MutableBytes out);

// RFC 826, for Ethernet and IPv4.
struct Arp {
  enum Operation : uint16_t { request = 1, reply = 2 };
  uint16_t operation = request;
  MacAddress sender_mac;
  IpAddress sender;
  MacAddress target_mac;
  IpAddress target;
};

// `packet` holds kArpPacket bytes. False if it is not Ethernet and IPv4, or the sender's link
// address is a group's.
[[nodiscard]] bool parse_arp(const uint8_t* packet, Arp& out);
size_t build_arp(const Arp& arp, const LinkPair& link, base::MutableBytes out);

inline constexpr size_t kArpFrame = kEthernetHeader + kArpPacket;

}  // namespace mqlb::wire
