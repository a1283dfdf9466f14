// Listeners, and the rules by which they pick a pool.
#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Model;
using std::chrono::milliseconds;
using std::chrono::seconds;

Result<void> add_listener(Model& model, const Args& args) {
  if (find(model.listeners, args.text("NAME"))) return exists("listener", args.text("NAME"));
  config::Listener listener;
  listener.name = args.text("NAME");
  listener.endpoint = args.endpoint("ENDPOINT");
  listener.pool = args.text("POOL");
  model.listeners.push_back(std::move(listener));
  return {};
}

// One setting of the listener that the command names.
template <typename Change>
Result<void> set_listener(Model& model, const Args& args, Change change) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  change(*listener);
  return {};
}

Result<void> set_max_connect(Model& model, const Args& args) {
  return set_listener(model, args, [&](config::Listener& l) {
    l.max_connect_bytes = args.number<uint32_t>("BYTES");
  });
}

Result<void> set_connect_deadline(Model& model, const Args& args) {
  return set_listener(model, args, [&](config::Listener& l) {
    l.connect_deadline = args.duration<milliseconds>("MILLISECONDS");
  });
}

Result<void> set_mode(Model& model, const Args& args) {
  return set_listener(model, args, [&](config::Listener& l) {
    l.mode = args.choice("MODE", {config::ListenerMode::mqtt, config::ListenerMode::tcp});
  });
}

Result<void> set_idle_timeout(Model& model, const Args& args) {
  return set_listener(model, args, [&](config::Listener& l) {
    l.idle_timeout = args.duration<seconds>("SECONDS");
  });
}

Result<void> remove_listener(Model& model, const Args& args) {
  return remove(model.listeners, "listener", args.text("LISTENER"));
}

// Of what the command names, sets what a client has to say.
void set_condition(config::Rule& rule, const Args& args) {
  using mqtt::Version;
  if (args.has("CLIENT-ID")) rule.client_id = args.text("CLIENT-ID");
  if (args.has("USER-NAME")) rule.user_name = args.text("USER-NAME");
  if (args.has("VERSION")) {
    rule.version = args.choice("VERSION", {Version::v3_1, Version::v3_1_1, Version::v5_0});
  }
}

Result<void> add_rule(Model& model, const Args& args) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  if (find(listener->rules, args.text("NAME"))) return exists("rule", args.text("NAME"));
  config::Rule rule;
  rule.name = args.text("NAME");
  rule.pool = args.text("POOL");
  set_condition(rule, args);
  listener->rules.push_back(std::move(rule));
  return {};
}

Result<void> set_rule(Model& model, const Args& args) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  config::Rule* rule = find(listener->rules, args.text("RULE"));
  if (!rule) return missing("rule of listener '" + listener->name + "'", args.text("RULE"));
  set_condition(*rule, args);
  if (args.has("POOL")) rule->pool = args.text("POOL");
  return {};
}

Result<void> remove_rule(Model& model, const Args& args) {
  config::Listener* listener = find(model.listeners, args.text("LISTENER"));
  if (!listener) return missing("listener", args.text("LISTENER"));
  return remove(listener->rules, "rule of listener '" + listener->name + "'", args.text("RULE"));
}

}  // namespace

std::vector<Command> listener_commands() {
  constexpr Where anywhere = Where::anywhere;
  return {
      {"listener add NAME:name ENDPOINT:endpoint pool POOL:pool",
       "accepts clients of a pool on an address", anywhere, add_listener},
      {"listener remove LISTENER:listener",
       "accepts no more clients there; their flows go on until they end", anywhere,
       remove_listener},
      {"listener set LISTENER:listener max-connect BYTES:max-connect",
       "the largest CONNECT packet accepted", anywhere, set_max_connect},
      {"listener set LISTENER:listener connect-deadline MILLISECONDS:connect-deadline",
       "time for a client to send its CONNECT", anywhere, set_connect_deadline},
      {"listener set LISTENER:listener mode MODE:mqtt|tcp",
       "tcp: connects clients without reading anything, as TLS needs it", anywhere, set_mode},
      {"listener set LISTENER:listener idle-timeout SECONDS:idle-timeout",
       "silence that ends a flow in mode tcp; 0: idle-max", anywhere, set_idle_timeout},
      {"rule add LISTENER:listener NAME:name client-id CLIENT-ID:pattern pool POOL:pool",
       "sends clients with such a Client ID to another pool; the first rule that is met decides",
       anywhere, add_rule},
      {"rule add LISTENER:listener NAME:name user-name USER-NAME:pattern pool POOL:pool",
       "the same by user name", anywhere, add_rule},
      {"rule add LISTENER:listener NAME:name protocol VERSION:3.1|3.1.1|5.0 pool POOL:pool",
       "the same by version of MQTT", anywhere, add_rule},
      {"rule set LISTENER:listener RULE:rule client-id CLIENT-ID:pattern",
       "what clients have to say besides, to meet the rule", anywhere, set_rule},
      {"rule set LISTENER:listener RULE:rule user-name USER-NAME:pattern", "the same by user name",
       anywhere, set_rule},
      {"rule set LISTENER:listener RULE:rule protocol VERSION:3.1|3.1.1|5.0",
       "the same by version of MQTT", anywhere, set_rule},
      {"rule set LISTENER:listener RULE:rule pool POOL:pool", "the pool that the rule leads to",
       anywhere, set_rule},
      {"rule remove LISTENER:listener RULE:rule", "forgets a rule", anywhere, remove_rule},
  };
}

}  // namespace mqlb::cli
