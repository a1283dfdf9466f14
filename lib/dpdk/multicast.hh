// Makes a port receive all multicast frames: neighbours of IPv6 ask by groups (RFC 4861), one for
// nearly each of our addresses, and these come and go while the daemon runs.
#pragma once

#include <cstdint>
#include <utility>

namespace mqlb::dpdk {

// For as long as it lives, where the kernel has the interface. What a device cannot do is no error:
// ports that are rings, files or memory filter nothing.
class AllMulticast {
 public:
  AllMulticast() = default;
  // interface_index: of the kernel's interface behind the port, 0 if there is none.
  AllMulticast(uint16_t dpdk_port, unsigned interface_index);
  ~AllMulticast();
  AllMulticast(AllMulticast&& other) noexcept : socket_(std::exchange(other.socket_, -1)) {}
  AllMulticast& operator=(AllMulticast&& other) noexcept {
    std::swap(socket_, other.socket_);
    return *this;
  }

 private:
  int socket_ = -1;
};

}  // namespace mqlb::dpdk
