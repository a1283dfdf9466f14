// An application that reads at its own pace and has one alarm clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tests/support/sim/tcp_endpoint.hh"

namespace mqlb::sim {

// All at once when the interval is zero; else so many bytes each interval, which closes the
// receive window of a peer that sends faster.
struct ReadPace {
  Duration interval{0};
  size_t bytes = 1024;
};

class StreamApp : public App {
 public:
  explicit StreamApp(const ReadPace& pace) : pace_(pace) {}

  void on_readable(TcpEndpoint& tcp, Instant now) final {
    if (pace_.interval == Duration{0}) {
      take(tcp, SIZE_MAX, now);
    } else if (read_at_ == kNever) {
      read_at_ = now + pace_.interval;
    }
  }
  [[nodiscard]] Instant deadline() const final { return std::min(read_at_, alarm_); }
  void on_timer(TcpEndpoint& tcp, Instant now) final {
    if (read_at_ <= now) {
      take(tcp, pace_.bytes, now);
      read_at_ = tcp.readable() > 0 ? now + pace_.interval : kNever;
    }
    if (alarm_ <= now) {
      alarm_ = kNever;
      on_alarm(tcp, now);
    }
  }

 protected:
  virtual void on_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) = 0;
  virtual void on_alarm(TcpEndpoint&, Instant) {}
  void set_alarm(Instant at) { alarm_ = at; }

 private:
  void take(TcpEndpoint& tcp, size_t most, Instant now) {
    std::vector<uint8_t> bytes;
    tcp.read(most, bytes);
    if (!bytes.empty()) on_bytes(tcp, bytes, now);
  }

  ReadPace pace_;
  Instant read_at_ = kNever;
  Instant alarm_ = kNever;
};

}  // namespace mqlb::sim
