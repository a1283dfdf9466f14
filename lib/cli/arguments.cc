#include "lib/cli/arguments.hh"

#include <algorithm>
#include <charconv>

namespace mqlb::cli {
namespace {

using config::Model;
using Kind = ArgumentType::Kind;
using Names = std::vector<std::string>;

template <typename Objects>
Names names_of(const Objects& objects) {
  Names names;
  for (const auto& object : objects) names.push_back(object.name);
  return names;
}

Names backend_names(const Model& model) {
  Names names;
  for (const config::Pool& pool : model.pools) {
    for (const config::Backend& b : pool.backends) names.push_back(b.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Names rule_names(const Model& model) {
  Names names;
  for (const config::Listener& l : model.listeners) {
    for (const config::Rule& rule : l.rules) names.push_back(rule.name);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Names port_addresses(const Model& model) {
  Names names;
  for (const config::Port& port : model.ports) {
    for (const wire::Prefix& own : port.addresses) names.push_back(to_string(own));
  }
  return names;
}

Names route_prefixes(const Model& model) {
  Names names;
  for (const config::Route& route : model.routes) names.push_back(to_string(route.prefix));
  return names;
}

// Of any listener; those that several have come once.
template <std::vector<wire::Prefix> config::Admission::*list>
Names listed_prefixes(const Model& model) {
  Names names;
  for (const config::Listener& listener : model.listeners) {
    for (const wire::Prefix& prefix : listener.admission.*list) names.push_back(to_string(prefix));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

ArgumentType number(std::string_view name, config::Range range) {
  return {name, Kind::number, {}, range};
}

const std::vector<ArgumentType>& argument_types() {
  static const std::vector<ArgumentType> types{
      {"name", Kind::name, "a new name of 1 to 48 letters, digits, '.', '_' or '-'"},
      {"device", Kind::text, "a DPDK device, such as net_af_packet0 or 0000:3b:00.0"},
      {"port",
       Kind::text,
       "the name of a port",
       {},
       [](const Model& m) { return names_of(m.ports); }},
      {"snat",
       Kind::text,
       "the name of a SNAT pool",
       {},
       [](const Model& m) { return names_of(m.snat_pools); }},
      {"pool",
       Kind::text,
       "the name of a pool",
       {},
       [](const Model& m) { return names_of(m.pools); }},
      {"backend", Kind::text, "the name of a backend", {}, backend_names},
      {"listener",
       Kind::text,
       "the name of a listener",
       {},
       [](const Model& m) { return names_of(m.listeners); }},
      {"address", Kind::address, "an address, such as 198.18.0.1 or 2001:db8::1"},
      {"prefix", Kind::prefix, "ADDRESS/LENGTH, such as 198.18.0.1/24"},
      {"port-address", Kind::prefix, "an address of the port, with its length", {}, port_addresses},
      {"route", Kind::prefix, "the prefix of a route", {}, route_prefixes},
      {"endpoint", Kind::endpoint, "ADDRESS:PORT, such as 198.18.0.10:1883 or [2001:db8::1]:1883"},
      {"client-id", Kind::rest, "a Client ID: the rest of the line, blanks and '#' included"},
      {"user-name", Kind::text, "a user name without blanks"},
      {"rule", Kind::text, "the name of a rule", {}, rule_names},
      {"pattern", Kind::text,
       "a pattern for a whole Client ID or user name: '*' is any number of bytes, '?' is one"},
      {"words", Kind::rest, "the first words of a command"},
      {"check-user", Kind::rest, "a user name: the rest of the line, blanks and '#' included"},
      {"check-password", Kind::rest, "a password: the rest of the line, blanks and '#' included"},
      {"check-client-id", Kind::name, "1 to 48 letters, digits, '.', '_' or '-'"},
      {"check-http-path", Kind::text, "a path that begins with '/'"},
      {"allowed",
       Kind::prefix,
       "a prefix that the listener allows",
       {},
       listed_prefixes<&config::Admission::allow>},
      {"denied",
       Kind::prefix,
       "a prefix that the listener denies",
       {},
       listed_prefixes<&config::Admission::deny>},
      number("connect-rate", config::kConnectRateRange),
      number("source-connections", config::kSourceConnectionsRange),
      number("source-v4-bits", config::kSourceV4Range),
      number("source-v6-bits", config::kSourceV6Range),
      number("client-id-rate", config::kClientIdRateRange),
      number("client-id-period", config::kClientIdPeriodRange),
      number("lcore", config::kLcoreRange),
      number("mtu", config::kMtuRange),
      number("snat-port", config::kSnatPortRange),
      number("weight", config::kWeightRange),
      number("table-size", config::kTableSizeRange),
      number("hash-seed", config::kHashSeedRange),
      number("connect-tries", config::kConnectTriesRange),
      number("connect-timeout", config::kConnectTimeoutRange),
      number("answer-timeout", config::kAnswerTimeoutRange),
      number("max-connect", config::kMaxConnectRange),
      number("connect-deadline", config::kConnectDeadlineRange),
      number("idle-floor", config::kIdleFloorRange),
      number("idle-max", config::kIdleMaxRange),
      number("closing-timeout", config::kClosingTimeoutRange),
      number("half-close-timeout", config::kHalfCloseTimeoutRange),
      number("snat-quarantine", config::kSnatQuarantineRange),
      number("max-flows", config::kMaxFlowsRange),
      number("max-connecting", config::kMaxConnectingRange),
      number("rst-per-second", config::kRstPerSecondRange),
      number("idle-timeout", config::kIdleTimeoutRange),
      number("poll-pause", config::kPollPauseRange),
      number("check-interval", config::kCheckIntervalRange),
      number("check-timeout", config::kCheckTimeoutRange),
      number("check-count", config::kCheckCountRange),
      number("check-http-port", config::kCheckHttpPortRange),
      number("check-http-status", config::kCheckHttpStatusRange),
      number("max-connections", config::kMaxConnectionsRange),
      number("slow-start", config::kSlowStartRange),
      number("load-factor", config::kLoadFactorRange),
      number("close-rate", config::kCloseRateRange),
      number("max-fails", config::kMaxFailsRange),
      number("fail-timeout", config::kFailTimeoutRange),
  };
  return types;
}

template <typename T>
base::Result<Value> as_value(base::Result<T> parsed) {
  if (!parsed) return tl::unexpected(parsed.error());
  return Value(std::move(*parsed));
}

base::Result<Value> parse_number(const ArgumentType& type, std::string_view text) {
  uint64_t n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error == std::errc{} && end == text.data() + text.size() && type.range.contains(n)) {
    return Value(n);
  }
  return base::fail(quoted(text) + " is not " + describe(type));
}

}  // namespace

const ArgumentType* find_argument_type(std::string_view name) {
  for (const ArgumentType& type : argument_types()) {
    if (type.name == name) return &type;
  }
  return nullptr;
}

std::string describe(const ArgumentType& type) {
  if (type.kind != Kind::number) return std::string(type.expects);
  return "a number from " + std::to_string(type.range.least) + " to " +
         std::to_string(type.range.most);
}

base::Result<Value> parse_value(const ArgumentType& type, std::string_view text) {
  switch (type.kind) {
    case Kind::name:
      if (!config::is_name(text)) return base::fail(quoted(text) + " is not " + describe(type));
      return Value(std::string(text));
    case Kind::text:
    case Kind::rest:
      return Value(std::string(text));
    case Kind::number:
      return parse_number(type, text);
    case Kind::address:
      return as_value(wire::IpAddress::parse(text));
    case Kind::prefix:
      return as_value(wire::Prefix::parse(text));
    case Kind::endpoint:
      return as_value(wire::Endpoint::parse(text));
  }
  return base::fail("no such kind of argument");
}

std::string quoted(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string out = "'";
  for (const char c : text.substr(0, kShown)) {
    out += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? '?' : c;
  }
  if (text.size() > kShown) out += "...";
  return out + "'";
}

}  // namespace mqlb::cli
