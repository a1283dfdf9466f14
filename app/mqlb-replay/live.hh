// Replay against whatever is at the other end of DPDK ports. The EAL is initialised with them.
#pragma once

#include "app/mqlb-replay/arguments.hh"
#include "lib/replay/offline.hh"

namespace mqlb::app {

// Runs in the calling thread until all clients have ended, or SIGINT or SIGTERM comes.
[[nodiscard]] base::Result<replay::OfflineResult> play_live(
    const Arguments& arguments, const replay::Capture& capture,
    const std::vector<replay::Planned>& plan, const replay::Progress& progress);

}  // namespace mqlb::app
