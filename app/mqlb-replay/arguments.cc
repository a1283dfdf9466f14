#include "app/mqlb-replay/arguments.hh"

#include <getopt.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace mqlb::app {

const char* const kUsage =
    R"(usage: mqlb-replay --list CAPTURE...
       mqlb-replay --offline --config FILE [OPTIONS] CAPTURE...
       mqlb-replay EAL-ARGS -- --live --client-port DEVICE --target ADDRESS:PORT [OPTIONS] CAPTURE...

what
  --port N                   connections to this server port only (repeatable); otherwise all that
                             begin with a SYN or a CONNECT
  --verbatim                 also send Ethernet frames that belong to no played connection, as they are
  --clients N                every connection N times, from other addresses with other Client IDs
  --repeat N                 every client N times, one after the other, with the same Client ID
  --rate N                   new connections a second with --clients (10000)
  --speed N|max              captured gaps are divided by N; max: no gaps (1)
  --patience SECONDS         how long a client waits for what the captured one got (10)
where to
                             addresses are IPv4 or IPv6, with a port 198.18.0.10:1883 or
                             [2001:db8::10]:1883; clients speak what their target does
  --target ADDRESS:PORT      where all clients connect to (offline: the listener that fits)
  --client-network PREFIX    where clients' addresses are taken from (the captured ones; those that
                             cannot be used, captured ones of the other family, and multiplied
                             ones: 198.18.128.0/17 or 2001:db8:ffff::/64)
offline
  --config FILE              mqlb's start-up file
  --baseline FILE            another one: the report says which clients it would have sent elsewhere
  --fault WHERE:KEY=VALUE[,...]  WHERE: from-clients to-clients from-brokers to-brokers clients brokers
                             all; KEY: loss duplicate reorder corrupt (0 to 1), delay jitter (us)
  --seed N                   of all that is random (1)
  --output FILE              both sides of the balancer as pcapng
live
  --client-port DEVICE       DPDK device that clients are on
  --gateway ADDRESS          their next hop (the target)
  --broker-port DEVICE       also play the brokers, on this device (may be the same) ...
  --broker-address A:P       ... at these addresses (repeatable)
  --ignore-server-bytes      brokers may answer otherwise than captured
brokers
  --brokers stub|capture     what they say: answers of their own, or the captured server's side (stub)
  --broker NAME:CONDUCT      refuse, silent, reset or mute (repeatable; live: the name is A:P)
  --json                     the report as JSON
)";

namespace {

enum Option : int {
  kList = 256,
  kOffline,
  kLive,
  kPort,
  kVerbatim,
  kClients,
  kRepeat,
  kRate,
  kSpeed,
  kPatience,
  kTarget,
  kClientNetwork,
  kConfig,
  kBaseline,
  kFault,
  kSeed,
  kOutput,
  kClientPort,
  kGateway,
  kBrokerPort,
  kBrokerAddress,
  kIgnoreServerBytes,
  kBrokers,
  kBroker,
  kJson,
};

constexpr option kOptions[] = {
    {"list", no_argument, nullptr, kList},
    {"offline", no_argument, nullptr, kOffline},
    {"live", no_argument, nullptr, kLive},
    {"port", required_argument, nullptr, kPort},
    {"verbatim", no_argument, nullptr, kVerbatim},
    {"clients", required_argument, nullptr, kClients},
    {"repeat", required_argument, nullptr, kRepeat},
    {"rate", required_argument, nullptr, kRate},
    {"speed", required_argument, nullptr, kSpeed},
    {"patience", required_argument, nullptr, kPatience},
    {"target", required_argument, nullptr, kTarget},
    {"client-network", required_argument, nullptr, kClientNetwork},
    {"config", required_argument, nullptr, kConfig},
    {"baseline", required_argument, nullptr, kBaseline},
    {"fault", required_argument, nullptr, kFault},
    {"seed", required_argument, nullptr, kSeed},
    {"output", required_argument, nullptr, kOutput},
    {"client-port", required_argument, nullptr, kClientPort},
    {"gateway", required_argument, nullptr, kGateway},
    {"broker-port", required_argument, nullptr, kBrokerPort},
    {"broker-address", required_argument, nullptr, kBrokerAddress},
    {"ignore-server-bytes", no_argument, nullptr, kIgnoreServerBytes},
    {"brokers", required_argument, nullptr, kBrokers},
    {"broker", required_argument, nullptr, kBroker},
    {"json", no_argument, nullptr, kJson},
    {nullptr, 0, nullptr, 0},
};

constexpr uint64_t kMostClients = 10'000'000;
constexpr uint64_t kMostRepeats = 1'000'000;

template <typename T>
base::Result<void> number(const char* text, uint64_t least, uint64_t most, T& out) {
  uint64_t n = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, n);
  if (error != std::errc() || rest != end || n < least || n > most) {
    return base::fail("'" + std::string(text) + "' is not a number from " + std::to_string(least) +
                      " to " + std::to_string(most));
  }
  out = static_cast<T>(n);
  return {};
}

