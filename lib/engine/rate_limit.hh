// A token bucket for answers that a flood could provoke.
#pragma once

#include <algorithm>
#include <cstdint>

#include "lib/base/time.hh"

namespace mqlb::engine {

class TokenBucket {
 public:
  // rate: tokens a second, 0: none at all; the bucket holds a tenth of a second's worth, at
  // least 8.
  void set_rate(uint32_t rate) {
    rate_ = rate;
    burst_ = rate == 0 ? 0 : std::max<int64_t>(8, rate / 10) * kToken;
    level_ = std::min(level_, burst_);
  }

  [[nodiscard]] bool take(base::Instant now) {
    // A microsecond brings `rate` millionths of a token.
    const int64_t elapsed = std::min<int64_t>((now - last_).count(), 1'000'000);
    last_ = now;
    level_ = std::min(burst_, level_ + elapsed * rate_);
    if (level_ < kToken) return false;
    level_ -= kToken;
    return true;
  }

 private:
  static constexpr int64_t kToken = 1'000'000;
  int64_t rate_ = 0;
  int64_t burst_ = 0;
  int64_t level_ = 0;
  base::Instant last_{};
};

}  // namespace mqlb::engine
