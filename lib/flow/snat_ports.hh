// The SNAT ports of one source address toward one broker endpoint, as one proxy core owns them.
//
// A port maps to a flow by a plain array: the return path needs no hash. Free ports are taken
// first in, first out, and not before their quarantine is over, so that the broker's TIME-WAIT is
// past (RFC 9293 section 3.4.2). Each port remembers the last sequence number sent from it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/base/seq32.hh"
#include "lib/flow/record.hh"

namespace mqlb::flow {

class SnatPorts {
 public:
  // Ports first..last that are congruent to `residue` modulo `modulus` (how ports are shared among
  // proxies). start: a random number, so that a restarted balancer does not begin where it began
  // before.
  SnatPorts(uint16_t first, uint16_t last, uint16_t residue, uint16_t modulus, uint32_t start);

  // The next free port for `flow`, or nullopt: all are in use or in quarantine.
  // quarantine, now: seconds.
  [[nodiscard]] std::optional<uint16_t> take(FlowIndex flow, uint32_t now, uint32_t quarantine);
  // last_seq: behind the last byte sent from the port. Only for a taken port.
  void give_back(uint16_t port, base::Seq32 last_seq, uint32_t now);

  using SlotIndex = uint16_t;  // there is no port 0, so at most 65,535 slots
  static constexpr SlotIndex kEnd = 0xffff;
  struct Slot {
    uint32_t flow = kNoFlow;  // taken: the flow; free: when it was given back (seconds)
    uint32_t last_seq = 0;
    SlotIndex next = kEnd;  // free: the slot behind in the queue
    bool taken = false;
    bool used = false;
  };
  static_assert(sizeof(Slot) == 12);

  // Null for a port that is not among ours. Any port number may be asked.
  [[nodiscard]] const Slot* slot_of(uint16_t port) const {
    const size_t i = index_of(port);
    return i < count_ ? &slots_[i] : nullptr;
  }
  // kNoFlow if the port is not taken.
  [[nodiscard]] FlowIndex lookup(uint16_t port) const {
    const Slot* slot = slot_of(port);
    return slot != nullptr && slot->taken ? slot->flow : kNoFlow;
  }
  // Where the port's last use ended; nullopt if it was never used.
  [[nodiscard]] std::optional<base::Seq32> last_seq(uint16_t port) const;

  [[nodiscard]] uint32_t capacity() const { return static_cast<uint32_t>(slots_.size()); }
  [[nodiscard]] uint32_t in_use() const { return in_use_; }
  // Given back within the quarantine; walks the queue, for reports only.
  [[nodiscard]] uint32_t quarantined(uint32_t now, uint32_t quarantine) const;

 private:
  // Slots follow each other in steps of the modulus from base_.
  [[nodiscard]] size_t index_of(uint16_t port) const {
    const unsigned distance = static_cast<unsigned>(port) - base_;
    if (modulus_ == 1) return distance;
    return distance % modulus_ == 0 ? distance / modulus_ : count_;
  }
  void push_back(SlotIndex slot);

  unsigned base_ = 0;
  unsigned modulus_ = 1;
  uint32_t in_use_ = 0;
  SlotIndex head_ = kEnd;
  SlotIndex tail_ = kEnd;
  size_t count_ = 0;  // of slots: a vector would have to divide
  std::vector<Slot> slots_;
};

}  // namespace mqlb::flow