base::Result<void> positive(const char* text, double& out) {
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, out);
  if (error != std::errc() || rest != end || !std::isfinite(out) || out < 1e-3 || out > 1e9) {
    return base::fail("'" + std::string(text) + "' is not a number from 0.001 to 1000000000");
  }
  return {};
}

// A parsed value, or the parser's error.
template <typename Parsed, typename T>
base::Result<void> assign(Parsed parsed, T& out) {
  if (!parsed) return tl::unexpected(parsed.error());
  out = *parsed;
  return {};
}

base::Result<void> set_conduct(const std::string& text, replay::PlayOptions& out) {
  constexpr std::pair<std::string_view, replay::Conduct> kConducts[] = {
      {"refuse", replay::Conduct::refuse},
      {"silent", replay::Conduct::silent},
      {"reset", replay::Conduct::reset},
      {"mute", replay::Conduct::mute}};
  const size_t colon = text.rfind(':');
  for (const auto& [name, conduct] : kConducts) {
    if (colon != std::string::npos && text.substr(colon + 1) == name) {
      const std::string broker = text.substr(0, colon);
      // An IPv6 address may be written in more ways than one.
      const auto endpoint = wire::Endpoint::parse(broker);
      out.conducts[endpoint ? wire::to_string(*endpoint) : broker] = conduct;
      return {};
    }
  }
  return base::fail("'" + text + "' is not NAME:refuse, silent, reset or mute");
}

base::Result<void> set_brokers(std::string_view text, replay::BrokerTalk& out) {
  if (text != "stub" && text != "capture") return base::fail("--brokers takes stub or capture");
  out = text == "stub" ? replay::BrokerTalk::stub : replay::BrokerTalk::capture;
  return {};
}

base::Result<void> add_broker(std::string_view text, std::vector<replay::BrokerSpec>& out) {
  auto endpoint = wire::Endpoint::parse(text);
  if (!endpoint) return tl::unexpected(endpoint.error());
  out.push_back({wire::to_string(*endpoint), *endpoint});
  return {};
}

base::Result<void> set_patience(const char* text, base::Duration& out) {
  double seconds = 0;
  if (auto done = positive(text, seconds); !done) return done;
  out = base::Duration(static_cast<int64_t>(std::min(seconds, 1e6) * 1e6));
  return {};
}

base::Result<void> take_play_option(int choice, const char* value, replay::PlayOptions& out) {
  switch (choice) {
    case kClients:
      return number(value, 1, kMostClients, out.clients);
    case kRepeat:
      return number(value, 1, kMostRepeats, out.repeat);
    case kRate:
      return positive(value, out.rate);
    case kSpeed:
      if (std::strcmp(value, "max") == 0) {
        out.speed = 0;
        return {};
      }
      return positive(value, out.speed);
    case kPatience:
      return set_patience(value, out.patience);
    case kTarget:
      return assign(wire::Endpoint::parse(value), out.target);
    case kClientNetwork:
      return assign(wire::Prefix::parse(value), out.client_network);
    case kSeed:
      return number(value, 0, UINT64_MAX, out.seed);
    case kIgnoreServerBytes:
      out.compare_server_bytes = false;
      return {};
    case kBrokers:
      return set_brokers(value, out.brokers);
    case kBroker:
      return set_conduct(value, out);
    default:
      return base::fail("unknown option");
  }
}

