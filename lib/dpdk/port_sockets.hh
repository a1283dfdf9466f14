// The sockets behind ports of kernel interfaces, to sleep by until a frame arrives.
//
// DPDK's AF_PACKET and AF_XDP drivers poll memory and do not tell their descriptors, so these are
// looked for among the process's own. What is not found is no error: the core then sleeps by time.
#pragma once

#include <string_view>
#include <vector>

namespace mqlb::dpdk {

class PortSockets {
 public:
  static constexpr int kNone = -1;

  // The socket of the receive queue that was set up last: the first of the driver's kind, on this
  // interface where the kernel tells it, that was not claimed before. A driver opens the sockets of
  // a port in the order of its queues.
  [[nodiscard]] int claim(std::string_view driver, unsigned interface_index);

 private:
  std::vector<int> claimed_;
};

}  // namespace mqlb::dpdk
