// The ranges of every number in the configuration, stated once: validate() refuses what is outside,
// the commands and their reference name the same bounds.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mqlb::config {

struct Range {
  uint64_t least;
  uint64_t most;

  [[nodiscard]] constexpr bool contains(uint64_t n) const { return n >= least && n <= most; }
};

inline constexpr Range kMtuRange{576, 9216};   // RFC 791: every host takes 576 bytes
inline constexpr uint16_t kLeastMtuV6 = 1280;  // RFC 8200 section 5
inline constexpr Range kLcoreRange{0, 127};
inline constexpr Range kSnatPortRange{1, 65535};
inline constexpr Range kWeightRange{1, 1000};
inline constexpr Range kTableSizeRange{3, 16777213};
inline constexpr Range kHashSeedRange{0, UINT64_MAX};
inline constexpr Range kConnectTriesRange{1, 16};
inline constexpr Range kConnectTimeoutRange{10, 60'000};     // milliseconds
inline constexpr Range kAnswerTimeoutRange{0, 600'000};      // milliseconds
inline constexpr Range kMaxConnectRange{128, 1'048'576};     // bytes
inline constexpr Range kConnectDeadlineRange{100, 600'000};  // milliseconds
inline constexpr Range kPollPauseRange{1, 10'000};           // microseconds
inline constexpr Range kIdleFloorRange{1, 604'800};          // seconds, as those below
inline constexpr Range kIdleMaxRange{1, 259'200};            // a record has 16 bits of 4 s
inline constexpr Range kClosingTimeoutRange{1, 600};
inline constexpr Range kHalfCloseTimeoutRange{1, 86'400};
inline constexpr Range kSnatQuarantineRange{0, 3'600};
inline constexpr Range kMaxFlowsRange{1, 100'000'000};
inline constexpr Range kMaxConnectingRange{1, 4'194'304};
inline constexpr Range kRstPerSecondRange{0, 10'000'000};
inline constexpr Range kCheckIntervalRange{100, 3'600'000};  // milliseconds
inline constexpr Range kCheckTimeoutRange{10, 60'000};       // milliseconds
inline constexpr Range kCheckCountRange{1, 100};             // rise and fall
inline constexpr Range kCheckHttpPortRange{1, 65535};
inline constexpr Range kCheckHttpStatusRange{100, 599};
inline constexpr Range kMaxConnectionsRange{0, 100'000'000};
inline constexpr Range kCloseRateRange{1, 1'000'000};  // flows per second
inline constexpr Range kSlowStartRange{0, 86'400};     // seconds
inline constexpr Range kLoadFactorRange{0, 10'000};    // percent; below 101 only 0
inline constexpr Range kMaxFailsRange{0, 1'000'000};
inline constexpr Range kFailTimeoutRange{100, 3'600'000};  // milliseconds

inline constexpr Range kIdleTimeoutRange{0, 259'200};    // seconds
inline constexpr Range kConnectRateRange{0, 1'000'000};  // per second; bursts as well
inline constexpr Range kSourceConnectionsRange{0, 1'000'000};
inline constexpr Range kSourceV4Range{1, 32};
inline constexpr Range kSourceV6Range{1, 128};
inline constexpr Range kClientIdRateRange{0, 100'000};  // in a period
inline constexpr Range kClientIdPeriodRange{1, 3'600};  // seconds
inline constexpr size_t kMaxListedPrefixes = 65'536;    // of one list
inline constexpr size_t kMaxRules = 64;                 // of one listener
inline constexpr size_t kMaxPattern = 128;

// Names are words of the command language: letters, digits, '.', '_' and '-'.
inline constexpr size_t kMaxName = 48;
inline constexpr size_t kMaxDeviceName = 63;  // RTE_DEV_NAME_MAX_LEN less its end
inline constexpr size_t kMaxCheckText = 256;  // user, password and path of health checks

}  // namespace mqlb::config
