// The command line of mqtt-load.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/wire/address.hh"

namespace mqlb::load {

enum class Phase : uint8_t { connect, idle, publish, latency };

struct Options {
  Phase phase = Phase::connect;
  std::vector<wire::Endpoint> to;     // a Client ID always goes to the same of several
  std::vector<wire::IpAddress> from;  // source addresses, used in turn
  std::string prefix = "c";           // of Client IDs
  uint32_t connections = 200;
  uint32_t ids = 0;                  // distinct Client IDs; 0: as many as connections
  uint32_t window = 64;              // connections that are being opened at once
  uint32_t credit = 8;               // messages that a client sends ahead of the broker's answer
  uint32_t payload = 16;             // bytes
  uint32_t qos = 0;                  // of `publish`; `latency` is always 1
  double seconds = 2;                // of `publish` and `latency`
  double rate = 1000;                // messages a second, of `latency`
  std::vector<std::string> samples;  // files that are read before and after the measured part
};

// False: wrong usage, said on standard error.
[[nodiscard]] bool parse_options(int argc, char** argv, Options& out);

}  // namespace mqlb::load
