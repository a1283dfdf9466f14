// A rate limit that any number of cores share exactly: the generic cell rate algorithm, one atomic
// word. Touched for new connections only, never for packets of spliced flows.
//
// The word is the theoretical arrival time: when the bucket will be full again. A cell whose time
// has passed is the same as one that was never used, so idle cells need no upkeep.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "lib/base/time.hh"

namespace mqlb::admission {

struct Rate {
  int64_t interval = 0;   // nanoseconds that one event costs; 0: no limit
  int64_t tolerance = 0;  // nanoseconds that the arrival time may lie ahead

  // `events` in `seconds`, of which `burst` may come at once. No events: no limit.
  [[nodiscard]] static constexpr Rate per(uint32_t events, uint32_t seconds, uint32_t burst) {
    if (events == 0 || seconds == 0) return {};
    const int64_t interval = std::max<int64_t>(1, int64_t{seconds} * 1'000'000'000 / events);
    return {interval, interval * (std::max<int64_t>(burst, 1) - 1)};
  }
};

class RateCell {
 public:
  // False, and nothing is taken, above the rate.
  [[nodiscard]] bool take(const Rate& rate, base::Instant now) {
    if (rate.interval == 0) return true;
    const int64_t at = nanoseconds(now);
    int64_t due = due_.load(std::memory_order_relaxed);
    int64_t next;
    do {
      if (due - at > rate.tolerance) return false;
      next = std::max(due, at) + rate.interval;
    } while (!due_.compare_exchange_weak(due, next, std::memory_order_relaxed));
    return true;
  }
  // Whether take() would refuse.
  [[nodiscard]] bool is_over(const Rate& rate, base::Instant now) const {
    return rate.interval != 0 &&
           due_.load(std::memory_order_relaxed) - nanoseconds(now) > rate.tolerance;
  }
  [[nodiscard]] bool is_idle(base::Instant now) const {
    return due_.load(std::memory_order_relaxed) <= nanoseconds(now);
  }

 private:
  static int64_t nanoseconds(base::Instant now) { return now.time_since_epoch().count() * 1000; }

  std::atomic<int64_t> due_{0};
};

}  // namespace mqlb::admission
