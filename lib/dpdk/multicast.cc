#include "lib/dpdk/multicast.hh"

#include <linux/if_packet.h>
#include <rte_ethdev.h>
#include <sys/socket.h>
#include <unistd.h>

namespace mqlb::dpdk {

// DPDK's AF_PACKET and AF_XDP drivers cannot, but a packet socket of ours can: it receives nothing
// itself, since it has no protocol, and its membership ends with it (packet(7)).
AllMulticast::AllMulticast(uint16_t dpdk_port, unsigned interface_index) {
  if (rte_eth_allmulticast_enable(dpdk_port) == 0 || interface_index == 0) return;
  socket_ = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return;
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(interface_index);
  request.mr_type = PACKET_MR_ALLMULTI;
  setsockopt(socket_, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request);
}

AllMulticast::~AllMulticast() {
  if (socket_ >= 0) close(socket_);
}

}  // namespace mqlb::dpdk
