// Which Client IDs connect most, of all workers.
#include <algorithm>

#include "app/mqlb/daemon.hh"

namespace mqlb::app {
namespace {

using admission::ClientIdWatch;

// Fit for a terminal: what is no printable ASCII, or a backslash, as \xNN.
std::string printable(const ClientIdWatch::Row& row) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : row.client_id) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte < 0x7f && c != '\\') {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return row.length > row.client_id.size() ? text + "..." : text;
}

std::string source(const ClientIdWatch::Row& row, size_t i) {
  return i < row.sources.size() ? wire::to_string(row.sources[i]) : "";
}

}  // namespace

// Each core looks at a slice of its table between bursts, so packets do not wait.
std::vector<cli::ClientIdRow> Daemon::client_ids() {
  constexpr size_t kSlice = 128;
  constexpr size_t kMost = 100;
  const uint32_t now = base::to_seconds(clock_.now());
  std::vector<ClientIdWatch::Row> seen;
  for (DataCore& core : cores_) {
    size_t next = 0;
    core.loop->perform([&](engine::Core& c) {
      if (c.worker() == nullptr) return true;
      const ClientIdWatch& watch = c.worker()->client_ids();
      watch.list(next, kSlice, now, seen);
      next += kSlice;
      return next >= watch.bucket_count();
    });
  }
  ClientIdWatch::merge(seen);
  std::vector<cli::ClientIdRow> rows;
  for (const ClientIdWatch::Row& s : seen) {
    if (rows.size() == kMost) break;
    cli::ClientIdRow row;
    row.listener = snapshot_->listeners[s.listener].name;
    row.client_id = printable(s);
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
