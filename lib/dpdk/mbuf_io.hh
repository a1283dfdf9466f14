// Frames over mbufs for one core, and the conversion both ways.
#pragma once

#include <rte_mbuf.h>

#include "lib/dpdk/bell.hh"
#include "lib/dpdk/ports.hh"
#include "lib/engine/frame.hh"

struct rte_ring;

namespace mqlb::dpdk {

static_assert(RTE_PKTMBUF_HEADROOM >= engine::kHeadroom);

// The whole packet must be in one segment.
[[nodiscard]] inline engine::Frame frame_of(rte_mbuf* m, config::PortId port) {
  engine::Frame frame;
  frame.data = rte_pktmbuf_mtod(m, uint8_t*);
  frame.length = m->data_len;
  frame.capacity = static_cast<uint16_t>(m->buf_len - m->data_off);
  frame.port = port;
  const uint64_t verdict = m->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;
  frame.checksum = verdict == RTE_MBUF_F_RX_L4_CKSUM_GOOD ? wire::HardwareChecksum::good
                                                          : wire::HardwareChecksum::unknown;
  frame.owner = m;
  return frame;
}

[[nodiscard]] inline rte_mbuf* mbuf_of(const engine::Frame& frame) {
  auto* m = static_cast<rte_mbuf*>(frame.owner);
  m->data_off = static_cast<uint16_t>(frame.data - static_cast<uint8_t*>(m->buf_addr));
  m->data_len = frame.length;
  m->pkt_len = frame.length;
  return m;
}

class MbufIo : public engine::FrameIo {
 public:
  // to_first_core: where frames go that this core has no transmit queue for; null with its bell if
  // it has one for every port.
  MbufIo(const Ports& ports, size_t core, rte_ring* to_first_core, Bell* first_bell)
      : ports_(ports), core_(core), to_first_core_(to_first_core), first_bell_(first_bell) {}

  size_t allocate(std::span<engine::Frame> out) override;
  void release(std::span<const engine::Frame> frames) override;
  size_t transmit(config::PortId port, std::span<const engine::Frame> frames) override;

 private:
  const Ports& ports_;
  size_t core_;
  rte_ring* to_first_core_;
  Bell* first_bell_;  // wakes that core
};

}  // namespace mqlb::dpdk
