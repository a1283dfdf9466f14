#include "lib/control/snat_watch.hh"

#include <algorithm>
#include <utility>

namespace mqlb::control {

namespace {

constexpr uint64_t kWarnPercent = 80;
constexpr uint64_t kCalmPercent = 70;

}  // namespace

void SnatWatch::look(const config::Snapshot& snapshot, std::span<const Use> uses) {
  std::map<Key, std::map<unsigned, Sum>> by_address;
  for (const Use& use : uses) {
    Sum& sum = by_address[{use.snat, use.broker}][use.core];
    sum.used += use.used;
    sum.ports += use.ports;
  }
  std::map<Key, bool> before = std::exchange(warned_, {});
  for (const config::PoolEntry& pool : snapshot.pools) {
    if (pool.retired || pool.snats.empty()) continue;
    for (const config::BackendId id : pool.backends) {
      const Key key{pool.snats.front(), snapshot.backends[id].endpoint};
      if (warned_.contains(key)) continue;  // another pool's, too
      warned_[key] = before[key];
      std::map<unsigned, Sum> cores;
      for (const config::SnatId snat : pool.snats) {
        const auto found = by_address.find({snat, key.second});
        if (found == by_address.end()) continue;
        for (const auto& [core, sum] : found->second) {
          cores[core].used += sum.used;
          cores[core].ports += sum.ports;
        }
      }
      if (cores.empty()) continue;
      const auto fullest = std::ranges::max_element(
          cores, {}, [](const auto& core) { return core.second.percent(); });
      judge(key, fullest->second, cores.size() > 1);
    }
  }
}

void SnatWatch::judge(const Key& key, const Sum& fullest, bool of_several) {
  bool& warned = warned_[key];
  if (warned ? fullest.percent() >= kCalmPercent : fullest.percent() < kWarnPercent) return;
  warned = !warned;
  const std::string numbers = std::to_string(fullest.used) + " of " +
                              std::to_string(fullest.ports) + " SNAT ports toward " +
                              to_string(key.second) + " are in use or in quarantine" +
                              (of_several ? " on one core" : "");
  log_(warned ? numbers + ": add addresses before they run out" : numbers + ": enough again");
}

}  // namespace mqlb::control
