#include "lib/dpdk/fabric.hh"

#include <rte_errno.h>

#include <string>

namespace mqlb::dpdk {
namespace {

constexpr unsigned kFrameRoom = 4096;
constexpr unsigned kControlRoom = 4096;  // more than a burst of what cores let pass

static_assert(sizeof(engine::Message) % 4 == 0);

bool enqueue(rte_ring* ring, const engine::Frame& frame) {
  rte_mbuf* m = mbuf_of(frame);
  m->port = frame.port;
  if (rte_ring_enqueue(ring, m) == 0) return true;
  rte_pktmbuf_free(m);
  return false;
}

}  // namespace

base::Result<Fabric> Fabric::create(size_t cores, unsigned message_room) {
  Fabric fabric;
  const int socket = static_cast<int>(rte_socket_id());
  const auto name = [](const char* kind, size_t core) {
    return std::string("mqlb_") + kind + std::to_string(core);
  };
  for (size_t core = 0; core < cores; ++core) {
    Inbox inbox;
    inbox.messages.reset(rte_ring_create_elem(name("msg", core).c_str(), sizeof(engine::Message),
                                              message_room, socket, RING_F_SC_DEQ));
    inbox.frames.reset(
        rte_ring_create(name("frm", core).c_str(), kFrameRoom, socket, RING_F_SC_DEQ));
    inbox.transmit.reset(
        rte_ring_create(name("tx", core).c_str(), kFrameRoom, socket, RING_F_SC_DEQ));
    if (!inbox.messages || !inbox.frames || !inbox.transmit) {
      return base::fail(std::string("no memory for queues between cores: ") +
                        rte_strerror(rte_errno));
    }
    auto bell = Bell::create();
    if (!bell) return tl::unexpected(bell.error());
    inbox.bell = std::move(*bell);
    fabric.inboxes_.push_back(std::move(inbox));
  }
  fabric.to_control_.reset(rte_ring_create("mqlb_control", kControlRoom, socket, RING_F_SC_DEQ));
  if (!fabric.to_control_) return base::fail("no memory for the control queue");
  return fabric;
}

void Fabric::ring_all() {
  for (Inbox& inbox : inboxes_) inbox.bell->ring();
}

void Link::ring() {
  if (sent_to_.none()) return;
  for (size_t core = 0; core < fabric_.cores(); ++core) {
    if (sent_to_[core]) fabric_.inbox(core).bell->ring();
  }
  sent_to_.reset();
}

bool Link::send(const engine::Message& message) {
  sent_to_[message.to] = true;
  return rte_ring_enqueue_elem(fabric_.inbox(message.to).messages.get(),
                               const_cast<engine::Message*>(&message), sizeof message) == 0;
}

bool Link::hand_over(engine::CoreIndex to, const engine::Frame& frame) {
  sent_to_[to] = true;
  return enqueue(fabric_.inbox(to).frames.get(), frame);
}

void Link::to_control(const engine::Frame& frame) { enqueue(fabric_.to_control(), frame); }

}  // namespace mqlb::dpdk
