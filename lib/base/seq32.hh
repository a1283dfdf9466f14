// TCP sequence numbers (RFC 9293 section 3.4): points on a circle of 2^32.
//
// Two points have a signed distance, not an order: a - b is an int32_t, and there is deliberately
// no operator<. The named functions are total: every pair of values has an answer.
#pragma once

#include <cstdint>

namespace mqlb::base {

class Seq32 {
 public:
  constexpr Seq32() = default;
  explicit constexpr Seq32(uint32_t raw) : raw_(raw) {}

  [[nodiscard]] constexpr uint32_t raw() const { return raw_; }
  // True if this point comes before the other, seen over the shorter way round.
  [[nodiscard]] constexpr bool before(Seq32 other) const { return distance(other) < 0; }
  [[nodiscard]] constexpr bool after(Seq32 other) const { return distance(other) > 0; }
  // True if this is one of the `size` numbers that begin at `start`.
  [[nodiscard]] constexpr bool in_window(Seq32 start, uint32_t size) const {
    return raw_ - start.raw_ < size;
  }

  friend constexpr bool operator==(Seq32, Seq32) = default;
  friend constexpr Seq32 operator+(Seq32 a, uint32_t n) { return Seq32(a.raw_ + n); }
  friend constexpr Seq32 operator-(Seq32 a, uint32_t n) { return Seq32(a.raw_ - n); }
  friend constexpr int32_t operator-(Seq32 a, Seq32 b) { return a.distance(b); }
  constexpr Seq32& operator+=(uint32_t n) {
    raw_ += n;
    return *this;
  }

 private:
  [[nodiscard]] constexpr int32_t distance(Seq32 other) const {
    return static_cast<int32_t>(raw_ - other.raw_);
  }
  uint32_t raw_ = 0;
};

[[nodiscard]] constexpr Seq32 later(Seq32 a, Seq32 b) { return a.before(b) ? b : a; }

}  // namespace mqlb::base
