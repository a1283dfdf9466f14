// What the balancer is and does now.
#include <rte_version.h>

#include <cstdio>
#include <set>

#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"
#include "lib/cli/model_text.hh"
#include "lib/cli/table.hh"
#include "lib/config/routing.hh"
#include "lib/maglev/maglev.hh"

namespace mqlb::cli {
namespace {

using base::Result;

std::string render(const Table& table, const Args& args) {
  return args.has("json") ? table.to_json() : table.to_text();
}

std::string on_off(bool on) { return on ? "on" : "off"; }

template <typename Number>
Cell count(Number n) {
  return static_cast<uint64_t>(n);
}

std::string hex(uint64_t n) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(n));
  return text;
}

Result<std::string> show_version(Context&, const Args& args) {
  Table t({"program", "version"});
  t.add({"mqlb", MQLB_VERSION});
  t.add({"dpdk", rte_version()});
  return render(t, args);
}

Result<std::string> show_ports(Context& c, const Args& args) {
  Table t({"port", "device", "role", "mac", "link", "mtu", "rx_packets", "rx_bytes", "rx_missed",
           "rx_errors", "tx_packets", "tx_bytes", "tx_full", "spread", "missteered"});
  for (const PortRow& r : c.runtime.ports()) {
    t.add({r.name, r.device, r.role, r.mac, r.link, count(r.mtu), r.rx_packets, r.rx_bytes,
           r.rx_missed, r.rx_errors, r.tx_packets, r.tx_bytes, r.tx_full, r.spread, r.missteered});
  }
  return render(t, args);
}

Result<std::string> show_cores(Context& c, const Args& args) {
  Table t(
      {"lcore", "role", "loops", "idle_loops", "rx_packets", "handed_over", "flows", "connecting"});
  for (const CoreRow& r : c.runtime.cores()) {
    t.add({count(r.lcore), r.role, r.loops, r.idle_loops, r.rx_packets, r.handed_over, r.flows,
           r.connecting});
  }
  return render(t, args);
}

Result<std::string> show_buffers(Context& c, const Args& args) {
  Table t({"pool", "size", "in_use"});
  for (const BufferRow& r : c.runtime.buffers()) t.add({r.pool, r.size, r.in_use});
  return render(t, args);
}

Result<std::string> show_addresses(Context& c, const Args& args) {
  Table t({"port", "address"});
  for (const config::Port& port : c.runtime.model().ports) {
    for (const wire::Prefix& own : port.addresses) t.add({port.name, to_string(own)});
  }
  return render(t, args);
}

Result<std::string> show_routes(Context& c, const Args& args) {
  Table t({"prefix", "gateway", "port"});
  const config::Model& model = c.runtime.model();
  for (const config::Port& port : model.ports) {
    for (const wire::Prefix& own : port.addresses) {
      t.add({to_string(wire::network_of(own)), "", port.name});
    }
  }
  for (const config::Route& route : model.routes) {
    const auto link = config::lookup_link(model, route.gateway);
    t.add({to_string(route.prefix), to_string(route.gateway),
           link ? model.ports[link->port].name : ""});
  }
  return render(t, args);
}

Result<std::string> show_neighbours(Context& c, const Args& args) {
  Table t({"port", "address", "mac", "state", "age_seconds"});
  for (const NeighbourRow& r : c.runtime.neighbours()) {
    t.add({r.port, r.address, r.mac, r.state, count(r.age_seconds)});
  }
  return render(t, args);
}

Result<std::string> show_snat(Context& c, const Args& args) {
  Table t({"snat", "address", "ports", "backend", "in_use", "quarantined", "capacity",
           "used_percent", "state"});
  for (const SnatRow& r : c.runtime.snats()) {
    t.add({r.pool, r.address, r.ports, r.backend, r.in_use, r.quarantined, r.capacity,
           r.used_percent(), std::string(r.state())});
  }
  return render(t, args);
}

Result<std::string> show_pools(Context& c, const Args& args) {
  Table t({"pool", "snat", "key", "fallback", "proxy_protocol", "crc32c", "unique_id", "table_size",
           "hash_seed", "connect_tries", "connect_timeout_ms", "answer_timeout_ms",
           "slow_start_seconds", "load_factor", "close_rate", "close_on_down", "max_fails",
           "fail_timeout_ms", "backends"});
  for (const config::Pool& p : c.runtime.model().pools) {
    t.add({p.name, p.snat, std::string(to_string(p.key)), std::string(to_string(p.fallback)),
           std::string(to_string(p.proxy_protocol)), on_off(p.proxy_crc32c),
           on_off(p.proxy_unique_id), count(p.table_size), p.hash_seed, count(p.connect_tries),
           count(p.connect_timeout.count()), count(p.answer_timeout.count()),
           count(p.slow_start.count()), count(p.load_factor), count(p.close_rate),
           on_off(p.close_on_down), count(p.max_fails), count(p.fail_timeout.count()),
           count(p.backends.size())});
  }
  return render(t, args);
}

