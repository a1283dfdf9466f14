// The SNAT ports of one source address toward one broker endpoint, as one proxy core owns them.
//
// A port maps to a flow by a plain array: the return path needs no hash. Free ports are taken
// first in, first out, and not before their quarantine is over, so that the broker's TIME-WAIT is
// past (RFC 9293 section 3.4.2). Each port remembers the last sequence number sent from it.
//
// Where it can be foretold which core a broker's packets arrive at, that depends on the port, too:
// such as arrive at the proxy itself are its preferred ones. The others are used when those are not
// enough: their packets have to be handed over, but no port is lost. So which proxy owns a port
// does not depend on the forecast, and no slot is needed twice.
#pragma once

#include <cstdint>
#include <functional>
#include <memory_resource>
#include <optional>
#include <vector>

#include "lib/base/seq32.hh"
#include "lib/flow/record.hh"

namespace mqlb::flow {

class SnatPorts {
 public:
  // Ports first..last that are congruent to `residue` modulo `modulus` (how ports are shared among
  // proxies). start: a random number, so that a restarted balancer does not begin where it began
  // before. preferred: asked once for each port; if it is empty, all are. The last `reserved` ports
  // of the range are never given out. memory: for what packets ask; outlives this.
  SnatPorts(uint16_t first, uint16_t last, uint16_t residue, uint16_t modulus, uint32_t start,
            const std::function<bool(uint16_t port)>& preferred = {}, uint16_t reserved = 0,
            std::pmr::memory_resource* memory = std::pmr::get_default_resource());

  enum class Choice : uint8_t { preferred, any };
  // The next free port for `flow`, or nullopt: all are in use or in quarantine. A preferred one as
  // long as there is one.
  // quarantine, now: seconds.
  [[nodiscard]] std::optional<uint16_t> take(FlowIndex flow, uint32_t now, uint32_t quarantine,
                                             Choice choice = Choice::any);
  // last_seq: behind the last byte sent from the port. Only for a taken port.
  void give_back(uint16_t port, base::Seq32 last_seq, uint32_t now);

  // Who has a port: all that a packet asks for, so that it lies apart.
  class Use {
   public:
    [[nodiscard]] bool taken() const { return word_ < kFree; }
    [[nodiscard]] FlowIndex flow() const { return word_; }  // only if taken
    // Since it was given back, if not taken.
    [[nodiscard]] uint32_t seconds_free(uint32_t now) const { return (now - word_) & ~kFree; }
    static Use by(FlowIndex flow) { return Use(flow); }
    static Use free_since(uint32_t seconds) { return Use(seconds | kFree); }
    Use() = default;

   private:
    static constexpr uint32_t kFree = 0x80000000;  // above all flows; below it: seconds
    explicit Use(uint32_t word) : word_(word) {}
    uint32_t word_ = kFree;
  };
  static_assert(sizeof(Use) == 4);

  // Where the use of each port is: small, since each packet reads one, and many of them are in use.
  class Map {
   public:
    // Null for a port that is not among them. Any port number may be asked.
    [[nodiscard]] const Use* find(uint16_t port) const {
      const size_t i = index_of(port);
      return i < count_ ? &uses_[i] : nullptr;
    }

   private:
    friend SnatPorts;
    // Slots follow each other in steps of the modulus from base_.
    [[nodiscard]] size_t index_of(uint16_t port) const {
      const unsigned distance = unsigned{port} - base_;
      if (modulus_ == 1) return distance;
      return distance % modulus_ == 0 ? distance / modulus_ : count_;
    }

    const Use* uses_ = nullptr;
    uint16_t base_ = 0;
    uint16_t modulus_ = 1;
    uint16_t count_ = 0;  // of slots: there is no port 0, so at most 65,535
  };
  static_assert(sizeof(Map) == 16);
  // Good while this lives.
  [[nodiscard]] const Map& map() const { return map_; }
  [[nodiscard]] const Use* use_of(uint16_t port) const { return map_.find(port); }
  // kNoFlow if the port is not taken.
  [[nodiscard]] FlowIndex lookup(uint16_t port) const {
    const Use* use = use_of(port);
    return use != nullptr && use->taken() ? use->flow() : kNoFlow;
  }
  // Where the port's last use ended; nullopt if it was never used.
  [[nodiscard]] std::optional<base::Seq32> last_seq(uint16_t port) const;

  [[nodiscard]] uint32_t capacity() const { return capacity_; }
  [[nodiscard]] uint32_t in_use() const { return in_use_; }
  // Given back within the quarantine, or within a shorter one that was in force when they were
  // counted. Takes a step for each that has rested since it was asked last.
  [[nodiscard]] uint32_t quarantined(uint32_t now, uint32_t quarantine);

 private:
  using SlotIndex = uint16_t;
  static constexpr SlotIndex kEnd = 0xffff;
  struct Slot {
    uint32_t last_seq = 0;
    SlotIndex next = kEnd;  // free: the slot behind in the queue
    bool used = false;      // ever
    bool preferred = true;
  };
  static_assert(sizeof(Slot) == 8);

  [[nodiscard]] uint16_t port_of(SlotIndex slot) const {
    return static_cast<uint16_t>(map_.base_ + slot * map_.modulus_);
  }
  // Free slots, linked by Slot::next: first those that have rested, as far as that was looked at.
  //
  //   head -> ... -> resting -> ... -> tail
  //   `rested` slots
  struct Queue {
    SlotIndex head = kEnd;
    SlotIndex tail = kEnd;
    SlotIndex resting = kEnd;  // none
    uint32_t rested = 0;
  };
  void push_back(SlotIndex slot);
  [[nodiscard]] bool has_rested(SlotIndex slot, uint32_t now, uint32_t quarantine) const {
    return !slots_[slot].used || uses_[slot].seconds_free(now) >= quarantine;
  }
  // The first of the queue has rested, if there is one.
  [[nodiscard]] bool ready(const Queue& queue, uint32_t now, uint32_t quarantine) const {
    if (queue.head == kEnd) return false;
    return has_rested(queue.head, now, quarantine);
  }

  Map map_;
  uint32_t in_use_ = 0;
  uint32_t capacity_ = 0;
  Queue preferred_;
  Queue others_;
  std::pmr::vector<Use> uses_;
  std::vector<Slot> slots_;
};

}  // namespace mqlb::flow
