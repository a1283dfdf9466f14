// One data core with both roles, as the daemon links it, between memory ports: frames are mbufs
// that the bench fills; what the core sends is freed, or kept to be looked at afterwards.
//
// One thread. The EAL is initialised.
#pragma once

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

class Rig {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Rig>> create(const RigOptions& options);
  ~Rig();

  // A frame to fill, for a burst. Checksums count as verified by the card unless the caller says
  // otherwise.
  [[nodiscard]] engine::Frame frame(config::PortId port);
  // Hands frames to the core and lets it send. Returns the cycles that took.
  uint64_t run(std::span<const engine::Frame> frames);
  // Moves the core's clock, with its timers and sweeps. Returns the cycles that took.
  uint64_t pass(base::Duration time);

  [[nodiscard]] MemoryIo& io() { return io_; }
  [[nodiscard]] engine::Core& core() { return *core_; }
  [[nodiscard]] const config::Snapshot& snapshot() const { return *snapshot_; }
  [[nodiscard]] wire::Endpoint listener() const;
  [[nodiscard]] base::Instant now() const { return now_; }

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

  explicit Rig(dpdk::Mempool pool) : pool_(std::move(pool)), io_(pool_.get()), others_(io_) {}

  dpdk::Mempool pool_;
  MemoryIo io_;
  NoOthers others_;
  engine::Shared shared_;
  std::unique_ptr<const config::Snapshot> snapshot_;
  std::unique_ptr<engine::Core> core_;
  base::Instant now_{std::chrono::hours(1)};
};

}  // namespace mqlb::bench
