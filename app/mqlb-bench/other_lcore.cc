#include "app/mqlb-bench/other_lcore.hh"

#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

namespace mqlb::bench {

base::Result<std::unique_ptr<OtherLcore>> OtherLcore::launch() {
  const unsigned lcore = rte_get_next_lcore(-1U, 1, 0);
  if (lcore == RTE_MAX_LCORE) return base::fail("a second lcore is needed (-l 0,1)");
  std::unique_ptr<OtherLcore> other(new OtherLcore(lcore));
  if (rte_eal_remote_launch(loop, other.get(), lcore) != 0) return base::fail("the lcore is busy");
  return other;
}

OtherLcore::~OtherLcore() {
  start({});
  rte_eal_wait_lcore(lcore_);
}

void OtherLcore::start(std::function<void()> work) {
  work_ = std::move(work);
  started_.fetch_add(1, std::memory_order_release);
}

void OtherLcore::wait() const {
  while (done_.load(std::memory_order_acquire) != started_.load(std::memory_order_relaxed)) {
    rte_pause();
  }
}

int OtherLcore::loop(void* self) {
  auto& other = *static_cast<OtherLcore*>(self);
  for (uint32_t n = 1;; ++n) {
    while (other.started_.load(std::memory_order_acquire) != n) rte_pause();
    if (!other.work_) return 0;
    other.work_();
    other.done_.store(n, std::memory_order_release);
  }
}

}  // namespace mqlb::bench
