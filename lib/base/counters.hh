// Counters with one writer: the core that owns them. Any thread may read.
//
// A relaxed load and store compiles to a plain add, without a locked instruction.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "lib/base/cache_line.hh"
#include "lib/base/reason.hh"

namespace mqlb::base {

class Counter {
 public:
  void add(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  void subtract(uint64_t n = 1) {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// One core's account of frames and flows. For each core:
// frames_in = drops (except those of frames it built) + frames sent on + frames held.
struct alignas(kCacheLine) CoreCounters {
  std::array<Counter, static_cast<size_t>(Drop::count_)> drops;
  std::array<Counter, static_cast<size_t>(End::count_)> ends;
  std::array<Counter, static_cast<size_t>(Event::count_)> events;

  Counter& operator[](Drop r) { return drops[static_cast<size_t>(r)]; }
  Counter& operator[](End r) { return ends[static_cast<size_t>(r)]; }
  Counter& operator[](Event e) { return events[static_cast<size_t>(e)]; }
};

}  // namespace mqlb::base
