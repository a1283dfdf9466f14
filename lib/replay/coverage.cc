#include "lib/replay/coverage.hh"

#include <algorithm>
#include <iterator>

namespace mqlb::replay {

void Coverage::add(Range range, std::vector<Range>& added) {
  if (range.begin >= range.end) return;
  auto it = ranges_.upper_bound(range.begin);
  if (it != ranges_.begin() && std::prev(it)->second >= range.begin) --it;
  Range merged = range;
  int64_t new_from = range.begin;
  while (it != ranges_.end() && it->first <= range.end) {
    if (new_from < it->first) added.push_back({new_from, it->first});
    new_from = std::max(new_from, it->second);
    merged = {std::min(merged.begin, it->first), std::max(merged.end, it->second)};
    it = ranges_.erase(it);
  }
  if (new_from < range.end) added.push_back({new_from, range.end});
  ranges_.emplace_hint(it, merged.begin, merged.end);
}

int64_t Coverage::end_of_cover(int64_t begin) const {
  const auto it = ranges_.upper_bound(begin);
  if (it == ranges_.begin()) return begin;
  return std::max(begin, std::prev(it)->second);
}

}  // namespace mqlb::replay
