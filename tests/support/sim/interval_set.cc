#include "tests/support/sim/interval_set.hh"

#include <algorithm>
#include <iterator>

namespace mqlb::sim {

void IntervalSet::add(uint64_t from, uint64_t to) {
  if (from >= to) return;
  auto it = ranges_.upper_bound(from);
  if (it != ranges_.begin() && std::prev(it)->second >= from) --it;
  while (it != ranges_.end() && it->first <= to) {
    from = std::min(from, it->first);
    to = std::max(to, it->second);
    it = ranges_.erase(it);
  }
  ranges_.emplace_hint(it, from, to);
}

void IntervalSet::remove_below(uint64_t limit) {
  while (!ranges_.empty() && ranges_.begin()->first < limit) {
    const uint64_t to = ranges_.begin()->second;
    ranges_.erase(ranges_.begin());
    if (to > limit) ranges_.emplace(limit, to);
  }
}

bool IntervalSet::contains(uint64_t from, uint64_t to) const {
  return from >= to || past(from) >= to;
}

uint64_t IntervalSet::covered_below(uint64_t limit) const {
  uint64_t sum = 0;
  for (const auto& [from, to] : ranges_) {
    if (from >= limit) break;
    sum += std::min(to, limit) - from;
  }
  return sum;
}

uint64_t IntervalSet::past(uint64_t x) const {
  const auto it = ranges_.upper_bound(x);
  if (it == ranges_.begin()) return x;
  return std::max(x, std::prev(it)->second);
}

uint64_t IntervalSet::next_start(uint64_t x) const {
  const auto it = ranges_.lower_bound(x);
  return it == ranges_.end() ? std::numeric_limits<uint64_t>::max() : it->first;
}

}  // namespace mqlb::sim
