// What the limits of listeners count, for all workers together, so that a limit holds exactly
// however many they are. Touched when a connection begins and when it ends, never in between.
//
// A source is known by a keyed hash over the listener, the number of bits and these bits of the
// address: nobody outside can choose where it lies. The number of bits is part of it, so a change
// of it begins new counts, and flows that were counted under another give back what they took.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "lib/admission/rate_cell.hh"
#include "lib/admission/recent_ids.hh"
#include "lib/admission/source_table.hh"
#include "lib/base/cache_line.hh"
#include "lib/base/result.hh"
#include "lib/config/snapshot.hh"
#include "lib/tcp/syn_cookie.hh"

namespace mqlb::engine {

// Of one listener.
struct alignas(base::kCacheLine) Gate {
  std::atomic<uint32_t> connections{0};
  admission::RateCell rate;

  // False, and nothing is counted, if there are `most` already; 0: any number.
  [[nodiscard]] bool try_add(uint32_t most) {
    const uint32_t before = connections.fetch_add(1, std::memory_order_relaxed);
    if (most == 0 || before < most) return true;
    subtract();
    return false;
  }
  void subtract() { connections.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] bool is_full(uint32_t most) const {
    return most != 0 && connections.load(std::memory_order_relaxed) >= most;
  }
};

class Gates {
 public:
  // Control, before cores read the snapshot: makes the tables of sources and of Client IDs when a
  // limit first needs them. flows: that all workers have room for. Without memory for them nothing
  // changes.
  [[nodiscard]] base::Result<void> adopt(const config::Snapshot& snapshot,
                                         const tcp::Secret& secret, uint64_t flows);

  [[nodiscard]] Gate& operator[](config::ListenerId id) { return gates_[id]; }
  // With a limit of sources in a snapshot that was adopted.
  [[nodiscard]] admission::SourceTable& sources() { return *sources_; }
  // A CONNECT by this ID, with a rate in a snapshot that was adopted: counted, uncounted or
  // too_fast; leave() does not follow. Listeners with the same rate and pool limit an ID together.
  [[nodiscard]] admission::Verdict count(uint64_t client_id, const admission::Rate& rate,
                                         base::Instant now);
  [[nodiscard]] uint64_t source(config::ListenerId listener, const wire::IpAddress& address,
                                uint8_t bits) const;
  // One ID of a pool's clients, whichever listener they come by: its brokers know it as one
  // session. hash: of the ID under the pool's seed. What the mix adds is that nobody outside can
  // choose where in the tables it lies.
  [[nodiscard]] uint64_t client_id(config::PoolId pool, uint64_t hash) const;
  // Which IDs connected lately.
  [[nodiscard]] admission::RecentIds& recent_ids() { return *recent_ids_; }

 private:
  static constexpr uint64_t kFewestIds = 1U << 14;
  static constexpr uint64_t kMostIds = 1U << 20;  // 8 MB

  void derive_keys(const tcp::Secret& secret);

  // Published to cores with the snapshot that needs them.
  std::unique_ptr<admission::SourceTable> sources_;
  std::unique_ptr<admission::SourceTable> client_ids_;
  std::unique_ptr<admission::RecentIds> recent_ids_ =
      std::make_unique<admission::RecentIds>(kFewestIds);
  std::array<uint8_t, 16> key_{};
  uint64_t id_seed_ = 0;
  bool has_keys_ = false;
  std::array<Gate, config::kMaxListeners> gates_;
};

}  // namespace mqlb::engine
