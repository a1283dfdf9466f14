#include "app/mqlb-bench/split_rig.hh"

#include <rte_cycles.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_pause.h>

namespace mqlb::bench {
namespace {

constexpr unsigned kMessageRoom = 16384;  // as the daemon's
constexpr base::Duration kTurn{100'000};  // time that one core passes before the other follows

unsigned next_lcore() { return rte_get_next_lcore(-1U, 1, 0); }

constexpr unsigned kSpins = 20'000;  // some hundred microseconds

// Until the pointer is null, or is not.
template <typename T>
T* await(const std::atomic<T*>& pointer, bool null) {
  for (unsigned spins = 0;; ++spins) {
    T* now = pointer.load(std::memory_order_acquire);
    if ((now == nullptr) == null) return now;
    if (spins < kSpins) {
      rte_pause();
    } else {
      pointer.wait(now, std::memory_order_acquire);
    }
  }
}

}  // namespace

LcoreThread::LcoreThread(unsigned lcore) : lcore_(lcore) {
  const auto main = [](void* self) {
    static_cast<LcoreThread*>(self)->run();
    return 0;
  };
  if (rte_eal_remote_launch(main, this, lcore_) != 0) rte_panic("bench: an lcore does not run\n");
}

LcoreThread::~LcoreThread() {
  const Work last = [this] { stop_ = true; };
  begin(last);
  rte_eal_wait_lcore(lcore_);
}

void LcoreThread::begin(const Work& work) {
  work_.store(&work, std::memory_order_release);
  work_.notify_one();
}

void LcoreThread::wait() { await(work_, true); }

void LcoreThread::run() {
  while (!stop_) {
    (*await(work_, false))();
    work_.store(nullptr, std::memory_order_release);
    work_.notify_one();
  }
}

bool SplitRig::possible() {
  const unsigned other = next_lcore();
  if (other >= RTE_MAX_LCORE) return false;
  rte_cpuset_t worker = rte_lcore_cpuset(rte_get_main_lcore());
  rte_cpuset_t proxy = rte_lcore_cpuset(other);
  rte_cpuset_t common;
  CPU_AND(&common, &worker, &proxy);
  return CPU_COUNT(&common) == 0;
}

uint64_t SplitRig::Side::take_burst(const Fill& fill) {
  std::array<engine::Frame, kBurst> frames;
  const size_t count = fill(frames);
  return run_burst(*core, std::span(frames).first(count));
}

bool SplitRig::Side::poll() {
  std::array<engine::Message, kBurst> messages;
  std::array<rte_mbuf*, kBurst> mbufs;
  std::array<engine::Frame, kBurst> frames;
  const uint64_t begin = rte_rdtsc_precise();
  const unsigned said = rte_ring_dequeue_burst_elem(inbox.messages.get(), messages.data(),
                                                    sizeof(engine::Message), kBurst, nullptr);
  for (unsigned i = 0; i < said; ++i) core->receive(messages[i]);
  const unsigned handed = rte_ring_dequeue_burst(
      inbox.frames.get(), reinterpret_cast<void**>(mbufs.data()), kBurst, nullptr);
  for (unsigned i = 0; i < handed; ++i) {
    frames[i] = dpdk::frame_of(mbufs[i], static_cast<config::PortId>(mbufs[i]->port));
  }
  core->receive(std::span(frames).first(handed));
  core->flush();
  if (said + handed == 0) return false;
  polling += rte_rdtsc_precise() - begin;
  return true;
}

SplitRig::SplitRig(dpdk::Mempool pool, dpdk::Fabric fabric)
    : Balancer(std::move(pool)), fabric_(std::move(fabric)), proxy_thread_(next_lcore()) {
  for (const engine::CoreIndex i : {kWorker, kProxy}) {
    sides_[i] = std::make_unique<Side>(pool_.get(), fabric_, i);
  }
}

base::Result<void> SplitRig::create_core(engine::CoreIndex index, config::CoreRole role) {
  Side& side = *sides_[index];
  auto core = engine::Core::create(index, role, shared_, side.io, side.link, *snapshot_);
  if (!core) return tl::unexpected(core.error());
  side.core = std::move(*core);
  side.core->set_time(now_);
  return {};
}

base::Result<std::unique_ptr<SplitRig>> SplitRig::create(const RigOptions& options) {
  auto pool = create_pool();
  if (!pool) return tl::unexpected(pool.error());
  auto fabric = dpdk::Fabric::create(2, kMessageRoom);
  if (!fabric) return tl::unexpected(fabric.error());
  std::unique_ptr<SplitRig> rig(new SplitRig(std::move(*pool), std::move(*fabric)));
  if (auto done = rig->configure(options); !done) return tl::unexpected(done.error());
  rig->shared_.workers = {kWorker};
  rig->shared_.proxies = {kProxy};
  for (const engine::CoreIndex i : {kWorker, kProxy}) {
    const auto role = i == kWorker ? config::CoreRole::worker : config::CoreRole::proxy;
    if (auto done = rig->create_core(i, role); !done) return tl::unexpected(done.error());
  }
  return rig;
}

void SplitRig::on(engine::CoreIndex core, const LcoreThread::Work& work) {
  if (core == kWorker) {
    work();
    return;
  }
  proxy_thread_.begin(work);
  proxy_thread_.wait();
}

Cycles SplitRig::step_at(engine::CoreIndex core, const Fill& fill) {
  Cycles cycles;
  on(core, [&] { cycles.of[core] = sides_[core]->take_burst(fill); });
  cycles += settle();
  return cycles;
}

// Lets the cores answer each other until they have nothing more to say.
Cycles SplitRig::settle() {
  while (!quiet()) {
    for (const engine::CoreIndex i : {kProxy, kWorker}) {
      on(i, [this, i] {
        while (sides_[i]->poll()) {
        }
      });
    }
  }
  Cycles cycles;
  for (const engine::CoreIndex i : {kWorker, kProxy}) {
    cycles.of[i] = std::exchange(sides_[i]->polling, 0);
  }
  return cycles;
}

bool SplitRig::quiet() {
  for (const engine::CoreIndex i : {kWorker, kProxy}) {
    const dpdk::Inbox& inbox = fabric_.inbox(i);
    if (rte_ring_empty(inbox.messages.get()) == 0 || rte_ring_empty(inbox.frames.get()) == 0) {
      return false;
    }
  }
  return true;
}

Cycles SplitRig::pass(base::Duration time) {
  Cycles cycles;
  for (const base::Instant end = now_ + time; now_ < end;) {
    const base::Instant to = std::min(end, now_ + kTurn);
    for (const engine::CoreIndex i : {kWorker, kProxy}) {
      on(i, [&] { cycles.of[i] += pass_time(*sides_[i]->core, now_, to); });
    }
    cycles += settle();
    now_ = to;
  }
  return cycles;
}

void SplitRig::each_io(const std::function<void(MemoryIo&)>& look) {
  for (const engine::CoreIndex i : {kWorker, kProxy}) {
    on(i, [&] { look(sides_[i]->io); });
  }
}

SplitRig::Bursts SplitRig::run_both(unsigned bursts, const std::array<Fill, 2>& fills) {
  Bursts out;
  const auto run = [&](engine::CoreIndex i) {
    std::vector<uint64_t> cycles;
    cycles.reserve(bursts);
    for (unsigned b = 0; b < bursts; ++b) cycles.push_back(sides_[i]->take_burst(fills[i]));
    out[i] = std::move(cycles);
  };
  const LcoreThread::Work proxy = [&] { run(kProxy); };
  proxy_thread_.begin(proxy);
  run(kWorker);
  proxy_thread_.wait();
  return out;
}

}  // namespace mqlb::bench
