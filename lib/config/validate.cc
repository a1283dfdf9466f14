// validate(): one function per kind of object, run in order; the first mistake found is reported.
#include <algorithm>
#include <map>
#include <set>

#include "lib/config/limits.hh"
#include "lib/config/model.hh"
#include "lib/config/routing.hh"
#include "lib/config/snapshot.hh"

namespace mqlb::config {
namespace {

using base::fail;
using base::Result;
using wire::IpAddress;

std::string label(std::string_view kind, std::string_view name) {
  return std::string(kind) + " '" + std::string(name) + "'";
}

std::string label(const Pool& pool, const Backend& backend) {
  return label("backend", backend.name) + " of pool '" + pool.name + "'";
}

Result<void> check_range(uint64_t n, Range range, const std::string& what) {
  if (range.contains(n)) return {};
  return fail(what + " is " + std::to_string(n) + ": it must be from " +
              std::to_string(range.least) + " to " + std::to_string(range.most));
}

// Signed durations: a negative count is out of every range.
template <typename Rep, typename Period>
Result<void> check_range(std::chrono::duration<Rep, Period> d, Range range,
                         const std::string& what) {
  if (d.count() < 0) return fail(what + " is negative");
  return check_range(static_cast<uint64_t>(d.count()), range, what);
}

Result<void> check_name(std::string_view kind, std::string_view name) {
  if (is_name(name)) return {};
  return fail(label(kind, name) + ": a name has 1 to " + std::to_string(kMaxName) +
              " letters, digits, '.', '_' or '-'");
}

// Names that are well formed and unique among their kind.
template <typename Objects>
Result<void> check_names(std::string_view kind, const Objects& objects, size_t most) {
  if (objects.size() > most) {
    return fail("there are " + std::to_string(objects.size()) + " " + std::string(kind) +
                "s: at most " + std::to_string(most) + " are possible");
  }
  std::set<std::string_view> seen;
  for (const auto& object : objects) {
    if (auto r = check_name(kind, object.name); !r) return r;
    if (!seen.insert(object.name).second) {
      return fail(label(kind, object.name) + " is there twice");
    }
  }
  return {};
}

Result<void> check_host(const IpAddress& address, const std::string& owner) {
  if (address.is_unspecified() || address.is_multicast_or_broadcast()) {
    return fail(owner + ": " + to_string(address) + " is not the address of a host");
  }
  return {};
}

// Brokers are reached by a port with an address of their family; a listener's address may be in no
// network of a port, and its clients come by any port but the brokers'.
Result<void> check_listener_mtu(const Model& model, const Listener& l) {
  if (l.endpoint.address.is_v4()) return {};
  for (const Port& port : model.ports) {
    if (port.role == PortRole::backend || port.mtu >= kLeastMtuV6) continue;
    return fail(label("listener", l.name) + ": IPv6 needs an MTU of at least " +
                std::to_string(kLeastMtuV6) + ", and port '" + port.name +
                "', which its clients may come by, has " + std::to_string(port.mtu));
  }
  return {};
}

// RFC 1122 section 3.2.1.3, RFC 3021: in a network with a broadcast address, its first and last
// addresses are nobody's.
Result<void> check_port_address(const Port& port, const wire::Prefix& own) {
  const std::string owner = "address " + to_string(own) + " of port '" + port.name + "'";
  if (auto r = check_host(own.address, owner); !r) return r;
  if (own.length == 0) return fail(owner + ": a connected network has a length of at least 1");
  if (!own.address.is_v4()) {
    if (port.mtu < kLeastMtuV6) {
      return fail(owner + ": IPv6 needs an MTU of at least " + std::to_string(kLeastMtuV6));
    }
    // RFC 4291 section 2.6.1, RFC 6164.
    if (own.length < 127 && network_of(own).address == own.address) {
      return fail(owner + " is the anycast address of the network's routers");
    }
    return {};
  }
  if (own.length >= 31) return {};
  const uint32_t host_mask = 0xffffffffU >> own.length;
  const uint32_t host = own.address.v4_bits() & host_mask;
  if (host == 0 || host == host_mask) {
    return fail(owner + " is the network's own or its broadcast address");
  }
  return {};
}

Result<void> check_ports(const Model& model) {
  if (auto r = check_names("port", model.ports, kMaxPorts); !r) return r;
  std::set<std::string_view> devices;
  std::map<IpAddress, std::string_view> addresses;
  std::map<wire::Prefix, std::string_view> networks;
  for (const Port& port : model.ports) {
    const std::string me = label("port", port.name);
    const bool printable = std::all_of(port.device.begin(), port.device.end(),
                                       [](char c) { return c > ' ' && c < 0x7f && c != '#'; });
    if (port.device.empty() || port.device.size() > kMaxDeviceName || !printable) {
      return fail(me + ": '" + port.device + "' is not the name of a device");
    }
    if (!devices.insert(port.device).second) {
      return fail(me + ": device '" + port.device + "' belongs to another port");
    }
    if (auto r = check_range(port.mtu, kMtuRange, "mtu of " + me); !r) return r;
    for (const wire::Prefix& own : port.addresses) {
      if (auto r = check_port_address(port, own); !r) return r;
      if (!addresses.emplace(own.address, port.name).second) {
        return fail("address " + to_string(own.address) + " is there twice");
      }
      const auto [other, is_new] = networks.emplace(network_of(own), port.name);
      if (!is_new && other->second != port.name) {
        return fail("network " + to_string(network_of(own)) + " is on two ports, '" +
                    std::string(other->second) + "' and '" + port.name + "'");
      }
    }
  }
  return {};
}

Result<void> check_cores(const Model& model) {
  std::set<unsigned> seen;
  bool worker = model.cores.empty();
  bool proxy = model.cores.empty();
  for (const Core& core : model.cores) {
    if (auto r = check_range(core.lcore, kLcoreRange, "the lcore of a core"); !r) return r;
    if (!seen.insert(core.lcore).second) {
      return fail("core " + std::to_string(core.lcore) + " is there twice");
    }
    worker |= core.role != CoreRole::proxy;
    proxy |= core.role != CoreRole::worker;
  }
  if (!worker) return fail("no core is a worker: one must have role worker or both");
  if (!proxy) return fail("no core is a proxy: one must have role proxy or both");
  return {};
}

// Every address that mqlb answers for itself, and what it is.
using OwnAddresses = std::map<IpAddress, std::string>;

OwnAddresses own_addresses(const Model& model) {
  OwnAddresses own;
  for (const Port& port : model.ports) {
    for (const wire::Prefix& p : port.addresses) own.emplace(p.address, label("port", port.name));
  }
  for (const Listener& l : model.listeners) {
    own.emplace(l.endpoint.address, label("listener", l.name));
  }
  for (const SnatPool& pool : model.snat_pools) {
    for (const IpAddress& a : pool.addresses) own.emplace(a, label("SNAT pool", pool.name));
  }
  return own;
}

Result<void> check_not_own(const OwnAddresses& own, const IpAddress& address,
                           const std::string& user) {
  const auto found = own.find(address);
  if (found == own.end()) return {};
  return fail(user + ": " + to_string(address) + " is the address of " + found->second);
}

Result<void> check_routes(const Model& model) {
  const OwnAddresses own = own_addresses(model);
  std::set<wire::Prefix> seen;
  for (const Route& route : model.routes) {
    const std::string me = "route " + to_string(route.prefix);
    if (network_of(route.prefix) != route.prefix) {
      return fail(me + " has host bits set: did you mean " + to_string(network_of(route.prefix)) +
                  "?");
    }
    if (!seen.insert(route.prefix).second) return fail(me + " is there twice");
    if (route.prefix.address.is_v4() != route.gateway.is_v4()) {
      return fail(me + ": gateway " + to_string(route.gateway) + " is of the other family");
    }
    if (auto r = check_host(route.gateway, me); !r) return r;
    if (auto r = check_not_own(own, route.gateway, me); !r) return r;
    if (!lookup_link(model, route.gateway)) {
      return fail(me + ": gateway " + to_string(route.gateway) +
                  " is in no network that a port has an address of");
    }
  }
  return {};
}

Result<void> check_snat_pools(const Model& model) {
  if (auto r = check_names("SNAT pool", model.snat_pools, kMaxSnats); !r) return r;
  OwnAddresses own;
  for (const auto& [address, owner] : own_addresses(model)) {
    if (!owner.starts_with("SNAT pool")) own.emplace(address, owner);
  }
  size_t count = 0;
  for (const SnatPool& pool : model.snat_pools) {
    const std::string me = label("SNAT pool", pool.name);
    if (pool.addresses.empty()) return fail(me + " has no address");
    if (auto r = check_range(pool.first_port, kSnatPortRange, "first port of " + me); !r) return r;
    if (pool.first_port > pool.last_port) {
      return fail(me + ": the first port, " + std::to_string(pool.first_port) +
                  ", is above the last, " + std::to_string(pool.last_port));
    }
    count += pool.addresses.size();
    if (count > kMaxSnats) {
      return fail("there are more than " + std::to_string(kMaxSnats) + " SNAT addresses");
    }
    for (const IpAddress& address : pool.addresses) {
      if (auto r = check_host(address, me); !r) return r;
      if (address.is_link_local_v6()) {
        return fail(me + ": " + to_string(address) +
                    " is a link-local address, to which no router "
                    "leads back");
      }
      if (auto r = check_not_own(own, address, me); !r) return r;
      own.emplace(address, me);
    }
  }
  return {};
}

Result<void> check_backend_path(const Model& model, const std::string& me,
                                const IpAddress& address) {
  const std::optional<Hop> hop = lookup_hop(model, address);
  if (!hop) {
    return fail(me + ": no port's network and no route contains " + to_string(address));
  }
  const Port& port = model.ports[hop->port];
  if (port.role == PortRole::client) {
    return fail(me + ": " + to_string(address) + " is reached by port '" + port.name +
                "', which has role client");
  }
  return {};
}

Result<void> check_snat_family(const SnatPool& snat, const std::string& me, bool v4) {
  for (const IpAddress& a : snat.addresses) {
    if (a.is_v4() == v4) return {};
  }
  return fail(me + ": SNAT pool '" + snat.name + "' has no " + (v4 ? "IPv4" : "IPv6") +
              " address to reach it from");
}

Result<void> check_backends(const Model& model, const OwnAddresses& own, const SnatPool& snat,
                            const Pool& pool) {
  std::set<std::string_view> names;
  std::map<wire::Endpoint, std::string_view> endpoints;
  for (const Backend& backend : pool.backends) {
    const std::string me = label(pool, backend);
    const IpAddress& address = backend.endpoint.address;
    if (auto r = check_name("backend", backend.name); !r) return r;
    if (!names.insert(backend.name).second) return fail(me + " is there twice");
    const auto [other, is_new] = endpoints.emplace(backend.endpoint, backend.name);
    if (!is_new) {
      return fail(me + " has the same endpoint as backend '" + std::string(other->second) + "'");
    }
    if (backend.endpoint.port == 0) return fail(me + ": port 0 is no port");
    if (auto r = check_range(backend.weight, kWeightRange, "weight of " + me); !r) return r;
    if (auto r =
            check_range(backend.max_connections, kMaxConnectionsRange, "max-connections of " + me);
        !r) {
      return r;
    }
    if (auto r = check_host(address, me); !r) return r;
    if (auto r = check_not_own(own, address, me); !r) return r;
    if (auto r = check_backend_path(model, me, address); !r) return r;
    if (auto r = check_snat_family(snat, me, address.is_v4()); !r) return r;
  }
  return {};
}

Result<void> check_pool_care(const Pool& pool) {
  const std::string of_me = " of " + label("pool", pool.name);
  if (pool.load_factor > 0 && pool.load_factor <= 100) {
    return fail("load-factor" + of_me + " is " + std::to_string(pool.load_factor) +
                ": it must be above 100 percent, or 0");
  }
  for (const Result<void>& r :
       {check_range(pool.slow_start, kSlowStartRange, "slow-start" + of_me),
        check_range(pool.load_factor, kLoadFactorRange, "load-factor" + of_me),
        check_range(pool.close_rate, kCloseRateRange, "close-rate" + of_me),
        check_range(pool.max_fails, kMaxFailsRange, "max-fails" + of_me),
        check_range(pool.fail_timeout, kFailTimeoutRange, "fail-timeout" + of_me)}) {
    if (!r) return r;
  }
  return {};
}

Result<void> check_pool_settings(const Pool& pool) {
  const std::string me = label("pool", pool.name);
  if (auto r = check_range(pool.table_size, kTableSizeRange, "table-size of " + me); !r) return r;
  if (!maglev::is_prime(pool.table_size)) {
    return fail("table-size of " + me + " is " + std::to_string(pool.table_size) +
                ": it must be a prime, such as 65537");
  }
  if (pool.table_size <= pool.backends.size()) {
    return fail("table-size of " + me + " is " + std::to_string(pool.table_size) +
                ": it must be above the number of backends");
  }
  if (auto r = check_range(pool.connect_tries, kConnectTriesRange, "connect-tries of " + me); !r) {
    return r;
  }
  if (pool.proxy_protocol != ProxyProtocol::v2) {
    if (pool.proxy_crc32c) return fail(me + ": proxy-crc32c needs proxy-protocol v2");
    if (pool.proxy_unique_id) return fail(me + ": proxy-unique-id needs proxy-protocol v2");
  }
  if (auto ok = check_range(pool.answer_timeout, kAnswerTimeoutRange, "answer-timeout of " + me);
      !ok) {
    return ok;
  }
  return check_range(pool.connect_timeout, kConnectTimeoutRange, "connect-timeout of " + me);
}

Result<void> check_checks(const Pool& pool, const SnatPool& snat) {
  const std::string me = label("pool", pool.name);
  if (pool.check.kind != CheckKind::none &&
      check_port_count(snat.first_port, snat.last_port) == 0) {
    return fail(me + ": SNAT pool '" + snat.name + "' has fewer than " +
                std::to_string(kPortsPerCheckPort) + " ports: none is left for health checks");
  }
  return validate_check(pool.check, me);
}

Result<void> check_pools(const Model& model) {
  if (auto r = check_names("pool", model.pools, kMaxPools); !r) return r;
  const OwnAddresses own = own_addresses(model);
  size_t backends = 0;
  for (const Pool& pool : model.pools) {
    if (auto r = check_pool_settings(pool); !r) return r;
    if (auto r = check_pool_care(pool); !r) return r;
    const auto snat = std::find_if(model.snat_pools.begin(), model.snat_pools.end(),
                                   [&](const SnatPool& s) { return s.name == pool.snat; });
    if (snat == model.snat_pools.end()) {
      return fail(label("pool", pool.name) + " uses SNAT pool '" + pool.snat +
                  "', which does not exist");
    }
    if (auto r = check_checks(pool, *snat); !r) return r;
    backends += pool.backends.size();
    if (backends > kMaxBackends) {
      return fail("there are more than " + std::to_string(kMaxBackends) + " backends");
    }
    if (auto r = check_backends(model, own, *snat, pool); !r) return r;
  }
  return {};
}

Result<void> check_uses_pool(const Model& model, const std::string& user, const std::string& name) {
  if (std::any_of(model.pools.begin(), model.pools.end(),
                  [&](const Pool& p) { return p.name == name; })) {
    return {};
  }
  return fail(user + " uses pool '" + name + "', which does not exist");
}

Result<void> check_pattern(const std::string& pattern, const std::string& what) {
  const bool words = std::all_of(pattern.begin(), pattern.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && c != 0x7f && c != '#';
  });
  if (words && pattern.size() <= kMaxPattern) return {};
  return fail(what + ": a pattern has at most " + std::to_string(kMaxPattern) +
              " characters, none of them a blank or '#' (write '?' for these)");
}

Result<void> check_rules(const Model& model, const Listener& l) {
  const std::string me = label("listener", l.name);
  if (auto r = check_names("rule", l.rules, kMaxRules); !r) return r;
  if (!l.rules.empty() && l.mode == ListenerMode::tcp) {
    return fail(me + " has rules, but reads no CONNECT in mode tcp");
  }
  for (const Rule& rule : l.rules) {
    const std::string its_rule = label("rule", rule.name) + " of " + me;
    if (auto r = check_uses_pool(model, its_rule, rule.pool); !r) return r;
    if (auto r = check_pattern(rule.client_id, "client-id of " + its_rule); !r) return r;
    if (auto r = check_pattern(rule.user_name, "user-name of " + its_rule); !r) return r;
    if (rule.client_id.empty() && rule.user_name.empty() && !rule.version) {
      return fail(its_rule + " is met by every client");
    }
  }
  return {};
}

Result<void> check_listeners(const Model& model) {
  if (auto r = check_names("listener", model.listeners, kMaxListeners); !r) return r;
  std::map<wire::Endpoint, std::string_view> endpoints;
  for (const Listener& l : model.listeners) {
    const std::string me = label("listener", l.name);
    if (auto r = check_host(l.endpoint.address, me); !r) return r;
    if (l.endpoint.port == 0) return fail(me + ": port 0 is no port");
    if (auto r = check_listener_mtu(model, l); !r) return r;
    const auto [other, is_new] = endpoints.emplace(l.endpoint, l.name);
    if (!is_new) {
      return fail(me + " has the same endpoint as listener '" + std::string(other->second) + "'");
    }
    if (auto r = check_uses_pool(model, me, l.pool); !r) return r;
    if (auto r = check_rules(model, l); !r) return r;
    if (auto r = validate_admission(l.admission, me); !r) return r;
    if (l.admission.client_id_connects != 0 && l.mode == ListenerMode::tcp) {
      return fail(me + " has client-id-rate, but reads no CONNECT in mode tcp");
    }
    if (auto r = check_range(l.idle_timeout, kIdleTimeoutRange, "idle-timeout of " + me); !r) {
      return r;
    }
    if (auto r = check_range(l.max_connect_bytes, kMaxConnectRange, "max-connect of " + me); !r) {
      return r;
    }
    if (auto r =
            check_range(l.connect_deadline, kConnectDeadlineRange, "connect-deadline of " + me);
        !r) {
      return r;
    }
  }
  return {};
}

Result<void> check_settings(const Model& model) {
  const Settings& s = model.settings;
  for (const Result<void>& r :
       {check_range(s.poll_pause, kPollPauseRange, "poll-pause"),
        check_range(s.idle_floor, kIdleFloorRange, "idle-floor"),
        check_range(s.idle_max, kIdleMaxRange, "idle-max"),
        check_range(s.closing_timeout, kClosingTimeoutRange, "closing-timeout"),
        check_range(s.half_close_timeout, kHalfCloseTimeoutRange, "half-close-timeout"),
        check_range(s.snat_quarantine, kSnatQuarantineRange, "snat-quarantine"),
        check_range(s.max_flows, kMaxFlowsRange, "max-flows"),
        check_range(s.max_connecting, kMaxConnectingRange, "max-connecting"),
        check_range(s.rst_per_second, kRstPerSecondRange, "rst-per-second")}) {
    if (!r) return r;
  }
  if (s.idle_max < s.idle_floor) {
    return fail("idle-max is " + std::to_string(s.idle_max.count()) +
                ": it must not be below idle-floor, which is " +
                std::to_string(s.idle_floor.count()));
  }
  return {};
}

}  // namespace

Result<void> validate(const Model& model) {
  for (const auto check : {check_ports, check_cores, check_routes, check_snat_pools, check_pools,
                           check_listeners, check_settings}) {
    if (auto r = check(model); !r) return r;
  }
  return {};
}

base::Result<void> check_supported(const Model& model) {
  if (model.ports.empty()) return base::fail("the configuration has no port (port add ...)");
  return {};
}

}  // namespace mqlb::config
