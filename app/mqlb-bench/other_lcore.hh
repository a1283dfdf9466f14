// A second lcore that works when it is told to, so that two cores of the engine have a CPU each.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "lib/base/result.hh"

namespace mqlb::bench {

class OtherLcore {
 public:
  // The first worker lcore of the EAL, which must have nothing to do.
  [[nodiscard]] static base::Result<std::unique_ptr<OtherLcore>> launch();
  ~OtherLcore();
  OtherLcore(const OtherLcore&) = delete;
  OtherLcore& operator=(const OtherLcore&) = delete;

  // One piece of work at a time: start, then wait.
  void start(std::function<void()> work);
  void wait() const;

 private:
  explicit OtherLcore(unsigned lcore) : lcore_(lcore) {}
  static int loop(void* self);

  unsigned lcore_;
  std::function<void()> work_;  // empty: the end
  std::atomic<uint32_t> started_{0};
  std::atomic<uint32_t> done_{0};
};

}  // namespace mqlb::bench
