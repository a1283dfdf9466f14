// Time as the engine sees it: an argument, never a call.
//
// The daemon derives it from the TSC once per burst; tests and replay use a virtual clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace mqlb::base {

using Duration = std::chrono::duration<int64_t, std::micro>;

// Microseconds since an arbitrary start, never going back.
struct EngineClock {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<EngineClock>;
  static constexpr bool is_steady = true;
};

using Instant = EngineClock::time_point;

[[nodiscard]] constexpr uint32_t to_seconds(Instant t) {
  return static_cast<uint32_t>(t.time_since_epoch().count() / 1'000'000);
}

[[nodiscard]] constexpr uint32_t to_milliseconds(Instant t) {
  return static_cast<uint32_t>(t.time_since_epoch().count() / 1'000);
}

}  // namespace mqlb::base