Result<std::string> show_backends(Context& c, const Args& args) {
  Table t({"pool", "backend", "endpoint", "state", "weight", "share", "flows", "selected",
           "established", "connect_failures", "bytes_to_backend", "bytes_to_client", "backup",
           "max_connections", "since_seconds", "taking_percent", "closed", "why"});
  for (const BackendRow& r : c.runtime.backends()) {
    t.add({r.pool, r.name, r.endpoint, r.state, count(r.weight), r.share, r.flows, r.selected,
           r.established, r.connect_failures, r.bytes_to_backend, r.bytes_to_client,
           on_off(r.backup), r.max_connections, r.since_seconds, count(r.taking), r.closed, r.why});
  }
  return render(t, args);
}

// None of a listener that was removed.
const config::Admission& limits_in_force(const config::Model& model, const ListenerRow& row) {
  static const config::Admission kNone;
  for (const config::Listener& l : model.listeners) {
    if (l.name == row.name && row.state != "retired") return l.admission;
  }
  return kNone;
}

Result<std::string> show_listeners(Context& c, const Args& args) {
  Table t({"listener", "endpoint", "pool", "state", "flows", "accepted", "spliced", "refused",
           "mode", "denied", "over_limit", "over_source_limit", "over_client_id_rate",
           "connections", "max_connections", "connect_rate", "source_connections", "source_rate",
           "client_id_rate"});
  for (const ListenerRow& r : c.runtime.listeners()) {
    const config::Admission& a = limits_in_force(c.runtime.model(), r);
    t.add({r.name, r.endpoint, r.pool, r.state, r.flows, r.accepted, r.spliced, r.refused, r.mode,
           r.denied, r.over_limit, r.over_source_limit, r.over_client_id_rate, r.connections,
           count(a.max_connections), to_text(a.connect_rate), count(a.source_connections),
           to_text(a.source_rate), a.client_id_connects == 0 ? "0" : client_id_rate_text(a)});
  }
  return render(t, args);
}

Result<std::string> show_client_ids(Context& c, const Args& args) {
  Table t({"listener", "client_id", "state", "connects", "switches", "refused", "sources",
           "last_source", "other_source", "since_seconds", "ago_seconds"});
  for (const ClientIdRow& r : c.runtime.client_ids()) {
    t.add({r.listener, r.client_id, r.state, r.connects, r.switches, r.refused, r.sources,
           r.last_source, r.other_source, r.since_seconds, r.ago_seconds});
  }
  return render(t, args);
}

// Workers know a few hundred each.
Result<std::string> show_sources(Context& c, const Args& args) {
  constexpr size_t kMost = 100;
  Table t({"listener", "source", "reason", "refused", "denied", "full", "rate", "last_minute",
           "connections", "since_seconds", "ago_seconds"});
  const std::vector<SourceRow> rows = c.runtime.sources();
  for (const SourceRow& r : rows) {
    if (t.size() == kMost) break;
    t.add({r.listener, r.source, r.reason, r.denied + r.full + r.rate, r.denied, r.full, r.rate,
           r.last_minute, r.connections, r.since_seconds, r.ago_seconds});
  }
  std::string text = render(t, args);
  if (rows.size() > kMost && !args.has("json")) {
    text += "(the busiest " + std::to_string(kMost) + " of " + std::to_string(rows.size()) + ")\n";
  }
  return text;
}

Result<std::string> show_rules(Context& c, const Args& args) {
  Table t({"listener", "rule", "client_id", "user_name", "protocol", "pool"});
  for (const config::Listener& l : c.runtime.model().listeners) {
    for (const config::Rule& r : l.rules) {
      const std::string version = r.version ? std::string(to_string(*r.version)) : "";
      t.add({l.name, r.name, r.client_id, r.user_name, version, r.pool});
    }
    t.add({l.name, "", "", "", "", l.pool});
  }
  return render(t, args);
}

std::string render_flows(const std::vector<FlowRow>& rows, size_t limit, const Args& args) {
  Table t({"client", "listener", "pool", "backend", "snat", "state", "client_id_hash",
           "bytes_to_backend", "bytes_to_client", "idle_seconds", "timeout_seconds"});
  for (const FlowRow& r : rows) {
    t.add({r.client, r.listener, r.pool, r.backend, r.snat, r.state, hex(r.client_id_hash),
           r.bytes_to_backend, r.bytes_to_client, count(r.idle_seconds), count(r.timeout_seconds)});
  }
  std::string text = render(t, args);
  if (rows.size() >= limit && !args.has("json")) {
    text += "(the first " + std::to_string(limit) + ")\n";
  }
  return text;
}

Result<std::string> show_flows(Context& c, const Args& args) {
  FlowFilter filter;
  if (args.has("BACKEND")) filter.backend = args.text("BACKEND");
  if (args.has("LISTENER")) filter.listener = args.text("LISTENER");
  return render_flows(c.runtime.flows(filter), filter.limit, args);
}

