// Between whom the tests of control's TCP connect, and what they do in each family.
#pragma once

#include "lib/control/tcp_client.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"

namespace mqlb::tests {

// All tests run in both families.
struct Ends {
  const char* name;
  wire::Endpoint ours, peer;
  uint16_t headers;  // of IP and TCP, without options
};
inline const Ends kFamilies[] = {
    {"IPv4", {ip("198.18.1.100"), 65530}, {ip("198.18.1.11"), 1883}, 40},
    {"IPv6", {ip("2001:db8::100"), 65530}, {ip("2001:db8::11"), 1883}, 60},
};
inline const Ends* g_ends = nullptr;
inline constexpr uint32_t kIss = 0xffffffe0;  // the numbers wrap within the first bytes
inline constexpr uint32_t kIrs = 0xfffffff0;

// Gives the client a frame as the network would bring it.
inline void deliver(control::TcpClient& client, wire::Segment segment, base::Instant now) {
  segment.link = {kMacA, kMacB};
  Octets frame(4096);
  frame.resize(wire::build_segment(segment, frame));
  wire::Packet packet;
  const auto drop =
      wire::parse_packet(frame, {kMacB, 9000}, wire::HardwareChecksum::unknown, packet);
  assert_false(drop.has_value());
  client.receive(packet, now);
}

template <size_t kCount>
int run_in_both_families(const CMUnitTest (&tests)[kCount]) {
  int failed = 0;
  for (const Ends& ends : kFamilies) {
    g_ends = &ends;
    failed += cmocka_run_group_tests_name(ends.name, tests, nullptr, nullptr);
  }
  return failed;
}

}  // namespace mqlb::tests
