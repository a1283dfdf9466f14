// Up or down, from the results of checks: `rise` passed in a row, or `fall` failed in a row. A
// first result that passed decides at once, since nothing is known yet; one that failed does not:
// the checks themselves may be what is wrong. Pure: no time, no I/O.
#pragma once

#include <cstdint>

namespace mqlb::control {

class HealthRecord {
 public:
  explicit HealthRecord(bool initially_up = true) : up_(initially_up) {}

  // True if the state changed.
  bool note(bool passed, uint32_t rise, uint32_t fall) {
    ++checks_;
    if (!passed) ++failures_;
    if (passed == up_) {
      contrary_ = 0;
      known_ = true;
      return false;
    }
    ++contrary_;
    const bool decides = passed && !known_;
    known_ = true;
    if (!decides && contrary_ < (passed ? rise : fall)) return false;
    up_ = passed;
    contrary_ = 0;
    return true;
  }
  // What is counted toward a change begins anew.
  void restart() { contrary_ = 0; }

  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] uint64_t checks() const { return checks_; }
  [[nodiscard]] uint64_t failures() const { return failures_; }
  // Results in a row that speak against the state.
  [[nodiscard]] uint32_t contrary() const { return contrary_; }

 private:
  bool up_;
  bool known_ = false;
  uint32_t contrary_ = 0;
  uint64_t checks_ = 0;
  uint64_t failures_ = 0;
};

}  // namespace mqlb::control
