// An array of zeros that takes memory only where it is written.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <memory>
#include <type_traits>

namespace mqlb::base {

// All-zero octets must be a value of T.
template <typename T>
class LazyArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  LazyArray() = default;
  // Empty (valid() is false) if there is no address space.
  explicit LazyArray(size_t count) : elements_(map(count), Unmap{count * sizeof(T)}) {}

  [[nodiscard]] bool valid() const { return elements_ != nullptr; }
  [[nodiscard]] T& operator[](size_t i) const { return elements_.get()[i]; }

 private:
  struct Unmap {
    size_t bytes = 0;
    void operator()(T* p) const { munmap(p, bytes); }
  };
  static T* map(size_t count) {
    void* p = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? nullptr : static_cast<T*>(p);
  }

  std::unique_ptr<T, Unmap> elements_;
};

}  // namespace mqlb::base
