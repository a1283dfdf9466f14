// What every fuzz target shares: its entry point, and a check that stops the process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "lib/base/bytes.hh"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace mqlb::fuzz {

inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// The first `size` bytes in memory of exactly that size, so that the sanitizer sees a read past
// them.
inline std::vector<uint8_t> copy_of(base::Bytes bytes, size_t size) {
  const base::Bytes head = bytes.first(size);
  return {head.begin(), head.end()};
}

inline bool lies_within(base::Bytes inner, base::Bytes outer) {
  return inner.empty() || (inner.data() >= outer.data() &&
                           inner.data() + inner.size() <= outer.data() + outer.size());
}

// Lengths to cut an input of `size` at: all of a small one, some of a large one.
inline size_t cut_step(size_t size) { return size / 256 + 1; }

}  // namespace mqlb::fuzz
