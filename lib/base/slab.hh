// A fixed number of objects, addressed by index, taken and given back in O(1). One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace mqlb::base {

template <typename T>
class Slab {
 public:
  static constexpr uint32_t kNone = 0xffffffff;

  explicit Slab(uint32_t capacity) : objects_(std::make_unique<T[]>(capacity)) {
    free_.reserve(capacity);
    for (uint32_t i = capacity; i > 0; --i) free_.push_back(i - 1);
    capacity_ = capacity;
  }

  // kNone when all are taken. The object is in the state that T{} has.
  [[nodiscard]] uint32_t take() {
    if (free_.empty()) return kNone;
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
  }
  void give_back(uint32_t index) {
    objects_[index] = T{};
    free_.push_back(index);
  }
  [[nodiscard]] T& operator[](uint32_t index) { return objects_[index]; }
  [[nodiscard]] uint32_t index_of(const T& object) const {
    return static_cast<uint32_t>(&object - objects_.get());
  }
  [[nodiscard]] uint32_t size() const { return capacity_ - static_cast<uint32_t>(free_.size()); }

 private:
  std::unique_ptr<T[]> objects_;
  std::vector<uint32_t> free_;
  uint32_t capacity_ = 0;
};

}  // namespace mqlb::base
