// Which Client IDs connect most, of all workers.
#include <algorithm>

#include "app/mqlb/daemon.hh"

namespace mqlb::app {
namespace {

using admission::ClientIdWatch;

std::string source(const ClientIdWatch::Row& row, size_t i) {
  return i < row.sources.size() ? wire::to_string(row.sources[i]) : "";
}

}  // namespace

// Each core looks at a slice of its table between bursts, so packets do not wait.
std::vector<ClientIdWatch::Row> Daemon::watched_client_ids(ClientIdWatch::Which which) {
  constexpr size_t kSlice = 128;
  const uint32_t now = base::to_seconds(clock_.now());
  std::vector<ClientIdWatch::Row> seen;
  for (DataCore& core : cores_) {
    size_t next = 0;
    core.loop->perform([&](engine::Core& c) {
      if (c.worker() == nullptr) return true;
      const ClientIdWatch& watch = c.worker()->client_ids();
      watch.list(next, kSlice, now, seen, which);
      next += kSlice;
      return next >= watch.bucket_count();
    });
  }
  ClientIdWatch::merge(seen);
  return seen;
}

std::vector<cli::ClientIdRow> Daemon::client_ids() {
  constexpr size_t kMost = 100;
  const uint32_t now = base::to_seconds(clock_.now());
  std::vector<cli::ClientIdRow> rows;
  for (const ClientIdWatch::Row& s : watched_client_ids(ClientIdWatch::Which::all)) {
    if (rows.size() == kMost) break;
    cli::ClientIdRow row;
    row.listener = snapshot_->listeners[s.listener].name;
    row.client_id = s.printable();
    row.state = s.is_fight() ? "fight" : s.refused > 0 ? "refused" : "busy";
    row.connects = s.connects;
    row.switches = s.switches;
    row.refused = s.refused;
    row.sources = s.sources.size();
    row.last_source = source(s, 0);
    row.other_source = source(s, 1);
    row.since_seconds = now - std::min(now, s.since);
    row.ago_seconds = now - std::min(now, s.last);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace mqlb::app
