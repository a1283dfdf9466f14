// A plain layer-4 full NAT over the same tables, as the price to compare with. It parses, looks up,
// rewrites addresses and ports and corrects the checksum; like every NAT that can be used it keeps
// to the MTU, counts packets and bytes, stamps flows for their idle timeout and notes FIN and RST.
// What it has not is the splice: no sequence numbers, no options, no progress of the bytes, nobody
// who comes from another link address.
//
// Same frames, same flow tables, same bursts as the engine, so that the difference is the splice.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "app/mqlb-bench/fleet.hh"
#include "lib/base/huge_pages.hh"
#include "lib/engine/arrival.hh"
#include "lib/flow/proxy_table.hh"
#include "lib/flow/worker_table.hh"

namespace mqlb::bench {

class Nat {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Nat>> create(Rig& rig, uint32_t max_flows);

  // The same translation as the engine's flow i has.
  [[nodiscard]] bool add(const wire::Endpoint& client, const Flow& flow);
  // Takes the frames. Returns the cycles that took.
  uint64_t run(std::span<const engine::Frame> frames);
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  Nat(Rig& rig, flow::WorkerTable flows, flow::ProxyTable back)
      : rig_(rig), flows_(std::move(flows)), back_(std::move(back)), output_(rig.io(), counters_) {}

  void seek_broker(engine::Arrival& arrival);
  void seek_client(engine::Arrival& arrival);
  void to_brokers(std::span<engine::Arrival> arrivals);
  void to_clients(std::span<engine::Arrival> arrivals);
  [[nodiscard]] size_t use_of(config::SnatId snat, uint16_t broker, uint16_t port) const {
    return (size_t{snat} * rig_.snapshot().backends.size() + broker) << 16 | port;
  }
  void drop(const engine::Frame& frame) {
    ++dropped_;
    output_.release(frame);
  }

  Rig& rig_;
  flow::WorkerTable flows_;
  flow::ProxyTable back_;
  // Where the way back is: by SNAT address, broker and port.
  base::HugePages port_memory_;
  std::pmr::vector<flow::SnatPorts::Use> uses_{&port_memory_};
  std::array<engine::Arrival, kBurst> arrivals_;
  base::CoreCounters counters_;
  std::array<engine::BackendCounters, config::kMaxBackends> backends_;
  engine::Output output_;
  uint64_t dropped_ = 0;
};

}  // namespace mqlb::bench
