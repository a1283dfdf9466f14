// What one data core writes begins on a cache line of its own and fills its last one, so that no two
// cores write to the same line: alignas(kCacheLine) on each type that a core owns and writes.
#pragma once

#include <cstddef>

namespace mqlb::base {

inline constexpr size_t kCacheLine = 64;

// For static assertions: alignment and size.
template <typename T>
inline constexpr bool kOwnsItsLines =
    alignof(T) % kCacheLine == 0 && sizeof(T) % kCacheLine == 0;

}  // namespace mqlb::base
