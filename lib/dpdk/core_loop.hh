// The poll loop of one data core.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "lib/dpdk/clock.hh"
#include "lib/dpdk/fabric.hh"
#include "lib/dpdk/ports.hh"
#include "lib/engine/core.hh"

struct rte_rcu_qsbr;

namespace mqlb::dpdk {

// Something that the control thread has a core do between bursts, a slice at a time, until it
// returns true. It runs on the core's thread, so it may look at what the core owns.
using CoreTask = std::function<bool(engine::Core&)>;

// What control shares with all data cores.
struct alignas(base::kCacheLine) Board {
  std::atomic<const config::Snapshot*> snapshot{nullptr};
  std::atomic<bool> stop{false};
  rte_rcu_qsbr* rcu = nullptr;  // a data core's thread id is its index
};

class alignas(base::kCacheLine) CoreLoop {
 public:
  // Makes the core's engine; everything given must outlive the loop. snapshot: in force now.
  [[nodiscard]] static base::Result<std::unique_ptr<CoreLoop>> create(
      engine::CoreIndex index, config::CoreRole role, const Ports& ports, Fabric& fabric,
      Board& board, const Clock& clock, engine::Shared& shared, const config::Snapshot& snapshot);

  // Runs until Board::stop is set; on the core's thread.
  void run();

  // Control thread: gives the core a task and waits until it is done. False if the core does not
  // run.
  bool perform(const CoreTask& task);

  [[nodiscard]] const engine::Core& core() const { return *core_; }
  [[nodiscard]] uint64_t loops() const { return loops_.value(); }
  [[nodiscard]] uint64_t idle_loops() const { return idle_loops_.value(); }

 private:
  CoreLoop(engine::CoreIndex index, const Ports& ports, Fabric& fabric, Board& board,
           const Clock& clock);

  size_t poll_ports();
  size_t poll_inbox();
  size_t transmit_for_others();
  size_t poll_messages();
  void follow_configuration();
  size_t run_task();
  void rest(size_t work);
  void doze();

  engine::CoreIndex index_;
  const Ports& ports_;
  Inbox& inbox_;
  Board& board_;
  const Clock& clock_;
  Link link_;
  MbufIo io_;
  std::unique_ptr<engine::Core> core_;
  const config::Snapshot* snapshot_ = nullptr;
  std::atomic<const CoreTask*> task_{nullptr};
  std::atomic<bool> running_{false};
  bool all_ports_wake_ = true;  // by sockets
  base::Counter loops_;
  base::Counter idle_loops_;
  uint32_t idle_ = 0;  // loops without work, in a row
};

}  // namespace mqlb::dpdk
