// ICMP frames for the engine's ports (RFC 792, RFC 1191).
#pragma once

#include <vector>

#include "tests/engine/bench.hh"

namespace mqlb::tests {

// An ICMP packet over IPv4 to a port of the engine, checksums filled in. body: behind the ICMP
// header's first four bytes.
std::vector<uint8_t> icmp_frame(unsigned port, const wire::MacAddress& source_mac,
                                const wire::IpAddress& source, const wire::IpAddress& destination,
                                uint8_t type, uint8_t code, base::Bytes body);

// A router's complaint about a frame that the engine sent, quoting so many bytes of its IP packet;
// it came in on `port`.
std::vector<uint8_t> fragmentation_needed(unsigned port, const wire::IpAddress& router,
                                          const Sent& about, size_t quoted, uint16_t mtu);
std::vector<uint8_t> port_unreachable(unsigned port, const wire::IpAddress& router,
                                      const Sent& about, size_t quoted);

std::vector<uint8_t> echo_request(unsigned port, const wire::MacAddress& source_mac,
                                  const wire::IpAddress& source, const wire::IpAddress& destination,
                                  base::Bytes data);

}  // namespace mqlb::tests
