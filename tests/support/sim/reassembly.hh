// The receiving half of a connection: what has arrived, in order or early, and what the
// application has not read yet. Offsets count stream bytes from 0.
//
//        read        next()            right_edge()
//   ------+-------------+--- - --- - ------+------
//   gone  |  readable   |  early ranges    |  not allowed yet
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "lib/base/bytes.hh"
#include "tests/support/sim/interval_set.hh"

namespace mqlb::sim {

class ReceiveQueue {
 public:
  // Takes what is new in these bytes. Returns the bytes that became readable by it; the view
  // lasts until the next call.
  base::Bytes insert(uint64_t offset, base::Bytes bytes);
  void set_fin(uint64_t offset) { fin_ = offset; }
  // The window's right edge never moves back (RFC 9293 section 3.8.6).
  void raise_right_edge(uint64_t offset) {
    if (offset > right_edge_) right_edge_ = offset;
  }
  // What the window field counts in, for those who judge its rounding.
  void set_window_unit(uint32_t bytes) { window_unit_ = bytes; }
  // Appends at most `most` readable bytes to `out`.
  void read(size_t most, std::vector<uint8_t>& out);

  [[nodiscard]] uint64_t next() const { return next_; }
  [[nodiscard]] size_t readable() const { return ready_.size() - read_; }
  [[nodiscard]] uint64_t right_edge() const { return right_edge_; }
  [[nodiscard]] uint32_t window_unit() const { return window_unit_; }
  [[nodiscard]] bool fin_reached() const { return fin_ && *fin_ <= next_; }
  // Has every byte of [from, to) arrived?
  [[nodiscard]] bool has(uint64_t from, uint64_t to) const;
  [[nodiscard]] const IntervalSet& early() const { return early_; }

 private:
  std::vector<uint8_t> ready_;
  size_t read_ = 0;
  uint64_t next_ = 0;
  uint64_t right_edge_ = 0;
  uint32_t window_unit_ = 1;
  std::optional<uint64_t> fin_;
  std::map<uint64_t, std::vector<uint8_t>> pieces_;
  IntervalSet early_;
};

}  // namespace mqlb::sim
