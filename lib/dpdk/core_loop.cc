#include "lib/dpdk/core_loop.hh"

#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <rte_pause.h>
#include <rte_rcu_qsbr.h>
#include <sys/prctl.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <thread>

namespace mqlb::dpdk {
namespace {

// What DPDK keeps for a core, and the core writes while it polls.
static_assert(base::kOwnsItsLines<rte_rcu_qsbr_cnt> && base::kOwnsItsLines<rte_mempool_cache>);
static_assert(RTE_CACHE_LINE_SIZE >= base::kCacheLine);

constexpr uint16_t kBurst = 32;
// Loops without work before a core rests: about as long as it takes to be woken by a frame; where
// only time wakes it, some hundred microseconds, since to oversleep costs more.
constexpr uint32_t kIdleBeforeSleep = 200;
constexpr uint32_t kIdleBeforePause = 2000;
// Where frames wake the core, it gets up only for timers (of 1 ms) and the sweep of its table.
constexpr std::chrono::nanoseconds kDoze{2'000'000};

}  // namespace

base::Result<std::unique_ptr<CoreLoop>> CoreLoop::create(engine::CoreIndex index,
                                                         config::CoreRole role, const Ports& ports,
                                                         Fabric& fabric, Board& board,
                                                         const Clock& clock, engine::Shared& shared,
                                                         const config::Snapshot& snapshot) {
  std::unique_ptr<CoreLoop> loop(new CoreLoop(index, ports, fabric, board, clock));
  auto core = engine::Core::create(index, role, shared, loop->io_, loop->link_, snapshot);
  if (!core) return tl::unexpected(core.error());
  loop->core_ = std::move(*core);
  loop->snapshot_ = &snapshot;
  return loop;
}

CoreLoop::CoreLoop(engine::CoreIndex index, const Ports& ports, Fabric& fabric, Board& board,
                   const Clock& clock)
    : index_(index),
      ports_(ports),
      inbox_(fabric.inbox(index)),
      board_(board),
      clock_(clock),
      link_(fabric),
      io_(ports, index, fabric.inbox(0).transmit.get(), fabric.inbox(0).bell.get()) {
  for (const RxQueue& queue : ports.queues_of(index)) {
    if (queue.socket == PortSockets::kNone) {
      all_ports_wake_ = false;
    } else {
      inbox_.bell->watch(queue.socket);
    }
  }
}

void CoreLoop::run() {
  prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
  rte_rcu_qsbr_thread_register(board_.rcu, index_);
  rte_rcu_qsbr_thread_online(board_.rcu, index_);
  running_.store(true, std::memory_order_release);
  while (!board_.stop.load(std::memory_order_relaxed)) {
    follow_configuration();
    core_->set_time(clock_.now());
    size_t work = poll_ports();
    work += poll_inbox();
    core_->advance();
    core_->flush();
    link_.ring();
    work += run_task();
    rest(work);
  }
  while (transmit_for_others() > 0) core_->flush();
  running_.store(false, std::memory_order_release);
  rte_rcu_qsbr_thread_offline(board_.rcu, index_);
  rte_rcu_qsbr_thread_unregister(board_.rcu, index_);
}

// Says first that the old snapshot is not in use, and only then reads which is in force: so a
// snapshot that control waits for cannot be picked up again.
void CoreLoop::follow_configuration() {
  rte_rcu_qsbr_quiescent(board_.rcu, index_);
  const config::Snapshot* published = board_.snapshot.load(std::memory_order_acquire);
  if (published == snapshot_) return;
  snapshot_ = published;
  core_->adopt(*published);
}

size_t CoreLoop::poll_ports() {
  std::array<rte_mbuf*, kBurst> mbufs;
  std::array<engine::Frame, kBurst> frames;
  size_t work = 0;
  for (const RxQueue& queue : ports_.queues_of(index_)) {
    const uint16_t n = rte_eth_rx_burst(queue.dpdk_port, queue.queue, mbufs.data(), kBurst);
    size_t count = 0;
    for (uint16_t i = 0; i < n; ++i) {
      if (mbufs[i]->nb_segs == 1) {
        frames[count++] = frame_of(mbufs[i], queue.port);
      } else {
        // Larger than a buffer, so larger than the MTU.
        core_->refuse_frame(base::Drop::over_mtu);
        rte_pktmbuf_free(mbufs[i]);
      }
    }
    if (n > 0) work += poll_messages();
    core_->receive(std::span(frames).first(count));
    work += n;
  }
  return work;
}

// Called after frames were taken, before they are looked at. What a core says of a segment, such as
// a FIN, it says before the segment leaves; the answer to it, which comes here, must not be looked
// at first. So everything is delivered that was there when the frames had come.
size_t CoreLoop::poll_messages() {
  std::array<engine::Message, kBurst> messages;
  size_t work = 0;
  for (unsigned left = rte_ring_count(inbox_.messages.get()); left > 0;) {
    const unsigned n =
        rte_ring_dequeue_burst_elem(inbox_.messages.get(), messages.data(), sizeof(engine::Message),
                                    std::min<unsigned>(left, kBurst), nullptr);
    if (n == 0) break;
    // A message may speak of objects that only the sender's snapshot has.
    follow_configuration();
    for (unsigned i = 0; i < n; ++i) core_->receive(messages[i]);
    left -= n;
    work += n;
  }
  return work;
}

size_t CoreLoop::poll_inbox() {
  std::array<rte_mbuf*, kBurst> mbufs;
  std::array<engine::Frame, kBurst> frames;
  auto** objects = reinterpret_cast<void**>(mbufs.data());
  unsigned n = rte_ring_dequeue_burst(inbox_.frames.get(), objects, kBurst, nullptr);
  for (unsigned i = 0; i < n; ++i) {
    frames[i] = frame_of(mbufs[i], static_cast<config::PortId>(mbufs[i]->port));
  }
  const size_t work = poll_messages() + n;
  core_->receive(std::span(frames).first(n));
  return work + transmit_for_others();
}

size_t CoreLoop::transmit_for_others() {
  std::array<rte_mbuf*, kBurst> mbufs;
  auto** objects = reinterpret_cast<void**>(mbufs.data());
  const unsigned n = rte_ring_dequeue_burst(inbox_.transmit.get(), objects, kBurst, nullptr);
  for (unsigned i = 0; i < n; ++i) {
    const auto port = static_cast<config::PortId>(mbufs[i]->port);
    core_->transmit(port, frame_of(mbufs[i], port));
  }
  return n;
}

// A task that is not done counts as work: its next slice must not wait.
size_t CoreLoop::run_task() {
  const CoreTask* task = task_.load(std::memory_order_acquire);
  if (task == nullptr) return 0;
  if ((*task)(*core_)) task_.store(nullptr, std::memory_order_release);
  return 1;
}

bool CoreLoop::perform(const CoreTask& task) {
  if (!running_.load(std::memory_order_acquire)) return false;
  task_.store(&task, std::memory_order_release);
  inbox_.bell->ring();
  while (task_.load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
  return true;
}

// Backs off after a while without work, unless the operator wants the lowest latency.
void CoreLoop::rest(size_t work) {
  loops_.add();
  if (work == 0) idle_loops_.add();
  if (work > 0 || snapshot_->settings.poll == config::PollMode::busy) {
    idle_ = 0;
    if (inbox_.bell->announced()) inbox_.bell->withdraw();
  }
  if (work > 0) return;
  if (idle_ < (all_ports_wake_ ? kIdleBeforeSleep : kIdleBeforePause)) {
    ++idle_;
    rte_pause();
  } else if (!inbox_.bell->announced()) {
    inbox_.bell->announce();  // and looks once more at everything
  } else {
    doze();
  }
}

void CoreLoop::doze() {
  const std::chrono::nanoseconds pause = snapshot_->settings.poll_pause;
  const bool good = inbox_.bell->wait(all_ports_wake_ ? kDoze : pause);
  if (good) return;
  const timespec nap{0, pause.count()};
  nanosleep(&nap, nullptr);
}

}  // namespace mqlb::dpdk
