// What proxies must know of a backend for each new client, beyond the configuration: whether it
// takes new clients, and how many it has.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lib/base/cache_line.hh"
#include "lib/config/snapshot.hh"

namespace mqlb::engine {

// failing: connections to it failed lately; it is asked when no other takes a client, even before
// one that drains. One in maintenance or down is never asked.
enum class Availability : uint8_t { up, failing, drain, maintenance, down };

struct BackendStatus {
  Availability availability = Availability::up;
  uint16_t withheld = 0;    // of 65,536ths of its clients, in slow start
  uint32_t load_limit = 0;  // flows above which it passes clients on, from the load factor; 0: none
  bool fresh = false;       // added, and did not have all of its clients yet
};

// Written by the control thread. What nobody set takes all clients.
class alignas(base::kCacheLine) BackendStatusTable {
 public:
  [[nodiscard]] BackendStatus lookup(config::BackendId id) const {
    const uint64_t word = entries_[id].load(std::memory_order_relaxed);
    return {static_cast<Availability>(word & 0xff), static_cast<uint16_t>(word >> 16),
            static_cast<uint32_t>(word >> 32), (word >> 8 & 1) != 0};
  }
  void set(config::BackendId id, const BackendStatus& status) {
    const uint64_t word = static_cast<uint64_t>(status.availability) | uint64_t{status.fresh} << 8 |
                          uint64_t{status.withheld} << 16 | uint64_t{status.load_limit} << 32;
    if (entries_[id].load(std::memory_order_relaxed) != word) {
      entries_[id].store(word, std::memory_order_relaxed);
    }
  }

 private:
  std::array<std::atomic<uint64_t>, config::kMaxBackends> entries_{};
};

// Flows of each backend over all cores, those that are being opened included. Written by proxies
// when a flow begins and ends, so a limit holds exactly however many they are.
class BackendLoads {
 public:
  [[nodiscard]] uint32_t lookup(config::BackendId id) const {
    return loads_[id].flows.load(std::memory_order_relaxed);
  }
  // False, and nothing is counted, if there are `most` already; 0: any number.
  [[nodiscard]] bool try_add(config::BackendId id, uint32_t most) {
    std::atomic<uint32_t>& flows = loads_[id].flows;
    const uint32_t before = flows.fetch_add(1, std::memory_order_relaxed);
    if (most == 0 || before < most) return true;
    flows.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void subtract(config::BackendId id) { loads_[id].flows.fetch_sub(1, std::memory_order_relaxed); }

 private:
  struct alignas(base::kCacheLine) Load {
    std::atomic<uint32_t> flows{0};
  };
  std::array<Load, config::kMaxBackends> loads_{};
};

}  // namespace mqlb::engine