base::Result<void> take_option(int choice, const char* value, Arguments& out) {
  switch (choice) {
    case kList:
      out.mode = Mode::list;
      return {};
    case kOffline:
      out.mode = Mode::offline;
      return {};
    case kLive:
      out.mode = Mode::live;
      return {};
    case kPort: {
      uint16_t port = 0;
      if (auto done = number(value, 1, 65535, port); !done) return done;
      out.load.ports.push_back(port);
      return {};
    }
    case kVerbatim:
      out.load.keep_loose = true;
      return {};
    case kConfig:
      out.config = value;
      return {};
    case kBaseline:
      out.baseline = value;
      return {};
    case kFault:
      return replay::parse_faults(value, out.faults);
    case kOutput:
      out.output = value;
      return {};
    case kClientPort:
      out.client_port = value;
      return {};
    case kGateway:
      return assign(wire::IpAddress::parse(value), out.gateway);
    case kBrokerPort:
      out.broker_port = value;
      return {};
    case kBrokerAddress:
      return add_broker(value, out.brokers);
    case kJson:
      out.json = true;
      return {};
    default:
      return take_play_option(choice, value, out.play);
  }
}

// The mode that an option is for, if it is for one only.
std::optional<Mode> mode_of(int choice) {
  switch (choice) {
    case kConfig:
    case kBaseline:
    case kFault:
    case kOutput:
      return Mode::offline;
    case kClientPort:
    case kGateway:
    case kBrokerPort:
    case kBrokerAddress:
    case kIgnoreServerBytes:
      return Mode::live;
    default:
      return std::nullopt;
  }
}

// Conducts of brokers that are not played would say nothing.
base::Result<void> check_conducts(const Arguments& a) {
  for (const auto& conduct : a.play.conducts) {
    const std::string& name = conduct.first;
    const bool known = std::any_of(a.brokers.begin(), a.brokers.end(),
                                   [&](const replay::BrokerSpec& b) { return b.name == name; });
    if (!known) return base::fail("--broker: '" + name + "' is no --broker-address");
  }
  return {};
}

// Next hops are asked for from the clients' addresses, which are of the target's family.
base::Result<void> check_gateway(const Arguments& a) {
  if (!a.gateway || a.gateway->is_v4() == a.play.target->address.is_v4()) return {};
  return base::fail("--gateway: " + wire::to_string(*a.gateway) + " leads to no " +
                    wire::to_string(*a.play.target));
}

base::Result<void> check(const Arguments& a) {
  if (a.captures.empty()) return base::fail("no capture is named");
  switch (a.mode) {
    case Mode::list:
      return {};
    case Mode::offline:
      if (a.config.empty()) return base::fail("--offline needs --config FILE");
      return {};
    case Mode::live:
      if (a.client_port.empty()) return base::fail("--live needs --client-port DEVICE");
      if (!a.play.target) return base::fail("--live needs --target ADDRESS:PORT");
      if (a.broker_port.empty() != a.brokers.empty()) {
        return base::fail("--broker-port and --broker-address belong together");
      }
      if (auto leads = check_gateway(a); !leads) return leads;
      return check_conducts(a);
  }
  return {};
}

}  // namespace

base::Result<Arguments> parse_arguments(int argc, char** argv) {
  Arguments out;
  optind = 1;
  opterr = 0;
  int choice = 0;
  int index = 0;
  std::vector<std::pair<Mode, const char*>> limited;
  while ((choice = getopt_long(argc, argv, "", kOptions, &index)) != -1) {
    if (choice == '?') {
      return base::fail("'" + std::string(argv[optind - 1]) + "' is no option, or lacks its value");
    }
    if (auto done = take_option(choice, optarg, out); !done) return tl::unexpected(done.error());
    if (const auto mode = mode_of(choice)) limited.emplace_back(*mode, kOptions[index].name);
  }
  for (const auto& [mode, name] : limited) {
    if (out.mode != Mode::list && out.mode != mode) {
      return base::fail("--" + std::string(name) + " is for " +
                        (mode == Mode::live ? "--live" : "--offline"));
    }
  }
  for (int i = optind; i < argc; ++i) out.captures.emplace_back(argv[i]);
  if (auto valid = check(out); !valid) return tl::unexpected(valid.error());
  return out;
}

}  // namespace mqlb::app
