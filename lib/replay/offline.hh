// Replay against the engine itself, in one thread on a virtual clock.
//
//   Session --Wire--> LocalEngine --Wire--> Session
//
// Everything is decided by the capture, the configuration and the seed: the same arguments give the
// same frames and counters on any machine. The EAL is initialised (flow tables need it).
#pragma once

#include <functional>
#include <vector>

#include "lib/base/counters.hh"
#include "lib/base/reason.hh"
#include "lib/config/model.hh"
#include "lib/pcap/writer.hh"
#include "lib/replay/faults.hh"
#include "lib/replay/session.hh"

namespace mqlb::replay {

struct OfflineResult {
  std::vector<Row> rows;  // as the plan
  std::array<uint64_t, static_cast<size_t>(base::Drop::count_)> drops{};
  std::array<uint64_t, static_cast<size_t>(base::End::count_)> ends{};
  std::array<uint64_t, static_cast<size_t>(base::Event::count_)> events{};
  base::Duration virtual_time{};
  uint64_t frames_in = 0;  // of the balancer's ports
  uint64_t frames_out = 0;
};

// Told how many connections have ended, now and then.
using Progress = std::function<void(size_t ended)>;

// model: valid. output: both sides of the balancer, with interfaces in the order of the ports;
// null: none.
[[nodiscard]] base::Result<OfflineResult> play_offline(
    const Capture& capture, const std::vector<Planned>& plan, const PlayOptions& options,
    const WireFaults& faults, const config::Model& model, pcap::Writer* output,
    const Progress& progress);

}  // namespace mqlb::replay
