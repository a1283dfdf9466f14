// Frames of the simulator: TCP over IPv4 or IPv6 over Ethernet.
//
// Deliberately an implementation of its own, so that an error in lib/wire cannot hide itself.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/seq32.hh"
#include "lib/wire/address.hh"

namespace mqlb::sim {

inline constexpr uint8_t kFin = 0x01;
inline constexpr uint8_t kSyn = 0x02;
inline constexpr uint8_t kRst = 0x04;
inline constexpr uint8_t kPsh = 0x08;
inline constexpr uint8_t kAck = 0x10;

inline constexpr size_t kEthernetHeader = 14;
inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolIcmpv6 = 58;
inline constexpr size_t kMaxSackBlocks = 4;

struct Timestamps {
  uint32_t value = 0;
  uint32_t echo = 0;
};

struct SackBlock {
  base::Seq32 left;
  base::Seq32 right;
};

// How options are laid out: the usual padding to words, or values at odd offsets.
enum class OptionLayout : uint8_t { aligned, odd };

struct Segment {
  wire::Endpoint source;
  wire::Endpoint destination;
  base::Seq32 seq;
  base::Seq32 ack;
  uint8_t flags = 0;
  uint16_t window = 0;  // as on the wire, unscaled
  std::optional<uint16_t> mss;
  std::optional<uint8_t> window_scale;
  bool sack_permitted = false;
  std::optional<Timestamps> timestamps;
  std::array<SackBlock, kMaxSackBlocks> sack{};
  size_t sack_count = 0;
  OptionLayout layout = OptionLayout::aligned;  // for encoding only
  size_t option_bytes = 0;                      // set by parsing only
  base::Bytes payload;                          // a view into the frame or the sender's stream

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
  // In sequence space: SYN and FIN count (RFC 9293 section 3.4).
  [[nodiscard]] uint32_t length() const {
    return static_cast<uint32_t>(payload.size()) + (has(kSyn) ? 1U : 0U) + (has(kFin) ? 1U : 0U);
  }
};

enum class FrameFault : uint8_t {
  none,
  truncated,       // a header or the total length runs past the frame
  trailing_bytes,  // longer than the IP packet and not padding to the 60 bytes of Ethernet
  ip_header,       // version, header length or fragment
  ip_checksum,
  not_tcp,
  tcp_checksum,
  tcp_options,  // ill-formed
};

[[nodiscard]] std::string_view to_string(FrameFault fault);

// ip_id: of IPv4.
[[nodiscard]] std::vector<uint8_t> encode_segment(const wire::MacAddress& source,
                                                  const wire::MacAddress& destination,
                                                  const Segment& segment, uint16_t ip_id);
// 20 bytes or 40, for an address of either end.
[[nodiscard]] size_t ip_header_length(const wire::IpAddress& address);
// On a fault behind the addresses the parsed fields so far are set, for messages.
[[nodiscard]] FrameFault parse_segment(base::Bytes frame, Segment& out);

void put_ethernet(uint8_t* header, const wire::MacAddress& source,
                  const wire::MacAddress& destination, uint16_t type);
[[nodiscard]] uint16_t ether_type(base::Bytes frame);  // 0 when truncated
// The Internet checksum's sum before folding and complement (RFC 1071).
[[nodiscard]] uint64_t checksum_add(uint64_t sum, base::Bytes bytes);
[[nodiscard]] uint16_t checksum_finish(uint64_t sum);
// Computes the checksums of a TCP frame anew; for tests that change frames.
void fix_checksums(base::MutableBytes frame);

// "198.18.0.1:1000 > 198.18.0.2:1883 SA seq 1 ack 2 win 3 len 4 ts 5/6 sack 7-8"
[[nodiscard]] std::string describe(const Segment& segment);

}  // namespace mqlb::sim
