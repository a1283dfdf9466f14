// Neighbour solicitations and advertisements (RFC 4861 sections 4.3 and 4.4) on Ethernet.
//
// Bytes in, values out: who is asked and answered is the resolver's affair.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/bytes.hh"
#include "lib/wire/build.hh"
#include "lib/wire/headers.hh"

namespace mqlb::wire {

struct Neighbour {
  enum Type : uint8_t { solicitation = 135, advertisement = 136 };
  enum Flag : uint8_t { router = 0x80, solicited = 0x40, override_cached = 0x20 };

  uint8_t type = solicitation;
  uint8_t flags = 0;  // advertisements only
  IpAddress source;   // unspecified: a probe for duplicates (RFC 4862 section 5.4.2)
  IpAddress destination;
  IpAddress target;
  // Source link-layer address of a solicitation, target link-layer address of an advertisement.
  std::optional<MacAddress> link_address;
};

// Type, code, checksum, flags, target; and with the one option that the balancer sends.
inline constexpr size_t kNeighbourFixed = 24;
inline constexpr size_t kNeighbourFrame = kEthernetHeader + kIpv6Header + kNeighbourFixed + 8;

// ff02::1:ffXX:XXXX (RFC 4291 section 2.7.1).
[[nodiscard]] IpAddress solicited_node(const IpAddress& address);
// ff02::1: every node of the link.
[[nodiscard]] IpAddress all_nodes();
// 33:33 and the last 32 bits (RFC 2464 section 7).
[[nodiscard]] MacAddress multicast_mac(const IpAddress& group);

// `datagram` begins with the IPv6 header; bytes behind its payload are ignored. False unless all
// that RFC 4861 sections 7.1.1 and 7.1.2 ask for holds, the checksum included. Link addresses of
// groups are refused too: nobody may direct our frames at many.
[[nodiscard]] bool parse_neighbour(base::Bytes datagram, Neighbour& out);

// What answers a solicitation of an address with this link address (RFC 4861 section 7.2.4). Who
// looks for a duplicate has no address yet: all nodes hear the answer.
[[nodiscard]] Neighbour answer_to(const Neighbour& asked, const MacAddress& own);

// The whole frame; returns its length, or 0 if `out` is too small or an address is IPv4.
size_t build_neighbour(const Neighbour& message, const LinkPair& link, base::MutableBytes out);

}  // namespace mqlb::wire
