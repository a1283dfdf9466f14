#include "lib/control/snat_watch.hh"

#include <algorithm>

#include "lib/config/check.hh"

namespace mqlb::control {

namespace {

constexpr base::Duration kEach = std::chrono::seconds(1);
constexpr uint64_t kWarnPercent = 80;
constexpr uint64_t kCalmPercent = 70;

}  // namespace

// Pools that share a broker share its ports if they share SNAT addresses, as they mostly do.
void SnatWatch::advance(const config::Snapshot& snapshot, base::Instant now) {
  if (now < next_) return;
  next_ = now + kEach;
  std::map<wire::Endpoint, Use> uses;
  for (size_t i = 0; i < snapshot.backends.size(); ++i) {
    const config::BackendEntry& backend = snapshot.backends[i];
    Use& use = uses[backend.endpoint];
    use.flows += loads_.lookup(static_cast<config::BackendId>(i));
    if (!backend.retired) use.ports = std::max(use.ports, ports_toward(snapshot, backend));
  }
  std::erase_if(warned_, [&](const auto& w) { return !uses.contains(w.first); });
  for (const auto& [broker, use] : uses) {
    if (use.ports > 0) judge(broker, use);
  }
}

uint64_t SnatWatch::ports_toward(const config::Snapshot& snapshot,
                                 const config::BackendEntry& backend) {
  uint64_t ports = 0;
  for (const config::SnatId id : snapshot.pools[backend.pool].snats) {
    const config::SnatEntry& snat = snapshot.snats[id];
    if (snat.address.is_v4() != backend.endpoint.address.is_v4()) continue;
    ports += uint64_t{snat.last_port} - snat.first_port + 1 -
             config::check_port_count(snat.first_port, snat.last_port);
  }
  return ports;
}

void SnatWatch::judge(const wire::Endpoint& broker, const Use& use) {
  const uint64_t percent = use.flows * 100 / use.ports;
  bool& warned = warned_[broker];
  if (warned ? percent >= kCalmPercent : percent < kWarnPercent) return;
  warned = !warned;
  const std::string numbers = std::to_string(use.flows) + " of " + std::to_string(use.ports) +
                              " SNAT ports toward " + to_string(broker) + " are in use";
  log_(warned ? numbers + ": add addresses before they run out" : numbers + ": enough again");
}

}  // namespace mqlb::control
