// Whom a listener lets in: its limits and its lists.
#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Admission;
using config::Model;

// One setting of the listener that the command names.
template <typename Change>
Result<void> set_admission(Model& model, const Args& args, Change change) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  change(listener->admission);
  return {};
}

config::RateLimit rate_limit(const Args& args) {
  return {args.number<uint32_t>("RATE"), args.has("BURST") ? args.number<uint32_t>("BURST") : 0};
}

Result<void> set_max_connections(Model& model, const Args& args) {
  return set_admission(model, args,
                       [&](Admission& a) { a.max_connections = args.number<uint32_t>("N"); });
}

Result<void> set_connect_rate(Model& model, const Args& args) {
  return set_admission(model, args, [&](Admission& a) { a.connect_rate = rate_limit(args); });
}

Result<void> set_source_connections(Model& model, const Args& args) {
  return set_admission(model, args,
                       [&](Admission& a) { a.source_connections = args.number<uint32_t>("N"); });
}

Result<void> set_source_rate(Model& model, const Args& args) {
  return set_admission(model, args, [&](Admission& a) { a.source_rate = rate_limit(args); });
}

Result<void> set_source_prefix(Model& model, const Args& args) {
  return set_admission(model, args, [&](Admission& a) {
    a.source_v4_bits = args.number<uint8_t>("V4-BITS");
    if (args.has("V6-BITS")) a.source_v6_bits = args.number<uint8_t>("V6-BITS");
  });
}

Result<void> set_client_id_rate(Model& model, const Args& args) {
  return set_admission(model, args, [&](Admission& a) {
    a.client_id_connects = args.number<uint32_t>("N");
    a.client_id_period = args.duration<std::chrono::seconds>("SECONDS");
  });
}

Result<void> set_refuse(Model& model, const Args& args) {
  return set_admission(model, args, [&](Admission& a) {
    a.refuse = args.choice("HOW", {config::Refusal::silent, config::Refusal::reset});
  });
}

using List = std::vector<wire::Prefix> Admission::*;

template <List list>
Result<void> add_prefix(Model& model, const Args& args) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  auto& prefixes = listener->admission.*list;
  const wire::Prefix& prefix = args.prefix("PREFIX");
  if (std::find(prefixes.begin(), prefixes.end(), prefix) != prefixes.end()) {
    return exists("prefix", to_string(prefix));
  }
  prefixes.push_back(prefix);
  return {};
}

template <List list>
Result<void> remove_prefix(Model& model, const Args& args) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  if (std::erase(listener->admission.*list, args.prefix("PREFIX")) > 0) return {};
  return missing("prefix in this list of listener '" + listener->name + "':",
                 to_string(args.prefix("PREFIX")));
}

}  // namespace

std::vector<Command> admission_commands() {
  constexpr Where anywhere = Where::anywhere;
  return {
      {"listener set LISTENER:listener max-connections N:max-connections",
       "connections of all its clients at once; 0: any number", anywhere, set_max_connections},
      {"listener set LISTENER:listener connect-rate RATE:connect-rate [burst BURST:connect-rate]",
       "new connections per second, and how many may come at once (as many); 0: no limit", anywhere,
       set_connect_rate},
      {"listener set LISTENER:listener source-connections N:source-connections",
       "connections of one source at once; 0: any number", anywhere, set_source_connections},
      {"listener set LISTENER:listener source-rate RATE:connect-rate [burst BURST:connect-rate]",
       "new connections per second of one source, and how many may come at once; 0: no limit",
       anywhere, set_source_rate},
      {"listener set LISTENER:listener source-prefix V4-BITS:source-v4-bits "
       "[V6-BITS:source-v6-bits]",
       "which bits of addresses tell sources apart", anywhere, set_source_prefix},
      {"listener set LISTENER:listener client-id-rate N:client-id-rate per "
       "SECONDS:client-id-period",
       "how often one Client ID may connect in so many seconds; 0: any number of times", anywhere,
       set_client_id_rate},
      {"listener set LISTENER:listener refuse HOW:silent|reset",
       "what clients meet that are turned away before their CONNECT was read", anywhere,
       set_refuse},
      {"allow add LISTENER:listener PREFIX:prefix",
       "lets in these clients, and nobody who is in no such network", anywhere,
       add_prefix<&Admission::allow>},
      {"allow remove LISTENER:listener PREFIX:allowed", "forgets it; without any all are let in",
       anywhere, remove_prefix<&Admission::allow>},
      {"deny add LISTENER:listener PREFIX:prefix",
       "turns these new clients away, even if they are allowed; connections go on", anywhere,
       add_prefix<&Admission::deny>},
      {"deny remove LISTENER:listener PREFIX:denied", "forgets it", anywhere,
       remove_prefix<&Admission::deny>},
  };
}

}  // namespace mqlb::cli
