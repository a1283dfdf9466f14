// A worker and a proxy, each on an lcore of its own, with the daemon's queues between them.
//
// The worker runs in the calling thread, the main lcore's; the proxy on the next lcore. They take
// turns, and each fills the frames that it takes, so a fleet needs no lock and no frame comes from
// another CPU's cache; only run_both() lets them run at the same time. What is counted is the work
// on frames and messages that were found, as on a core under load: not the polls that find nothing.
#pragma once

#include <atomic>

#include "app/mqlb-bench/rig.hh"
#include "lib/dpdk/fabric.hh"

namespace mqlb::bench {

// Work for an lcore's thread. It spins while it waits for the next, so that between two bursts no
// kernel comes in between that would take the caches; after a while without work it sleeps.
class LcoreThread {
 public:
  using Work = std::function<void()>;

  explicit LcoreThread(unsigned lcore);
  ~LcoreThread();
  LcoreThread(const LcoreThread&) = delete;
  LcoreThread& operator=(const LcoreThread&) = delete;

  // The work must live until wait() returns.
  void begin(const Work& work);
  void wait();

 private:
  void run();

  unsigned lcore_;
  bool stop_ = false;  // the thread's own
  alignas(64) std::atomic<const Work*> work_{nullptr};
};

class SplitRig final : public Balancer {
 public:
  static constexpr engine::CoreIndex kWorker = 0;
  static constexpr engine::CoreIndex kProxy = 1;

  // One at a time.
  [[nodiscard]] static base::Result<std::unique_ptr<SplitRig>> create(const RigOptions& options);
  // Whether there are two lcores that share no CPU.
  [[nodiscard]] static bool possible();

  Cycles step(config::PortId port, const Fill& fill) override {
    return step_at(port == kClients ? kWorker : kProxy, fill);
  }
  // The same on the core that is named: frames of the other are handed over to it.
  Cycles step_at(engine::CoreIndex core, const Fill& fill);
  Cycles pass(base::Duration time) override;
  void each_io(const std::function<void(MemoryIo&)>& look) override;

  // Each core fills and takes so many bursts, both at the same time. Returns the cycles of each
  // burst, by core.
  using Bursts = std::array<std::vector<uint64_t>, 2>;
  [[nodiscard]] Bursts run_both(unsigned bursts, const std::array<Fill, 2>& fills);

  // Nothing waits in the queues between the cores.
  [[nodiscard]] bool quiet();
  [[nodiscard]] engine::Core& core(engine::CoreIndex index) { return *sides_[index]->core; }
  [[nodiscard]] uint64_t sent(engine::CoreIndex index) const { return sides_[index]->io.sent; }

 private:
  // What one core's thread writes.
  struct alignas(64) Side {
    Side(rte_mempool* pool, dpdk::Fabric& fabric, engine::CoreIndex index)
        : io(pool), link(fabric), inbox(fabric.inbox(index)) {}
    uint64_t take_burst(const Fill& fill);
    // Up to a burst of messages and one of frames. False if there were none.
    bool poll();

    MemoryIo io;
    dpdk::Link link;
    dpdk::Inbox& inbox;
    uint64_t polling = 0;  // cycles of polls that found something
    std::unique_ptr<engine::Core> core;
  };

  SplitRig(dpdk::Mempool pool, dpdk::Fabric fabric);
  [[nodiscard]] base::Result<void> create_core(engine::CoreIndex index, config::CoreRole role);
  // Runs work on a core's thread and waits for it.
  void on(engine::CoreIndex core, const LcoreThread::Work& work);
  Cycles settle();

  dpdk::Fabric fabric_;
  std::array<std::unique_ptr<Side>, 2> sides_;
  LcoreThread proxy_thread_;
};

}  // namespace mqlb::bench
