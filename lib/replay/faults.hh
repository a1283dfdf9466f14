// A wire that does to frames what networks do, from a seed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/random.hh"
#include "lib/base/result.hh"
#include "lib/base/time.hh"

namespace mqlb::replay {

// Seen from the balancer.
enum class WireId : uint8_t { from_clients, to_clients, from_brokers, to_brokers };
inline constexpr size_t kWires = 4;

struct Faults {
  // Shares of frames, 0 to 1.
  double loss = 0;
  double duplicate = 0;
  double reorder = 0;  // held back until some later frames have passed
  double corrupt = 0;  // one bit flipped behind the Ethernet header
  base::Duration delay{50};
  base::Duration jitter{0};  // added to the delay, from 0 to this
};

using WireFaults = std::array<Faults, kWires>;

// No frame is lost or damaged.
[[nodiscard]] bool is_lossless(const WireFaults& faults);

// "WHERE:KEY=VALUE[,KEY=VALUE...]" as the option --fault takes it; changes what it names.
[[nodiscard]] base::Result<void> parse_faults(std::string_view text, WireFaults& out);

class Wire {
 public:
  Wire(const Faults& faults, base::Random random) : faults_(faults), random_(random) {}

  // After how long copies of a frame arrive: none, one, or two. May change the frame.
  struct Passage {
    size_t copies = 0;
    std::array<base::Duration, 2> delays{};
  };
  [[nodiscard]] Passage pass(base::MutableBytes frame);

 private:
  [[nodiscard]] base::Duration draw_delay();

  Faults faults_;
  base::Random random_;
};

}  // namespace mqlb::replay
