// One direction of a wire with faults: loss, duplication, reordering, corruption, delay.
//
// A link decides; World carries the frames. All chance comes from the link's own Random.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/sim/random.hh"
#include "tests/support/sim/violations.hh"

namespace mqlb::sim {

struct LinkConfig {
  double loss = 0;  // probabilities, 0 to 1
  double duplication = 0;
  double reordering = 0;  // frames that take up to `jitter` longer
  double corruption = 0;  // frames with one bit inverted behind the Ethernet header
  Duration delay{1'000};
  Duration jitter{0};  // also how late a duplicate may come
};

struct Frame {
  std::vector<uint8_t> bytes;
  bool damaged = false;  // by the link: a receiver that notices is right
};

struct LinkCounters {
  uint64_t frames = 0;
  uint64_t lost = 0;
  uint64_t duplicated = 0;
  uint64_t reordered = 0;
  uint64_t damaged = 0;
};

class Link {
 public:
  Link(const LinkConfig& config, Random random) : config_(config), random_(random) {}

  // Calls deliver(Instant, Frame) for every copy that arrives.
  template <typename Deliver>
  void send(Frame frame, Instant now, Deliver&& deliver) {
    ++counters_.frames;
    if (random_.chance(config_.duplication)) {
      ++counters_.duplicated;
      deliver(now + config_.delay + late(), frame);
    }
    if (random_.chance(config_.loss)) {
      ++counters_.lost;
      return;
    }
    Instant at = now + config_.delay;
    if (random_.chance(config_.reordering)) {
      ++counters_.reordered;
      at += late();
    }
    if (random_.chance(config_.corruption)) damage(frame);
    deliver(at, std::move(frame));
  }

  // A test may change the weather while the world runs.
  void set_config(const LinkConfig& config) { config_ = config; }
  [[nodiscard]] const LinkConfig& config() const { return config_; }
  [[nodiscard]] const LinkCounters& counters() const { return counters_; }

 private:
  Duration late() {
    return Duration{
        static_cast<int64_t>(random_.below(static_cast<uint64_t>(config_.jitter.count()) + 1))};
  }
  void damage(Frame& frame);

  LinkConfig config_;
  Random random_;
  LinkCounters counters_;
};

}  // namespace mqlb::sim
