// A rate limit that any number of cores share exactly: the generic cell rate algorithm, one atomic
// word. Touched for new connections only, never for packets of spliced flows.
//
// The word is the theoretical arrival time: when the bucket will be full again. A cell whose time
// has passed is the same as one that was never used, so idle cells need no upkeep. One that lies
// further ahead than the rate allows is of another rate, that was in force before: it is brought
// back when it is met.
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
      if (due - at > rate.tolerance) {
        heal(due, at + rate.tolerance + rate.interval);
        return false;
      }
      next = std::max(due, at) + rate.interval;
    } while (!due_.compare_exchange_weak(due, next, std::memory_order_relaxed));
    return true;
  }
  // Whether take() would refuse. It is left to take() to bring back what another rate left behind.
  [[nodiscard]] bool is_over(const Rate& rate, base::Instant now) const {
    const int64_t ahead = due_.load(std::memory_order_relaxed) - nanoseconds(now);
    return rate.interval != 0 && ahead > rate.tolerance &&
           ahead <= rate.tolerance + rate.interval + kSlack;
  }
  [[nodiscard]] bool is_idle(base::Instant now) const {
    return due_.load(std::memory_order_relaxed) <= nanoseconds(now);
  }

 private:
  // Clocks of cores differ by less.
  static constexpr int64_t kSlack = 1'000'000'000;

  // most: how far a bucket that is empty now reaches.
  void heal(int64_t due, int64_t most) {
    if (due - most > kSlack) due_.compare_exchange_strong(due, most, std::memory_order_relaxed);
  }
  static int64_t nanoseconds(base::Instant now) { return now.time_since_epoch().count() * 1000; }

  std::atomic<int64_t> due_{0};
};

}  // namespace mqlb::admission
