#include "lib/tcp/reassembly.hh"

#include <algorithm>
#include <cstring>

namespace mqlb::tcp {

bool Reassembly::insert(uint32_t offset, base::Bytes data) {
  if (data.empty()) return true;
  if (offset >= limit_) return false;
  data = data.first(std::min<size_t>(data.size(), limit_ - offset));
  Range added{offset, offset + static_cast<uint32_t>(data.size())};
  if (added.end <= contiguous_) return true;
  if (added.begin < contiguous_) {
    data = data.subspan(contiguous_ - added.begin);
    added.begin = contiguous_;
  }
  const Range written = added;
  if (added.begin > contiguous_ && !add_range(added)) return false;
  if (bytes_.size() < written.end) {
    bytes_.reserve(std::min<size_t>(limit_, std::max<size_t>(2048, size_t{written.end} * 2)));
    bytes_.resize(written.end);
  }
  std::memcpy(bytes_.data() + written.begin, data.data(), data.size());
  if (added.begin == contiguous_) {
    contiguous_ = added.end;
    absorb_ranges();
  }
  return true;
}

// Joins `added` with the ranges it touches.
bool Reassembly::add_range(Range added) {
  for (size_t i = 0; i < range_count_;) {
    const Range& r = ranges_[i];
    if (r.end < added.begin || added.end < r.begin) {
      ++i;
      continue;
    }
    added = {std::min(added.begin, r.begin), std::max(added.end, r.end)};
    ranges_[i] = ranges_[--range_count_];
    i = 0;
  }
  if (range_count_ == kMaxRanges) return false;
  ranges_[range_count_++] = added;
  return true;
}

void Reassembly::absorb_ranges() {
  for (size_t i = 0; i < range_count_;) {
    if (ranges_[i].begin > contiguous_) {
      ++i;
      continue;
    }
    contiguous_ = std::max(contiguous_, ranges_[i].end);
    ranges_[i] = ranges_[--range_count_];
    i = 0;
  }
}

}  // namespace mqlb::tcp
