// Which parts of a stream were seen: disjoint ranges, kept in order.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

namespace mqlb::replay {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
};

class Coverage {
 public:
  // The parts of [begin, end) that were not covered before go to the end of `added`.
  void add(Range range, std::vector<Range>& added);
  // Where the cover that begins at `begin` ends; `begin` if there is none.
  [[nodiscard]] int64_t end_of_cover(int64_t begin) const;

 private:
  std::map<int64_t, int64_t> ranges_;  // begin to end
};

}  // namespace mqlb::replay
