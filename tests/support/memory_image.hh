// Which cache lines of this process some code changes: all memory that can be written is copied
// before and compared after. A write of what was there before is not seen. Without the stack, where
// the code that looks lies too.
//
// Not under sanitizers, which keep books of their own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace mqlb::tests {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kMemoryIsOurs = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
inline constexpr bool kMemoryIsOurs = false;
#else
inline constexpr bool kMemoryIsOurs = true;
#endif
#else
inline constexpr bool kMemoryIsOurs = true;
#endif

class MemoryImage {
 public:
  // Copies what is there now. Memory that is mapped later is not looked at.
  MemoryImage();
  ~MemoryImage();
  MemoryImage(const MemoryImage&) = delete;
  MemoryImage& operator=(const MemoryImage&) = delete;

  // Addresses of the lines that differ, ascending.
  [[nodiscard]] std::vector<uintptr_t> changed_lines();

 private:
  struct Region {
    uint8_t* memory;
    uint8_t* copy;
    size_t pages;
    size_t first_page;  // place in resident_
  };

  std::vector<Region> regions_;
  // Mapped, not of the heap: filling it must not change what is looked at.
  uint8_t* copies_ = nullptr;
  unsigned char* resident_ = nullptr;  // of mincore(2)
  uintptr_t* found_ = nullptr;
  size_t pages_ = 0;
};

}  // namespace mqlb::tests
