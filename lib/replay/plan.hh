// Which client plays which recording, from which address, against which listener, and when.
#pragma once

#include <array>
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

enum class Family : uint8_t { ipv4, ipv6 };
[[nodiscard]] inline Family family_of(const wire::IpAddress& address) {
  return address.is_v4() ? Family::ipv4 : Family::ipv6;
}

// Where clients that cannot use their captured address get one: 198.18.128.0/17 (RFC 2544) or
// 2001:db8:ffff::/64 (RFC 3849).
[[nodiscard]] wire::Prefix spare_network(Family family);

// The addresses of a network that hosts may have, in order.
class HostAddresses {
 public:
  explicit HostAddresses(const wire::Prefix& network);
  // The n-th, from 0; after the last one the first one again.
  [[nodiscard]] wire::IpAddress operator[](uint32_t n) const;

 private:
  std::array<uint8_t, 16> network_;
  bool is_v4_;
  uint64_t first_ = 0;  // of those with the network's bits
  uint64_t count_;
};

struct PlayOptions {
  std::optional<wire::Endpoint> target;        // of all clients
  std::optional<wire::Prefix> client_network;  // where clients' addresses are taken from; of the
                                               // targets' family
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
// and port, else the only one with its port, else the only one of these of its family, else the
// only one. Clients are played over the family of their target: one that was captured over the
// other one has no address there and gets a spare one. Fails if no listener or several would do, if
// the network is not of the targets' family, or if it has too few addresses and ports.
[[nodiscard]] base::Result<std::vector<Planned>> make_plan(
    const Capture& capture, const PlayOptions& options,
    const std::vector<wire::Endpoint>& listeners);

}  // namespace mqlb::replay
