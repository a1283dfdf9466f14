#include "tests/support/sim/link.hh"

#include "tests/support/sim/packet.hh"

namespace mqlb::sim {

// Only where a checksum covers every bit: in IPv6 the first bytes of the header have none.
void Link::damage(Frame& frame) {
  const uint16_t type = ether_type(frame.bytes);
  if (type != kEtherTypeIpv4 && type != kEtherTypeIpv6) return;
  const size_t first = kEthernetHeader + (type == kEtherTypeIpv6 ? 8 : 0);
  const size_t at = first + random_.below(frame.bytes.size() - first);
  frame.bytes[at] ^= static_cast<uint8_t>(1U << random_.below(8));
  frame.damaged = true;
  ++counters_.damaged;
}

}  // namespace mqlb::sim
