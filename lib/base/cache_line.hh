// What one core writes lies on cache lines of its own: a line that two cores write wanders between
// them at each write. A type that says alignas(kCacheLine) also ends with a line, since its size is
// a multiple of its alignment, and new gives it such a place.
#pragma once

#include <cstddef>

namespace mqlb::base {

inline constexpr size_t kCacheLine = 64;  // bytes

// An object of this type shares no line with what lies before or behind it.
template <typename T>
inline constexpr bool kOwnsItsLines = alignof(T) % kCacheLine == 0;

}  // namespace mqlb::base
