// Sets of half-open ranges [from, to) of stream offsets, kept disjoint and merged.
//
// Used for the data a receiver holds beyond a hole and for what a sender knows as SACKed.
#pragma once

#include <cstdint>
#include <limits>
#include <map>

namespace mqlb::sim {

class IntervalSet {
 public:
  void add(uint64_t from, uint64_t to);
  void remove_below(uint64_t limit);
  void clear() { ranges_.clear(); }

  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] bool contains(uint64_t from, uint64_t to) const;
  // How many numbers of the set are below the limit.
  [[nodiscard]] uint64_t covered_below(uint64_t limit) const;
  // The end of the range that holds x, or x itself.
  [[nodiscard]] uint64_t past(uint64_t x) const;
  // The first start of a range at or after x; the largest number when there is none.
  [[nodiscard]] uint64_t next_start(uint64_t x) const;
  // One past the largest number; 0 when empty.
  [[nodiscard]] uint64_t end() const { return ranges_.empty() ? 0 : ranges_.rbegin()->second; }
  // Start to end.
  [[nodiscard]] const std::map<uint64_t, uint64_t>& ranges() const { return ranges_; }

 private:
  std::map<uint64_t, uint64_t> ranges_;
};

}  // namespace mqlb::sim
