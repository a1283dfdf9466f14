// Frames as the engine sees them, and the seam to whoever owns the buffers: a NIC, a capture file
// or a test.
//
// A Frame is a handle; whoever holds it owns the buffer and must send, drop or hold it.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "lib/base/bytes.hh"
#include "lib/base/counters.hh"
#include "lib/config/snapshot.hh"
#include "lib/wire/packet.hh"

namespace mqlb::engine {

struct Frame {
  uint8_t* data = nullptr;
  uint16_t length = 0;
  uint16_t capacity = 0;    // bytes that may be written from data on
  config::PortId port = 0;  // where it came in, or goes out
  wire::HardwareChecksum checksum = wire::HardwareChecksum::unknown;
  void* owner = nullptr;  // the shell's buffer

  [[nodiscard]] base::MutableBytes bytes() const { return {data, length}; }
};

// Bytes that a buffer must have before the data of a frame that comes in: what an IPv6 header is
// longer than an IPv4 header.
inline constexpr size_t kHeadroom = wire::kIpv6Header - wire::kIpv4Header;

// What a shell does for one core; called per burst, not per frame.
class FrameIo {
 public:
  virtual ~FrameIo() = default;
  // Fills `out` with empty frames as far as there are buffers; returns how many.
  virtual size_t allocate(std::span<Frame> out) = 0;
  virtual void release(std::span<const Frame> frames) = 0;
  // Takes all frames; returns how many the port had no room for.
  virtual size_t transmit(config::PortId port, std::span<const Frame> frames) = 0;
};

// A core's outgoing frames, collected per port and passed on in bursts.
class Output {
 public:
  Output(FrameIo& io, base::CoreCounters& counters) : io_(io), counters_(counters) {}
  ~Output();
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;

  // Takes the frame.
  void transmit(config::PortId port, const Frame& frame) {
    Batch& batch = ports_[port];
    batch.frames[batch.count++] = frame;
    if (batch.count == kBurst) flush_port(port);
  }
  // The same with the packet in its buffer, which may begin elsewhere by now.
  void transmit(config::PortId port, const Frame& frame, const wire::Packet& packet) {
    Batch& batch = ports_[port];
    Frame& out = batch.frames[batch.count++];
    out = frame;
    out.data = packet.frame;
    out.length = packet.frame_length;
    if (batch.count == kBurst) flush_port(port);
  }
  // Takes the frame and counts why.
  void drop(const Frame& frame, base::Drop reason) {
    counters_[reason].add();
    release(frame);
  }
  void release(const Frame& frame) {
    released_.frames[released_.count++] = frame;
    if (released_.count == kBurst) flush_released();
  }
  // An empty frame for a packet of ours; false if there is no buffer (counted).
  [[nodiscard]] bool allocate(Frame& frame);
  void flush();
  [[nodiscard]] size_t spare() const { return fresh_.count; }
  // Frames that a port had no room for. Any thread may ask.
  [[nodiscard]] uint64_t tx_full(config::PortId port) const { return tx_full_[port].value(); }

 private:
  static constexpr size_t kBurst = 32;
  struct Batch {
    size_t count = 0;
    std::array<Frame, kBurst> frames;
  };

  void flush_port(config::PortId port);
  void flush_released();

  FrameIo& io_;
  base::CoreCounters& counters_;
  std::array<Batch, config::kMaxPorts> ports_;
  std::array<base::Counter, config::kMaxPorts> tx_full_;
  Batch released_;
  Batch fresh_;  // allocated, not used yet
};

}  // namespace mqlb::engine
