// Memory in pages of 2 MiB, for what packets look up at random: with pages of 4 KiB each look would
// miss the TLB. The pages are transparent ones, so nothing is reserved; where the kernel has none
// (or /sys/kernel/mm/transparent_hugepage/enabled says never) small ones take their place.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory_resource>
#include <new>
#include <utility>
#include <vector>

namespace mqlb::base {

// Several small arrays share a page. What is given back is kept for arrays of its size, rounded up
// to a power of two. One thread.
class HugePages final : public std::pmr::memory_resource {
 public:
  HugePages() = default;
  HugePages(const HugePages&) = delete;
  HugePages& operator=(const HugePages&) = delete;
  ~HugePages() override {
    for (std::byte* page : pages_) unmap(page, kPage);
  }

  // Bytes that the whole process has of such memory, for reports. Any thread.
  [[nodiscard]] static size_t mapped() { return mapped_.load(std::memory_order_relaxed); }

 private:
  static constexpr size_t kPage = size_t{2} << 20;
  static constexpr size_t kLeast = 64;  // so all are aligned to it

  void* do_allocate(size_t bytes, size_t alignment) override {
    if (alignment > kLeast) throw std::bad_alloc();
    if (bytes > kPage) return map(whole_pages(bytes));
    const size_t size = rounded(bytes);
    std::vector<std::byte*>& unused = unused_[class_of(size)];
    if (!unused.empty()) {
      std::byte* p = unused.back();
      unused.pop_back();
      return p;
    }
    if (left_ < size) {
      pages_.reserve(pages_.size() + 1);
      next_ = map(kPage);
      pages_.push_back(next_);
      left_ = kPage;
    }
    left_ -= size;
    return std::exchange(next_, next_ + size);
  }
  void do_deallocate(void* p, size_t bytes, size_t) override {
    if (bytes > kPage) {
      unmap(p, whole_pages(bytes));
    } else {
      unused_[class_of(rounded(bytes))].push_back(static_cast<std::byte*>(p));
    }
  }
  [[nodiscard]] bool do_is_equal(const memory_resource& other) const noexcept override {
    return this == &other;
  }

  static size_t whole_pages(size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }
  static size_t rounded(size_t bytes) { return std::bit_ceil(std::max(bytes, kLeast)); }
  static size_t class_of(size_t size) { return static_cast<size_t>(std::countr_zero(size)); }

  // Begins where a page may: the kernel gives large pages only there.
  static std::byte* map(size_t bytes) {
    void* p =
        mmap(nullptr, bytes + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    auto* begin = static_cast<std::byte*>(p);
    const size_t before = (kPage - reinterpret_cast<uintptr_t>(begin) % kPage) % kPage;
    if (before > 0) munmap(begin, before);
    munmap(begin + before + bytes, kPage - before);
    madvise(begin + before, bytes, MADV_HUGEPAGE);
    mapped_.fetch_add(bytes, std::memory_order_relaxed);
    return begin + before;
  }
  static void unmap(void* p, size_t bytes) {
    munmap(p, bytes);
    mapped_.fetch_sub(bytes, std::memory_order_relaxed);
  }

  static inline std::atomic<size_t> mapped_ = 0;

  std::vector<std::byte*> pages_;
  std::byte* next_ = nullptr;                       // in the last page, what was never given out
  size_t left_ = 0;                                 // bytes
  std::array<std::vector<std::byte*>, 22> unused_;  // by the binary logarithm of their size
};

}  // namespace mqlb::base
