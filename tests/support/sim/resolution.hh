// Who has which link address, on the simulator's wires: ARP (RFC 826) for IPv4, neighbour discovery
// (RFC 4861) for IPv6, as one.
#pragma once

#include <optional>
#include <vector>

#include "tests/support/sim/packet.hh"

namespace mqlb::sim {

// A question, with who asks; an answer, with whom it tells; or an announcement, which is a question
// for the sender's own address.
struct Resolution {
  bool request = false;
  wire::MacAddress sender_mac;
  wire::IpAddress sender;
  wire::MacAddress target_mac;  // of an answer
  wire::IpAddress target;
};

// The frame's kind, whether or not it is well formed.
[[nodiscard]] bool is_resolution(base::Bytes frame);
[[nodiscard]] std::optional<Resolution> parse_resolution(base::Bytes frame);
// A question goes to all who may be meant, an answer to its target.
[[nodiscard]] std::vector<uint8_t> encode_resolution(const Resolution& packet);

}  // namespace mqlb::sim
