// Backends, and how a pool treats those that are in trouble.
#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Model;
using std::chrono::milliseconds;
using std::chrono::seconds;

Result<void> add_backend(Model& model, const Args& args) {
  config::Pool* pool = find(model.pools, args.text("POOL"));
  if (!pool) return missing("pool", args.text("POOL"));
  if (find(pool->backends, args.text("NAME"))) return exists("backend", args.text("NAME"));
  config::Backend backend;
  backend.name = args.text("NAME");
  backend.endpoint = args.endpoint("ENDPOINT");
  if (args.has("N")) backend.weight = args.number<uint32_t>("N");
  pool->backends.push_back(std::move(backend));
  return {};
}

Result<void> remove_backend(Model& model, const Args& args) {
  config::Pool* pool = find(model.pools, args.text("POOL"));
  if (!pool) return missing("pool", args.text("POOL"));
  return remove(pool->backends, "backend of pool '" + pool->name + "'", args.text("BACKEND"));
}

Result<void> set_weight(Model& model, const Args& args) {
  return set_backend(model, args,
                     [&](config::Backend& b) { b.weight = args.number<uint32_t>("N"); });
}

Result<void> set_state(Model& model, const Args& args) {
  return set_backend(model, args, [&](config::Backend& b) {
    b.state = args.choice("STATE", {config::AdminState::up, config::AdminState::maintenance,
                                    config::AdminState::down});
    b.drain_rate = 0;
  });
}

Result<void> drain(Model& model, const Args& args) {
  return set_backend(model, args, [&](config::Backend& b) {
    b.state = config::AdminState::drain;
    b.drain_rate = args.has("N") ? args.number<uint32_t>("N") : 0;
  });
}

Result<void> set_backup(Model& model, const Args& args) {
  return set_backend(model, args,
                     [&](config::Backend& b) { b.backup = args.text("SWITCH") == "on"; });
}

Result<void> set_max_connections(Model& model, const Args& args) {
  return set_backend(model, args,
                     [&](config::Backend& b) { b.max_connections = args.number<uint32_t>("N"); });
}

Result<void> set_slow_start(Model& model, const Args& args) {
  return set_pool(model, args,
                  [&](config::Pool& p) { p.slow_start = args.duration<seconds>("SECONDS"); });
}

Result<void> set_load_factor(Model& model, const Args& args) {
  return set_pool(model, args,
                  [&](config::Pool& p) { p.load_factor = args.number<uint32_t>("PERCENT"); });
}

Result<void> set_close_rate(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.close_rate = args.number<uint32_t>("N"); });
}

Result<void> set_close_on_down(Model& model, const Args& args) {
  using enum config::CloseOnDown;
  return set_pool(model, args, [&](config::Pool& p) {
    p.close_on_down = args.choice("WHEN", {on, off, unanswered});
  });
}

Result<void> set_max_fails(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.max_fails = args.number<uint32_t>("N"); });
}

Result<void> set_fail_timeout(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) {
    p.fail_timeout = args.duration<milliseconds>("MILLISECONDS");
  });
}

}  // namespace

std::vector<Command> backend_commands() {
  constexpr Where anywhere = Where::anywhere;
  return {
      {"backend add POOL:pool NAME:name ENDPOINT:endpoint [weight N:weight]",
       "adds a backend to a pool", anywhere, add_backend},
      {"backend remove POOL:pool BACKEND:backend",
       "removes a backend from a pool; its flows go on until they end", anywhere, remove_backend},
      {"backend set POOL:pool BACKEND:backend weight N:weight", "sets a backend's share of clients",
       anywhere, set_weight},
      {"backend set POOL:pool BACKEND:backend state STATE:up|maintenance|down",
       "maintenance: no new client, and flows are closed at the pool's close-rate; down: as if "
       "checks had failed",
       anywhere, set_state},
      {"backend set POOL:pool BACKEND:backend state drain [rate N:close-rate]",
       "no new client while there is another backend; flows stay, or N are closed each second",
       anywhere, drain},
      {"backend set POOL:pool BACKEND:backend backup SWITCH:on|off",
       "a backup is used when no other backend is left", anywhere, set_backup},
      {"backend set POOL:pool BACKEND:backend max-connections N:max-connections",
       "flows that a backend may have; 0: any number", anywhere, set_max_connections},
      {"pool set POOL:pool slow-start SECONDS:slow-start",
       "time in which a backend that returns takes its share of clients in; 0: at once", anywhere,
       set_slow_start},
      {"pool set POOL:pool load-factor PERCENT:load-factor",
       "a backend with more than so much of its share of flows passes clients on; 0: none does",
       anywhere, set_load_factor},
      {"pool set POOL:pool close-rate N:close-rate",
       "flows closed each second, of a backend that is down or in maintenance", anywhere,
       set_close_rate},
      {"pool set POOL:pool close-on-down WHEN:on|off|unanswered",
       "closes the flows of a backend whose checks fail, or only if it does not answer them",
       anywhere, set_close_on_down},
      {"pool set POOL:pool max-fails N:max-fails",
       "failed connections within fail-timeout that make a backend down for as long; 0: any number",
       anywhere, set_max_fails},
      {"pool set POOL:pool fail-timeout MILLISECONDS:fail-timeout",
       "time in which failures count, and for which they make a backend down", anywhere,
       set_fail_timeout},
  };
}

}  // namespace mqlb::cli
