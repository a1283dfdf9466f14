#include "tests/support/sim/link.hh"

#include "tests/support/sim/packet.hh"

namespace mqlb::sim {

// Only in an IPv4 packet, where a checksum covers every bit.
void Link::damage(Frame& frame) {
  if (ether_type(frame.bytes) != kEtherTypeIpv4) return;
  const size_t at = kEthernetHeader + random_.below(frame.bytes.size() - kEthernetHeader);
  frame.bytes[at] ^= static_cast<uint8_t>(1U << random_.below(8));
  frame.damaged = true;
  ++counters_.damaged;
}

}  // namespace mqlb::sim
