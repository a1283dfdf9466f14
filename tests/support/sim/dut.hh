// The device under test between the hosts, as the World sees it.
#pragma once

#include "lib/base/bytes.hh"
#include "lib/base/time.hh"

namespace mqlb::sim {

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  // The frame is copied before the call returns.
  virtual void transmit(unsigned port, base::Bytes frame) = 0;
};

class Dut {
 public:
  virtual ~Dut() = default;
  // `frame` ends with the call. Whatever the device emits in answer goes to `out` at this instant;
  // it may also keep it for the next advance().
  virtual void receive(unsigned port, base::Bytes frame, base::Instant now, FrameSink& out) = 0;
  // Called once a tick while anything is going on in the world, or while busy().
  virtual void advance(base::Instant now, FrameSink& out) = 0;
  // Keeps World::run going although no frame or timer of a host is left.
  [[nodiscard]] virtual bool busy() const { return false; }
};

// A wire with two ends, port 0 and port 1.
class WireDut final : public Dut {
 public:
  void receive(unsigned port, base::Bytes frame, base::Instant, FrameSink& out) override {
    out.transmit(1 - port, frame);
  }
  void advance(base::Instant, FrameSink&) override {}
};

}  // namespace mqlb::sim
