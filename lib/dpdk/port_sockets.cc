#include "lib/dpdk/port_sockets.hh"

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace mqlb::dpdk {
namespace {

// All of this process, in the order of their numbers.
std::vector<int> open_descriptors() {
  std::vector<int> out;
  std::error_code error;
  std::filesystem::directory_iterator entry("/proc/self/fd", error);
  for (; !error && entry != std::filesystem::end(entry); entry.increment(error)) {
    out.push_back(std::atoi(entry->path().filename().c_str()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_of_domain(int fd, int domain) {
  int actual = 0;
  socklen_t length = sizeof actual;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &actual, &length) == 0 && actual == domain;
}

bool is_on_interface(int fd, unsigned interface_index) {
  sockaddr_ll address{};
  socklen_t length = sizeof address;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0 &&
         address.sll_ifindex == static_cast<int>(interface_index);
}

}  // namespace

int PortSockets::claim(std::string_view driver, unsigned interface_index) {
  const bool packet = driver.find("af_packet") != std::string_view::npos;
  const bool xdp = driver.find("af_xdp") != std::string_view::npos;
  if (!packet && !xdp) return kNone;
  for (const int fd : open_descriptors()) {
    if (!is_of_domain(fd, packet ? AF_PACKET : AF_XDP)) continue;
    if (packet && !is_on_interface(fd, interface_index)) continue;
    if (std::find(claimed_.begin(), claimed_.end(), fd) != claimed_.end()) continue;
    claimed_.push_back(fd);
    return fd;
  }
  return kNone;
}

}  // namespace mqlb::dpdk
