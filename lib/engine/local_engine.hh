// The whole balancer in one thread, on frames in memory: for tests and offline replay.
//
// The same cores, resolver and messages as in the daemon, with queues that are vectors and a clock
// that the caller moves. Deterministic: the same calls give the same frames.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "lib/engine/core.hh"
#include "lib/engine/neighbour_resolver.hh"

namespace mqlb::engine {

struct LocalEngineOptions {
  std::vector<config::CoreRole> cores{config::CoreRole::both};
  tcp::Secret secret{};
  uint64_t boot_id = 1;
  uint32_t random = 1;
  size_t buffers = 65536;  // frames that may be in use at once
  uint16_t buffer_size = 2048;
  flow::Steering from_clients;
  flow::Steering from_brokers;
  // Sees what cores pass on to control: ARP, segments of health checks.
  std::function<void(config::PortId, base::MutableBytes, base::Instant)> control;
};

class LocalEngine {
 public:
  // Sends a frame out of a port; the bytes are the receiver's only during the call.
  using Emit = std::function<void(config::PortId, base::Bytes)>;

  // macs: of the snapshot's ports, in order. The EAL is initialised (flow tables need it).
  [[nodiscard]] static base::Result<std::unique_ptr<LocalEngine>> create(
      std::unique_ptr<const config::Snapshot> snapshot, std::vector<wire::MacAddress> macs,
      const LocalEngineOptions& options, Emit emit, base::Instant now);
  ~LocalEngine();

  // One frame in, and all that follows from it at once. With several cores, `to` says which one the
  // port hands it to.
  void receive(config::PortId port, base::Bytes frame, base::Instant now, size_t to = 0);
  // Timers; call it at least each millisecond of the clock while there is traffic.
  void advance(base::Instant now);
  // On failure nothing changes.
  [[nodiscard]] base::Result<void> adopt(std::unique_ptr<const config::Snapshot> snapshot,
                                         base::Instant now);

  [[nodiscard]] const config::Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] Core& core(size_t index) { return *cores_[index]; }
  [[nodiscard]] size_t core_count() const { return cores_.size(); }
  [[nodiscard]] Shared& shared() { return shared_; }
  // Sums over cores.
  [[nodiscard]] uint64_t count(base::Drop reason) const;
  [[nodiscard]] uint64_t count(base::End reason) const;
  [[nodiscard]] uint64_t count(base::Event event) const;
  // Buffers that are held by flows or queues.
  [[nodiscard]] size_t buffers_in_use() const;

 private:
  class Buffers;
  class Sink;

  LocalEngine(Emit emit, const LocalEngineOptions& options);
  void settle();
  [[nodiscard]] uint64_t all_flows() const {
    return uint64_t{snapshot_->settings.max_flows} * shared_.workers.size();
  }

  Emit emit_;
  std::function<void(config::PortId, base::MutableBytes, base::Instant)> control_;
  Shared shared_;
  std::unique_ptr<const config::Snapshot> snapshot_;
  std::unique_ptr<Buffers> buffers_;
  std::unique_ptr<Sink> sink_;
  std::unique_ptr<NeighbourResolver> resolver_;
  std::vector<std::unique_ptr<Core>> cores_;
  base::Instant now_{};
};

}  // namespace mqlb::engine
