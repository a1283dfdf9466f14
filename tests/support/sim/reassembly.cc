#include "tests/support/sim/reassembly.hh"

#include <algorithm>

namespace mqlb::sim {

base::Bytes ReceiveQueue::insert(uint64_t offset, base::Bytes bytes) {
  if (offset < next_) bytes = bytes.subspan(std::min<uint64_t>(next_ - offset, bytes.size()));
  offset = std::max(offset, next_);
  if (bytes.empty()) return {};
  if (offset > next_) {
    early_.add(offset, offset + bytes.size());
    auto& piece = pieces_[offset];
    if (piece.size() < bytes.size()) piece.assign(bytes.begin(), bytes.end());
    return {};
  }
  const uint64_t start = next_;
  ready_.insert(ready_.end(), bytes.begin(), bytes.end());
  next_ += bytes.size();
  while (!pieces_.empty() && pieces_.begin()->first <= next_) {
    const auto& [from, piece] = *pieces_.begin();
    const uint64_t known = next_ - from;
    if (known < piece.size()) {
      ready_.insert(ready_.end(), piece.begin() + static_cast<ptrdiff_t>(known), piece.end());
      next_ += piece.size() - known;
    }
    pieces_.erase(pieces_.begin());
  }
  early_.remove_below(next_);
  return base::Bytes(ready_).last(next_ - start);
}

void ReceiveQueue::read(size_t most, std::vector<uint8_t>& out) {
  const size_t n = std::min(most, readable());
  const auto first = ready_.begin() + static_cast<ptrdiff_t>(read_);
  out.insert(out.end(), first, first + static_cast<ptrdiff_t>(n));
  read_ += n;
  if (read_ == ready_.size()) {
    ready_.clear();
    read_ = 0;
  } else if (read_ > 65536 && read_ * 2 > ready_.size()) {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<ptrdiff_t>(read_));
    read_ = 0;
  }
}

bool ReceiveQueue::has(uint64_t from, uint64_t to) const {
  return to <= next_ || early_.contains(std::max(from, next_), to);
}

}  // namespace mqlb::sim
