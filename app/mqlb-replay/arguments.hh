// The command line of mqlb-replay.
#pragma once

#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/replay/faults.hh"
#include "lib/replay/plan.hh"
#include "lib/replay/session.hh"

namespace mqlb::app {

enum class Mode : uint8_t { list, offline, live };

struct Arguments {
  Mode mode = Mode::list;
  std::vector<std::string> captures;
  std::string config;
  std::string baseline;
  std::string output;
  bool json = false;
  replay::LoadOptions load;
  replay::PlayOptions play;
  replay::WireFaults faults{};
  // Live.
  std::string client_port;
  std::string broker_port;
  std::optional<wire::IpAddress> gateway;
  std::vector<replay::BrokerSpec> brokers;
};

// argv[0] is skipped. The error is a sentence.
[[nodiscard]] base::Result<Arguments> parse_arguments(int argc, char** argv);

extern const char* const kUsage;

}  // namespace mqlb::app
