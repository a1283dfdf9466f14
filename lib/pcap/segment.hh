// From a captured record to a TCP segment: Ethernet with VLAN tags, Linux cooked v1 and v2, BSD
// loopback, raw IP; IPv4 and IPv6 with extension headers.
//
// Made for captures, not for a NIC: checksums are not looked at (offloads leave them open), sizes
// beyond any MTU are allowed, and an IPv4 total length or IPv6 payload length of 0 (segmentation
// offload) means all that was on the wire.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/bytes.hh"
#include "lib/base/seq32.hh"
#include "lib/pcap/reader.hh"
#include "lib/wire/address.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::pcap {

struct Segment {
  wire::Endpoint source;
  wire::Endpoint destination;
  base::Seq32 seq;
  base::Seq32 ack;
  uint8_t flags = 0;
  uint16_t window = 0;  // as on the wire
  wire::TcpOptions options;
  std::array<wire::SackBlock, wire::kMaxSackBlocks> sack{};
  uint8_t sack_blocks = 0;
  base::Bytes payload;  // into the record; what of it was captured
  // Bytes of payload on the wire; more than payload.size(): the record was snapped.
  uint32_t payload_length = 0;

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

// Why a record is no TCP segment that could be used.
enum class Unusable : uint8_t {
  link_type,  // one that is not read
  truncated,  // ends before its headers or its IP length do although it was not snapped
  snapped,    // cut in its headers by the snapshot length
  not_ip,     // ARP, 802.3, ...
  not_tcp,
  ip_fragment,
  bad_ip_header,
  bad_tcp_header,  // or a port 0
};

// One lower-case word-with-dashes for tables.
[[nodiscard]] std::string_view to_string(Unusable reason);

[[nodiscard]] tl::expected<Segment, Unusable> parse_segment(int link_type, const Record& record);

// What kind of packet a record is, for tables: "arp", "udp", "ethertype 0x88cc", "link type 105".
[[nodiscard]] std::string describe(int link_type, const Record& record);

}  // namespace mqlb::pcap
