// The engine's clock from the time stamp counter. Any thread.
#pragma once

#include <rte_cycles.h>

#include <cstdint>

#include "lib/base/time.hh"

namespace mqlb::dpdk {

class Clock {
 public:
  Clock() : start_(rte_get_tsc_cycles()), hz_(rte_get_tsc_hz()) {}

  [[nodiscard]] base::Instant now() const {
    const uint64_t cycles = rte_get_tsc_cycles() - start_;
    const uint64_t micros = cycles / hz_ * 1'000'000 + cycles % hz_ * 1'000'000 / hz_;
    return base::Instant(base::Duration(static_cast<int64_t>(micros)) + kEpoch);
  }

 private:
  // Instants begin well after zero, which stands for "never".
  static constexpr base::Duration kEpoch = std::chrono::hours(1);
  uint64_t start_;
  uint64_t hz_;
};

}  // namespace mqlb::dpdk
