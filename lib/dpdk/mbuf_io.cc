#include "lib/dpdk/mbuf_io.hh"

#include <rte_ethdev.h>
#include <rte_ring.h>

#include <array>

namespace mqlb::dpdk {
namespace {
constexpr size_t kMost = 64;
}

size_t MbufIo::allocate(std::span<engine::Frame> out) {
  std::array<rte_mbuf*, kMost> mbufs;
  const size_t count = std::min(out.size(), kMost);
  if (rte_pktmbuf_alloc_bulk(ports_.mempool(), mbufs.data(), static_cast<unsigned>(count)) != 0) {
    return 0;
  }
  for (size_t i = 0; i < count; ++i) {
    out[i] = frame_of(mbufs[i], 0);
    out[i].length = 0;
  }
  return count;
}

void MbufIo::release(std::span<const engine::Frame> frames) {
  std::array<rte_mbuf*, kMost> mbufs;
  while (!frames.empty()) {
    const size_t count = std::min(frames.size(), kMost);
    for (size_t i = 0; i < count; ++i) mbufs[i] = static_cast<rte_mbuf*>(frames[i].owner);
    rte_pktmbuf_free_bulk(mbufs.data(), static_cast<unsigned>(count));
    frames = frames.subspan(count);
  }
}

size_t MbufIo::transmit(config::PortId port, std::span<const engine::Frame> frames) {
  std::array<rte_mbuf*, kMost> mbufs;
  const size_t count = std::min(frames.size(), kMost);
  for (size_t i = 0; i < count; ++i) {
    mbufs[i] = mbuf_of(frames[i]);
    mbufs[i]->port = port;
  }
  const uint16_t queue = ports_.tx_queue(port, core_);
  const auto n = static_cast<uint16_t>(count);
  size_t sent = 0;
  if (queue == Ports::kNoQueue) {
    sent =
        rte_ring_enqueue_burst(to_first_core_, reinterpret_cast<void**>(mbufs.data()), n, nullptr);
    first_bell_->ring();
  } else {
    sent = rte_eth_tx_burst(ports_.dpdk_port(port), queue, mbufs.data(), n);
    // A full ring is often free again after one more try, which lets the driver reclaim.
    if (sent < count) {
      sent += rte_eth_tx_burst(ports_.dpdk_port(port), queue, mbufs.data() + sent,
                               static_cast<uint16_t>(count - sent));
    }
  }
  if (sent < count) rte_pktmbuf_free_bulk(mbufs.data() + sent, static_cast<unsigned>(count - sent));
  return count - sent;
}

}  // namespace mqlb::dpdk
