// A balancer between memory ports, as the daemon links it: frames are mbufs that the bench fills;
// what a core sends is freed, or kept to be looked at afterwards.
//
// Rig is one data core with both roles, in one thread. The EAL is initialised.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "lib/dpdk/mbuf_io.hh"
#include "lib/engine/core.hh"

namespace mqlb::bench {

inline constexpr config::PortId kClients = 0;
inline constexpr config::PortId kBrokers = 1;
inline constexpr size_t kBurst = 32;
inline constexpr wire::MacAddress kClientMac{{0x02, 0, 0, 0, 0, 1}};
inline constexpr wire::MacAddress kBrokerMac{{0x02, 0, 0, 0, 0, 2}};

[[nodiscard]] wire::MacAddress port_mac(config::PortId port);

// The transmit side of a port that never fills up.
class MemoryIo final : public engine::FrameIo {
 public:
  explicit MemoryIo(rte_mempool* pool) : pool_(pool) {}

  size_t allocate(std::span<engine::Frame> out) override;
  void release(std::span<const engine::Frame> frames) override;
  size_t transmit(config::PortId port, std::span<const engine::Frame> frames) override;

  // What was sent and is to be looked at, if `keep` is set; else it is only counted.
  struct Sent {
    config::PortId port;
    engine::Frame frame;
  };
  bool keep = false;
  std::vector<Sent> kept;
  uint64_t sent = 0;
  engine::FrameIo* instead = nullptr;  // takes all that is sent, if set

 private:
  rte_mempool* pool_;
};

struct RigOptions {
  uint32_t max_flows = 1024;
  uint32_t brokers = 3;
};

// Time that cores were busy, by core, in cycles of the time stamp counter.
struct Cycles {
  std::array<uint64_t, 2> of{};

  Cycles& operator+=(const Cycles& more) {
    for (size_t i = 0; i < of.size(); ++i) of[i] += more.of[i];
    return *this;
  }
  [[nodiscard]] uint64_t sum() const { return of[0] + of[1]; }
};

class Balancer {
 public:
  Balancer(const Balancer&) = delete;
  Balancer& operator=(const Balancer&) = delete;
  virtual ~Balancer() = default;

  // A frame to fill, for a burst. Checksums count as verified by the card unless the caller says
  // otherwise.
  [[nodiscard]] engine::Frame frame(config::PortId port);
  // Fills frames of one port and says how many they are.
  using Fill = std::function<size_t(std::span<engine::Frame>)>;
  // Lets the core that the port's frames come to fill and take a burst, on that core's thread, and
  // all cores do what follows from it.
  virtual Cycles step(config::PortId port, const Fill& fill) = 0;
  // Moves the clock, with its timers and sweeps.
  virtual Cycles pass(base::Duration time) = 0;
  // Every core's transmit side, on that core's thread.
  virtual void each_io(const std::function<void(MemoryIo&)>& look) = 0;

  [[nodiscard]] const config::Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] wire::Endpoint listener() const { return snapshot_->listeners[0].endpoint; }
  [[nodiscard]] base::Instant now() const { return now_; }

 protected:
  explicit Balancer(dpdk::Mempool pool) : pool_(std::move(pool)) {}
  [[nodiscard]] static base::Result<dpdk::Mempool> create_pool();
  // The snapshot, and what of Shared does not depend on the cores.
  [[nodiscard]] base::Result<void> configure(const RigOptions& options);

  dpdk::Mempool pool_;
  engine::Shared shared_;
  std::unique_ptr<const config::Snapshot> snapshot_;
  base::Instant now_{std::chrono::hours(1)};
};

// Hands frames to a core and lets it send. Returns the cycles that took.
uint64_t run_burst(engine::Core& core, std::span<const engine::Frame> frames);
// Moves a core's clock to `to` in steps of a millisecond. Returns the cycles that took, without
// steps in which another process got the CPU.
uint64_t pass_time(engine::Core& core, base::Instant from, base::Instant to);

class Rig final : public Balancer {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Rig>> create(const RigOptions& options);

  uint64_t run(std::span<const engine::Frame> frames) { return run_burst(*core_, frames); }
  Cycles step(config::PortId port, const Fill& fill) override;
  Cycles pass(base::Duration time) override;
  void each_io(const std::function<void(MemoryIo&)>& look) override { look(io_); }

  [[nodiscard]] MemoryIo& io() { return io_; }
  [[nodiscard]] engine::Core& core() { return *core_; }

 private:
  class NoOthers final : public engine::MessageSink {
   public:
    explicit NoOthers(engine::FrameIo& io) : io_(io) {}
    bool send(const engine::Message&) override { return false; }
    bool hand_over(engine::CoreIndex, const engine::Frame& frame) override {
      io_.release({&frame, 1});
      return false;
    }
    void to_control(const engine::Frame& frame) override { io_.release({&frame, 1}); }

   private:
    engine::FrameIo& io_;
  };

  explicit Rig(dpdk::Mempool pool) : Balancer(std::move(pool)), io_(pool_.get()), others_(io_) {}

  MemoryIo io_;
  NoOthers others_;
  std::unique_ptr<engine::Core> core_;
};

}  // namespace mqlb::bench
