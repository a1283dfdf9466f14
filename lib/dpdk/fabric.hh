// The queues between cores: messages, frames for another core, frames for and from control.
//
// Every queue has many producers and one consumer. Made before the cores start; each core uses its
// own Link as the engine's MessageSink.
#pragma once

#include <rte_ring.h>
#include <rte_ring_elem.h>

#include <bitset>
#include <memory>
#include <span>
#include <vector>

#include "lib/base/result.hh"
#include "lib/config/limits.hh"
#include "lib/dpdk/bell.hh"
#include "lib/dpdk/mbuf_io.hh"
#include "lib/engine/context.hh"

namespace mqlb::dpdk {

struct RingDeleter {
  void operator()(rte_ring* ring) const { rte_ring_free(ring); }
};
using Ring = std::unique_ptr<rte_ring, RingDeleter>;

// What one core receives from others.
struct Inbox {
  Ring messages;               // engine::Message, by value
  Ring frames;                 // mbufs to be sorted again; mbuf->port is our PortId
  Ring transmit;               // mbufs ready to be sent; mbuf->port is our PortId
  std::unique_ptr<Bell> bell;  // rung after something was put here
};

class Fabric {
 public:
  // message_room: messages that a core's queue holds.
  [[nodiscard]] static base::Result<Fabric> create(size_t cores, unsigned message_room);

  [[nodiscard]] size_t cores() const { return inboxes_.size(); }
  [[nodiscard]] Inbox& inbox(size_t core) { return inboxes_[core]; }
  // Every core looks at all that control shares with it.
  void ring_all();
  [[nodiscard]] rte_ring* to_control() { return to_control_.get(); }

 private:
  Fabric() = default;
  std::vector<Inbox> inboxes_;
  Ring to_control_;
};

// How one core reaches the others.
class Link : public engine::MessageSink {
 public:
  explicit Link(Fabric& fabric) : fabric_(fabric) {}

  bool send(const engine::Message& message) override;
  bool hand_over(engine::CoreIndex to, const engine::Frame& frame) override;
  void to_control(const engine::Frame& frame) override;
  // Wakes the cores that were sent something since the last call.
  void ring();

 private:
  Fabric& fabric_;
  std::bitset<config::kLcoreRange.most + 1> sent_to_;
};

}  // namespace mqlb::dpdk
