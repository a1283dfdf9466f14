// What the parts of one data core share, and the little that all cores share.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "lib/base/cache_line.hh"
#include "lib/base/counters.hh"
#include "lib/engine/addresses.hh"
#include "lib/engine/backend_status.hh"
#include "lib/engine/frame.hh"
#include "lib/engine/gates.hh"
#include "lib/engine/message.hh"
#include "lib/engine/rate_limit.hh"
#include "lib/flow/steering.hh"

namespace mqlb::engine {

// Link addresses of next hops. Written by the control thread, read by all cores.
class alignas(base::kCacheLine) NeighbourTable {
 public:
  // False while the next hop is not resolved.
  [[nodiscard]] bool lookup(config::NextHopId id, wire::MacAddress& out) const {
    const uint64_t word = entries_[id].load(std::memory_order_relaxed);
    out = wire::MacAddress::from_bits(word);
    return (word & kResolved) != 0;
  }
  void set(config::NextHopId id, const wire::MacAddress& mac) {
    entries_[id].store(kResolved | mac.bits(), std::memory_order_relaxed);
  }
  void clear(config::NextHopId id) { entries_[id].store(0, std::memory_order_relaxed); }

 private:
  static constexpr uint64_t kResolved = uint64_t{1} << 63;
  std::array<std::atomic<uint64_t>, config::kMaxNextHops> entries_{};
};

// What the SYN-ACK of a backend said last, so that clients are not promised more. Written by
// proxies and by control for its health checks, read by workers about once a second.
struct LearntOptions {
  bool known = false;
  uint16_t mss = 0;
  bool sack = false;
  bool timestamps = false;
};

class alignas(base::kCacheLine) LearntTable {
 public:
  [[nodiscard]] LearntOptions lookup(config::BackendId id) const {
    const uint32_t word = entries_[id].load(std::memory_order_relaxed);
    return {(word & 1U) != 0, static_cast<uint16_t>(word >> 16), (word & 2U) != 0,
            (word & 4U) != 0};
  }
  void set(config::BackendId id, uint16_t mss, bool sack, bool timestamps) {
    const uint32_t word = uint32_t{mss} << 16 | (timestamps ? 4U : 0U) | (sack ? 2U : 0U) | 1U;
    if (entries_[id].load(std::memory_order_relaxed) != word) {
      entries_[id].store(word, std::memory_order_relaxed);
    }
  }

  // Control: an id that is not in use may come to mean another backend.
  void forget_retired(const config::Snapshot& snapshot) {
    for (size_t id = 0; id < snapshot.backends.size(); ++id) {
      if (snapshot.backends[id].retired) entries_[id].store(0, std::memory_order_relaxed);
    }
  }

 private:
  std::array<std::atomic<uint32_t>, config::kMaxBackends> entries_{};
};

// The same for all cores, made before they start.
struct Shared {
  std::array<wire::MacAddress, config::kMaxPorts> port_macs{};
  NeighbourTable neighbours;
  LearntTable learnt;
  BackendStatusTable status;
  BackendLoads loads;
  Gates gates;
  tcp::Secret secret{};
  uint64_t boot_id = 0;            // random; begins each PROXY protocol UNIQUE_ID
  uint32_t random = 0;             // seeds for tables
  std::vector<CoreIndex> workers;  // cores with the role, in order
  std::vector<CoreIndex> proxies;
  // Where ports bring what clients send to listeners, and what brokers send to SNAT addresses; not
  // known if no port of the side can be programmed.
  flow::Steering from_clients;
  flow::Steering from_brokers;
};

// Per-core accounts of configured objects, indexed by id. A worker's and a proxy's on one core add
// to the same.
struct BackendCounters {
  base::Counter flows;  // now
  base::Counter selected, established, failures;
  base::Counter faults;  // those of the failures that say that the backend is in trouble
  base::Counter bytes_to_backend, bytes_to_client;
};
struct ListenerCounters {
  base::Counter flows;  // now
  base::Counter accepted, spliced, refused;
  // Segments turned away: by the lists, by the listener's limits, by those of sources.
  base::Counter denied, over_limit, over_source_limit;
  base::Counter over_client_id_rate;  // clients
};
struct alignas(base::kCacheLine) ObjectCounters {
  std::array<BackendCounters, config::kMaxBackends> backends;
  std::array<ListenerCounters, config::kMaxListeners> listeners;
  std::array<base::Counter, config::kMaxSnats> snats;  // ports taken now
};

// Delivers messages to other cores.
class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // False if the queue is full.
  virtual bool send(const Message& message) = 0;
  // A frame for the core that owns its flow; takes it in any case, false if it had to be dropped.
  virtual bool hand_over(CoreIndex to, const Frame& frame) = 0;
  // ARP, or a segment of a health check, for the control thread; takes it in any case.
  virtual void to_control(const Frame& frame) = 0;
};

// What of a backend and of a port each spliced packet asks for.
struct BackendSide {
  wire::Endpoint endpoint;
  config::NextHopId next_hop = 0;
  config::PortId port = 0;
  bool is_v6 = false;
};
struct PortSide {
  wire::MacAddress mac;
  uint16_t longest = 0;  // bytes of a frame that may go out
};

struct CoreContext {
  CoreContext(CoreIndex core, Shared& common, FrameIo& io, MessageSink& message_sink)
      : index(core), shared(common), sink(message_sink), output(io, counters) {}

  CoreIndex index;
  Shared& shared;
  MessageSink& sink;
  base::CoreCounters counters;
  std::unique_ptr<ObjectCounters> objects = std::make_unique<ObjectCounters>();
  Output output;
  const config::Snapshot* snapshot = nullptr;
  Addresses addresses;
  std::vector<BackendSide> backends;  // by id, from the snapshot
  std::array<PortSide, config::kMaxPorts> ports{};
  base::Instant now{};
  uint32_t now_seconds = 0;
  TokenBucket rst_bucket;
};
static_assert(base::kOwnsItsLines<CoreContext> && base::kOwnsItsLines<ObjectCounters>);

}  // namespace mqlb::engine
