#include "tests/load/options.hh"

#include <getopt.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace mqlb::load {
namespace {

constexpr const char* kUsage =
    "usage: mqtt-load connect|idle|publish|latency --to ADDRESS:PORT... --from ADDRESS... "
    "[OPTION...]\n"
    "  connect   --connections N times CONNECT, CONNACK, DISCONNECT; --window N at once\n"
    "  idle      opens --connections N and keeps them\n"
    "  publish   as fast as answers come; --connections N --seconds S --qos 0|1 --credit N\n"
    "  latency   QoS 1 at a fixed rate; --connections N --seconds S --rate N\n"
    "  --ids N   distinct Client IDs, --prefix TEXT their beginning, --payload BYTES,\n"
    "  --sample FILE... is read before and after the measured part and put into the report\n"
    "Prints \"begin\", waits for a line on standard input, measures (idle: waits for another),\n"
    "and prints a report as JSON.\n";

enum Choice : int {
  kTo = 1,
  kFrom,
  kPrefix,
  kConnections,
  kIds,
  kWindow,
  kCredit,
  kPayload,
  kQos,
  kSeconds,
  kRate,
  kSample,
};

bool parse_phase(std::string_view text, Phase& out) {
  constexpr std::string_view kNames[] = {"connect", "idle", "publish", "latency"};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    if (text != kNames[i]) continue;
    out = static_cast<Phase>(i);
    return true;
  }
  return false;
}

bool parse_count(const char* text, uint32_t lowest, uint32_t highest, uint32_t& out) {
  char* end = nullptr;
  errno = 0;
  const unsigned long value = std::strtoul(text, &end, 10);
  out = static_cast<uint32_t>(value);
  return errno == 0 && *end == '\0' && *text != '-' && value >= lowest && value <= highest;
}

bool parse_number(const char* text, double& out) {
  char* end = nullptr;
  out = std::strtod(text, &end);
  return *text != '\0' && *end == '\0' && out > 0 && out < 1e9;
}

template <typename Value>
bool keep(base::Result<Value> value, std::vector<Value>& out) {
  if (value) out.push_back(*value);
  return value.has_value();
}

bool take_option(int choice, const char* text, Options& out) {
  constexpr uint32_t kMany = 1'000'000;
  switch (choice) {
    case kTo:
      return keep(wire::Endpoint::parse(text), out.to);
    case kFrom:
      return keep(wire::IpAddress::parse(text), out.from);
    case kPrefix:
      out.prefix = text;
      return out.prefix.size() < 1000;
    case kConnections:
      return parse_count(text, 1, kMany, out.connections);
    case kIds:
      return parse_count(text, 1, kMany, out.ids);
    case kWindow:
      return parse_count(text, 1, kMany, out.window);
    case kCredit:
      return parse_count(text, 1, kMany, out.credit);
    case kPayload:
      return parse_count(text, 0, 1 << 16, out.payload);
    case kQos:
      return parse_count(text, 0, 1, out.qos);
    case kSeconds:
      return parse_number(text, out.seconds);
    case kRate:
      return parse_number(text, out.rate);
    case kSample:
      out.samples.emplace_back(text);
      return true;
    default:
      return false;
  }
}

bool wrong_usage() {
  std::fputs(kUsage, stderr);
  return false;
}

}  // namespace

bool parse_options(int argc, char** argv, Options& out) {
  const option options[] = {{"to", required_argument, nullptr, kTo},
                            {"from", required_argument, nullptr, kFrom},
                            {"prefix", required_argument, nullptr, kPrefix},
                            {"connections", required_argument, nullptr, kConnections},
                            {"ids", required_argument, nullptr, kIds},
                            {"window", required_argument, nullptr, kWindow},
                            {"credit", required_argument, nullptr, kCredit},
                            {"payload", required_argument, nullptr, kPayload},
                            {"qos", required_argument, nullptr, kQos},
                            {"seconds", required_argument, nullptr, kSeconds},
                            {"rate", required_argument, nullptr, kRate},
                            {"sample", required_argument, nullptr, kSample},
                            {nullptr, 0, nullptr, 0}};
  int choice = 0;
  while ((choice = getopt_long(argc, argv, "", options, nullptr)) != -1) {
    if (!take_option(choice, optarg != nullptr ? optarg : "", out)) return wrong_usage();
  }
  if (optind + 1 != argc || !parse_phase(argv[optind], out.phase) || out.to.empty() ||
      out.from.empty()) {
    return wrong_usage();
  }
  if (out.ids == 0) out.ids = out.connections;
  return true;
}

}  // namespace mqlb::load
