// Which client plays which recording, from which address, against which listener, and when.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/base/time.hh"
#include "lib/replay/recording.hh"

namespace mqlb::replay {

enum class BrokerTalk : uint8_t {
  stub,     // answers of its own
  capture,  // the captured server's side
};

enum class Conduct : uint8_t {
  serve,
  refuse,  // RST to the SYN
  silent,  // SYNs are not answered
  reset,   // RST as soon as the handshake is over
  mute,    // acknowledges, but never says anything
};

// Clients that cannot use their captured address get one of these (RFC 2544).
inline constexpr uint32_t kSpareNetwork = 0xc6128000;  // 198.18.128.0
inline constexpr uint8_t kSpareLength = 17;

struct PlayOptions {
  std::optional<wire::Endpoint> target;        // of all clients
  std::optional<wire::Prefix> client_network;  // where clients' addresses are taken from
  uint32_t clients = 1;                        // each recording so many times, as other clients
  uint32_t repeat = 1;                         // each client so many times, one after the other
  double rate = 10000;                         // new connections a second, when multiplied
  double speed = 1;                            // captured gaps are divided by it; 0: no gaps
  BrokerTalk brokers = BrokerTalk::stub;
  std::map<std::string, Conduct> conducts;  // by the broker's name
  bool compare_server_bytes = true;
  uint64_t seed = 1;
  // Live, what is played now has to look newer than what was played from the same addresses a
  // moment ago: microseconds of a clock that goes on from one play to the next, or 0.
  uint64_t clock = 0;
  base::Duration patience{10'000'000};
  base::Duration linger{10'000'000};  // TIME-WAIT
};

struct Planned {
  size_t recording = 0;
  uint32_t client = 0;          // 0: as captured; others have another Client ID
  base::Duration begins{};      // not earlier than this, since the beginning ...
  std::optional<size_t> after;  // ... and not before that one has ended
  wire::Endpoint local;
  wire::Endpoint target;
};

// listeners: where a captured server's place is taken by one of these: the one with its address
// and port, else the only one with its port, else the only one. Fails if none or several would do,
// or if the network has too few addresses and ports.
[[nodiscard]] base::Result<std::vector<Planned>> make_plan(
    const Capture& capture, const PlayOptions& options,
    const std::vector<wire::Endpoint>& listeners);

}  // namespace mqlb::replay
