// Which sources listeners turn away, of all workers.
#include <algorithm>

#include "app/mqlb/daemon.hh"

namespace mqlb::app {
namespace {

using admission::Refused;
using admission::RefusedSources;

const char* text(Refused reason) {
  switch (reason) {
    case Refused::denied:
      return "denied";
    case Refused::full:
      return "full";
    case Refused::rate:
      return "rate";
  }
  return "";
}

}  // namespace

// Each core looks at a slice of its table between bursts, so packets do not wait.
std::vector<cli::SourceRow> Daemon::sources() {
  constexpr size_t kSlice = 16;
  const uint32_t now = base::to_seconds(clock_.now());
  std::vector<RefusedSources::Row> seen;
  for (DataCore& core : cores_) {
    size_t next = 0;
    core.loop->perform([&](engine::Core& c) {
      if (c.worker() == nullptr) return true;
      const RefusedSources& refused = c.worker()->refused_sources();
      refused.list(next, kSlice, now, seen);
      next += kSlice;
      return next >= refused.bucket_count();
    });
  }
  RefusedSources::merge(seen);
  std::vector<cli::SourceRow> rows;
  for (const RefusedSources::Row& s : seen) {
    const config::ListenerEntry& listener = snapshot_->listeners[s.listener];
    cli::SourceRow row;
    row.listener = listener.name;
    row.source = to_string(s.network);
    row.reason = text(s.reason);
    row.denied = s.count(Refused::denied);
    row.full = s.count(Refused::full);
    row.rate = s.count(Refused::rate);
    row.last_minute = s.last_minute;
    if (listener.admission.counts_sources()) {
      engine::Gates& gates = shared_.gates;
      row.connections = gates.sources().connections(
          gates.source(s.listener, s.network.address, s.network.length));
    }
    row.since_seconds = now - std::min(now, s.since);
    row.ago_seconds = now - std::min(now, s.last);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace mqlb::app
