// Puts the first bytes of a connection in order, while nobody else can take them.
//
// Bytes are addressed by their offset from the first sequence number. Out-of-order and repeated
// segments are welcome; what is contiguous never changes again. Memory is taken as needed up to
// `limit` bytes. Owner: the worker of the connection.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lib/base/bytes.hh"

namespace mqlb::tcp {

class Reassembly {
 public:
  explicit Reassembly(uint32_t limit) : limit_(limit) {}

  // Takes the part of `data` below the limit. False if nothing of it could be kept for want of room
  // (a gap too many, or all at or over the limit); the peer will repeat it.
  bool insert(uint32_t offset, base::Bytes data);

  // The bytes from offset 0 up to the first gap.
  [[nodiscard]] base::Bytes contiguous() const { return {bytes_.data(), contiguous_}; }
  [[nodiscard]] uint32_t limit() const { return limit_; }
  // Bytes of memory held.
  [[nodiscard]] size_t memory() const { return bytes_.capacity(); }

 private:
  struct Range {
    uint32_t begin = 0;
    uint32_t end = 0;
  };
  static constexpr size_t kMaxRanges = 8;

  bool add_range(Range added);
  void absorb_ranges();

  uint32_t limit_;
  uint32_t contiguous_ = 0;
  size_t range_count_ = 0;
  std::array<Range, kMaxRanges> ranges_{};  // beyond the first gap, disjoint, unordered
  std::vector<uint8_t> bytes_;
};

}  // namespace mqlb::tcp
