// Health checks of a pool's backends.
#include <cstdio>

#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"
#include "lib/cli/table.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Model;
using std::chrono::milliseconds;

// One setting of the checks of the pool that the command names.
template <typename Change>
Result<void> set_check(Model& model, const Args& args, Change change) {
  config::Pool* pool = find(model.pools, args.text("POOL"));
  if (!pool) return missing("pool", args.text("POOL"));
  change(pool->check);
  return {};
}

Result<void> set_kind(Model& model, const Args& args) {
  using enum config::CheckKind;
  return set_check(model, args, [&](config::Check& c) {
    c.kind = args.choice("KIND", {none, tcp, mqtt, http});
  });
}

Result<void> set_interval(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) {
    c.interval = args.duration<milliseconds>("MILLISECONDS");
  });
}

Result<void> set_timeout(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) {
    c.timeout = args.duration<milliseconds>("MILLISECONDS");
  });
}

Result<void> set_rise(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.rise = args.number<uint32_t>("N"); });
}

Result<void> set_fall(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.fall = args.number<uint32_t>("N"); });
}

Result<void> set_initial(Model& model, const Args& args) {
  using enum config::CheckInitial;
  return set_check(model, args, [&](config::Check& c) {
    c.initial = args.choice("STATE", {up, down});
  });
}

Result<void> set_mqtt_version(Model& model, const Args& args) {
  using enum config::CheckMqtt;
  return set_check(model, args, [&](config::Check& c) {
    c.mqtt_version = args.choice("VERSION", {v3_1_1, v5});
  });
}

Result<void> set_user(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.user = args.text("USER"); });
}

Result<void> set_password(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.password = args.text("PASSWORD"); });
}

Result<void> clear_user(Model& model, const Args& args) {
  return set_check(model, args, [](config::Check& c) {
    c.user.clear();
    c.password.clear();
  });
}

Result<void> set_client_id(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.client_id = args.text("PREFIX"); });
}

Result<void> set_http_port(Model& model, const Args& args) {
  return set_check(model, args,
                   [&](config::Check& c) { c.http_port = args.number<uint16_t>("TCP-PORT"); });
}

Result<void> set_http_path(Model& model, const Args& args) {
  return set_check(model, args, [&](config::Check& c) { c.http_path = args.text("PATH"); });
}

Result<void> set_http_status(Model& model, const Args& args) {
  return set_check(model, args,
                   [&](config::Check& c) { c.http_status = args.number<uint16_t>("STATUS"); });
}

std::string render(const Table& table, const Args& args) {
  return args.has("json") ? table.to_json() : table.to_text();
}

// The settings; a password only as such.
Result<std::string> show_checks(Context& context, const Args& args) {
  Table t({"pool", "check", "interval_ms", "timeout_ms", "rise", "fall", "initial", "mqtt_version",
           "user", "password", "client_id", "http_port", "http_path", "http_status"});
  const auto count = [](auto n) { return Cell(static_cast<uint64_t>(n)); };
  for (const config::Pool& p : context.runtime.model().pools) {
    const config::Check& c = p.check;
    t.add({p.name, std::string(to_string(c.kind)), count(c.interval.count()),
           count(c.timeout.count()), count(c.rise), count(c.fall),
           std::string(to_string(c.initial)), std::string(to_string(c.mqtt_version)), c.user,
           std::string(c.password.empty() ? "" : "***"), c.client_id, count(c.http_port),
           c.http_path, count(c.http_status)});
  }
  return render(t, args);
}

// Milliseconds, to a tenth: control does not look more often.
Cell milliseconds_of(uint64_t microseconds) {
  const uint64_t tenths = microseconds / 100;
  return static_cast<double>(tenths) / 10;
}

Result<std::string> show_health(Context& context, const Args& args) {
  Table t({"pool", "backend", "checked", "check", "state", "since_seconds", "last", "why",
           "took_ms", "ago_ms", "checks", "fails", "toward_change", "needed", "options"});
  for (const HealthRow& r : context.runtime.health()) {
    t.add({r.pool, r.backend, r.checked, r.check, r.state, r.since_seconds, r.last, r.why,
           milliseconds_of(r.took_us), r.ago_ms, r.checks, r.fails, uint64_t{r.toward_change},
           uint64_t{r.needed}, r.options});
  }
  return render(t, args);
}

}  // namespace

std::vector<Command> check_commands() {
  constexpr Where anywhere = Where::anywhere;
  constexpr Where shell = Where::shell;
  return {
      {"pool set POOL:pool check KIND:none|tcp|mqtt|http",
       "how each backend is checked: tcp connects and closes; mqtt has CONNECT accepted; http asks "
       "for a path on another port",
       anywhere, set_kind},
      {"pool set POOL:pool check-interval MILLISECONDS:check-interval",
       "from check to check of one backend, up to a tenth less at random", anywhere, set_interval},
      {"pool set POOL:pool check-timeout MILLISECONDS:check-timeout", "time for a whole check",
       anywhere, set_timeout},
      {"pool set POOL:pool check-rise N:check-count",
       "checks passed in a row until a backend is up again", anywhere, set_rise},
      {"pool set POOL:pool check-fall N:check-count",
       "checks failed in a row until a backend is down", anywhere, set_fall},
      {"pool set POOL:pool check-initial STATE:up|down",
       "what a backend counts as until its first check has ended, which decides at once", anywhere,
       set_initial},
      {"pool set POOL:pool check-mqtt-version VERSION:3.1.1|5", "what mqtt checks speak", anywhere,
       set_mqtt_version},
      {"pool set POOL:pool check-user USER:check-user", "user name of mqtt checks", anywhere,
       set_user},
      {"pool set POOL:pool check-password PASSWORD:check-password", "password of mqtt checks",
       anywhere, set_password},
      {"pool set POOL:pool check-login none", "mqtt checks without user name and password",
       anywhere, clear_user},
      {"pool set POOL:pool check-client-id PREFIX:check-client-id",
       "Client ID of mqtt checks, to which some letters of this balancer and backend are added",
       anywhere, set_client_id},
      {"pool set POOL:pool check-http-port TCP-PORT:check-http-port",
       "port that http checks ask at, without PROXY header", anywhere, set_http_port},
      {"pool set POOL:pool check-http-path PATH:check-http-path", "path that http checks ask for",
       anywhere, set_http_path},
      {"pool set POOL:pool check-http-status STATUS:check-http-status",
       "status that an http check passes with", anywhere, set_http_status},
      {"show [json] health", "what health checks say of backends", shell, nullptr, show_health},
      {"show [json] checks", "how the backends of pools are checked", shell, nullptr, show_checks},
  };
}

}  // namespace mqlb::cli