// Flows keep the hash of the Client ID under their pool's seed: each seed is asked for once, and
// what a pool with another seed answers is a coincidence.
Result<std::string> show_flows_of_client(Context& c, const Args& args) {
  const std::string& id = args.text("ID");
  std::map<uint64_t, std::set<std::string>> pools_by_seed;
  for (const config::Pool& p : c.runtime.model().pools) pools_by_seed[p.hash_seed].insert(p.name);
  FlowFilter filter;
  std::vector<FlowRow> rows;
  for (const auto& [seed, pools] : pools_by_seed) {
    filter.client_id_hash = maglev::hash_key(base::as_bytes(id), seed);
    for (FlowRow& row : c.runtime.flows(filter)) {
      if (pools.contains(row.pool)) rows.push_back(std::move(row));
    }
  }
  return render_flows(rows, filter.limit, args);
}

Result<std::string> show_counters(Context& c, const Args& args) {
  Table t({"group", "name", "value", "help"});
  for (const CounterRow& r : c.runtime.counters()) {
    if (r.value > 0 || args.has("all")) t.add({r.group, r.name, r.value, r.help});
  }
  return render(t, args);
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

Result<std::string> show_route(Context& c, const Args& args) {
  const auto given = [&](const char* name) { return args.has(name) ? args.text(name) : ""; };
  RouteQuery query{given("LISTENER"), given("POOL"), args.text("ID"), given("USER-NAME")};
  if (args.has("VERSION")) {
    using mqtt::Version;
    query.version = args.choice("VERSION", {Version::v3_1, Version::v3_1_1, Version::v5_0});
  }
  const auto answer = c.runtime.route(query);
  if (!answer) return tl::unexpected(answer.error());
  Table t(
      {"pool", "backend", "endpoint", "hash", "slot", "next", "passed_over", "rule", "because"});
  t.add({answer->pool, answer->backend, answer->endpoint, hex(answer->hash), answer->slot,
         joined(answer->next, " "), joined(answer->passed_over, "; "), answer->rule,
         answer->because});
  return render(t, args);
}

Result<std::string> show_config(Context& c, const Args&) { return to_commands(c.runtime.model()); }

}  // namespace

std::vector<Command> show_commands() {
  constexpr Where shell = Where::shell;
  return {
      {"show [json] version", "versions of mqlb and DPDK", shell, nullptr, show_version},
      {"show [json] ports", "ports, their links and counts", shell, nullptr, show_ports},
      {"show [json] cores", "data cores and their load", shell, nullptr, show_cores},
      {"show [json] buffers", "packet buffers and how many are in use", shell, nullptr,
       show_buffers},
      {"show [json] addresses", "addresses of ports", shell, nullptr, show_addresses},
      {"show [json] routes", "connected networks and routes", shell, nullptr, show_routes},
      {"show [json] neighbours", "link addresses of neighbours", shell, nullptr, show_neighbours},
      {"show [json] snat", "use of source addresses and ports", shell, nullptr, show_snat},
      {"show [json] pools", "pools and their settings", shell, nullptr, show_pools},
      {"show [json] backends", "backends, their shares and counts", shell, nullptr, show_backends},
      {"show [json] listeners", "listeners and their counts", shell, nullptr, show_listeners},
      {"show [json] rules", "which clients of a listener go to which pool, in order", shell,
       nullptr, show_rules},
      {"show [json] client-ids",
       "Client IDs that connect again and again, those that several addresses fight over first",
       shell, nullptr, show_client_ids},
      {"show [json] sources",
       "sources that listeners turned away, the busiest first (who forges SYNs may choose them)",
       shell, nullptr, show_sources},
      {"show [json] flows", "flows, the first hundred", shell, nullptr, show_flows},
      {"show [json] flows client-id ID:client-id", "flows of a Client ID", shell, nullptr,
       show_flows_of_client},
      {"show [json] flows backend BACKEND:backend", "flows to a backend", shell, nullptr,
       show_flows},
      {"show [json] flows listener LISTENER:listener", "flows of a listener", shell, nullptr,
       show_flows},
      {"show [json] counters", "drops, ends and events that happened", shell, nullptr,
       show_counters},
      {"show [json] counters all", "all counters, zero ones too", shell, nullptr, show_counters},
      {"show [json] route client-id ID:client-id",
       "the backend that a Client ID goes to, and who is passed over for it", shell, nullptr,
       show_route},
      {"show [json] route pool POOL:pool client-id ID:client-id",
       "the backend of a pool that a Client ID goes to", shell, nullptr, show_route},
      {"show [json] route listener LISTENER:listener client-id ID:client-id",
       "the same for a client of a listener, by its rules", shell, nullptr, show_route},
      {"show [json] route listener LISTENER:listener user-name USER-NAME:user-name client-id "
       "ID:client-id",
       "the same for a client that says its user name", shell, nullptr, show_route},
      {"show [json] route listener LISTENER:listener protocol VERSION:3.1|3.1.1|5.0 client-id "
       "ID:client-id",
       "the same for a version of MQTT (else 3.1.1)", shell, nullptr, show_route},
      {"show [json] route listener LISTENER:listener protocol VERSION:3.1|3.1.1|5.0 user-name "
       "USER-NAME:user-name client-id ID:client-id",
       "the same for both", shell, nullptr, show_route},
      {"show config", "the commands that make this configuration", shell, nullptr, show_config},
  };
}

}  // namespace mqlb::cli
