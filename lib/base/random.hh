// The only source of chance in simulation and replay: SplitMix64, the same on every machine.
//
// Every part that needs chance owns one and forks it from its maker, so that adding a draw in one
// place does not change what another place sees. Not for secrets.
#pragma once

#include <cstdint>

namespace mqlb::base {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t u64() {
    state_ += 0x9e3779b97f4a7c15U;
    uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  uint32_t u32() { return static_cast<uint32_t>(u64() >> 32U); }
  // 0 to n - 1; 0 when n is 0.
  uint64_t below(uint64_t n) { return n == 0 ? 0 : u64() % n; }
  uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
  bool chance(double p) { return p > 0 && static_cast<double>(u64() >> 11U) * 0x1.0p-53 < p; }
  Random fork() { return Random(u64()); }

 private:
  uint64_t state_;
};

}  // namespace mqlb::base
