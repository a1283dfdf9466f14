// Ports, cores, addresses, routes and SNAT pools.
#include <algorithm>

#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"
#include "lib/config/snapshot.hh"

namespace mqlb::cli {
namespace {

using base::fail;
using base::Result;
using config::Model;

Result<void> add_port(Model& model, const Args& args) {
  if (find(model.ports, args.text("NAME"))) return exists("port", args.text("NAME"));
  config::Port port;
  port.name = args.text("NAME");
  port.device = args.text("DEVICE");
  port.role = args.choice(
      "ROLE", {config::PortRole::client, config::PortRole::backend, config::PortRole::both});
  model.ports.push_back(std::move(port));
  return {};
}

Result<void> set_port_mtu(Model& model, const Args& args) {
  config::Port* port = find(model.ports, args.text("PORT"));
  if (!port) return missing("port", args.text("PORT"));
  port->mtu = args.number<uint16_t>("BYTES");
  return {};
}

Result<void> add_core(Model& model, const Args& args) {
  config::Core core;
  core.lcore = args.number<unsigned>("LCORE");
  core.role = args.choice(
      "ROLE", {config::CoreRole::worker, config::CoreRole::proxy, config::CoreRole::both});
  for (const config::Core& other : model.cores) {
    if (other.lcore == core.lcore) return exists("core", std::to_string(core.lcore));
  }
  model.cores.push_back(core);
  return {};
}

Result<void> add_address(Model& model, const Args& args) {
  config::Port* port = find(model.ports, args.text("PORT"));
  if (!port) return missing("port", args.text("PORT"));
  for (const wire::Prefix& own : port->addresses) {
    if (own == args.prefix("ADDRESS/LENGTH")) return exists("address", to_string(own));
  }
  port->addresses.push_back(args.prefix("ADDRESS/LENGTH"));
  return {};
}

Result<void> remove_address(Model& model, const Args& args) {
  config::Port* port = find(model.ports, args.text("PORT"));
  if (!port) return missing("port", args.text("PORT"));
  const wire::Prefix& wanted = args.prefix("ADDRESS/LENGTH");
  if (std::erase(port->addresses, wanted) > 0) return {};
  return missing("address of port '" + port->name + "'", to_string(wanted));
}

Result<void> add_route(Model& model, const Args& args) {
  const config::Route route{args.prefix("PREFIX"), args.address("GATEWAY")};
  for (const config::Route& other : model.routes) {
    if (other.prefix == route.prefix) return exists("route", to_string(route.prefix));
  }
  model.routes.push_back(route);
  return {};
}

Result<void> remove_route(Model& model, const Args& args) {
  const wire::Prefix& wanted = args.prefix("PREFIX");
  if (std::erase_if(model.routes, [&](const config::Route& r) { return r.prefix == wanted; }) > 0) {
    return {};
  }
  return missing("route", to_string(wanted));
}

config::SnatPool& snat_pool(Model& model, const std::string& name) {
  if (config::SnatPool* pool = find(model.snat_pools, name)) return *pool;
  model.snat_pools.emplace_back().name = name;
  return model.snat_pools.back();
}

Result<void> add_snat_address(Model& model, const Args& args) {
  snat_pool(model, args.text("NAME")).addresses.push_back(args.address("FIRST"));
  return {};
}

Result<void> add_snat_range(Model& model, const Args& args) {
  const wire::IpAddress& first = args.address("FIRST");
  const wire::IpAddress& last = args.address("LAST");
  if (last < first || last.is_v4() != first.is_v4()) {
    return fail("LAST: " + to_string(last) + " does not come after " + to_string(first));
  }
  std::vector<wire::IpAddress> range{first};
  while (range.back() != last && range.size() <= config::kMaxSnats) {
    range.push_back(successor(range.back()));
  }
  if (range.size() > config::kMaxSnats) {
    return fail("a range has at most " + std::to_string(config::kMaxSnats) + " addresses");
  }
  auto& addresses = snat_pool(model, args.text("NAME")).addresses;
  addresses.insert(addresses.end(), range.begin(), range.end());
  return {};
}

Result<void> set_snat_ports(Model& model, const Args& args) {
  config::SnatPool* pool = find(model.snat_pools, args.text("SNAT"));
  if (!pool) return missing("SNAT pool", args.text("SNAT"));
  pool->first_port = args.number<uint16_t>("FIRST");
  pool->last_port = args.number<uint16_t>("LAST");
  return {};
}

Result<void> remove_snat(Model& model, const Args& args) {
  return remove(model.snat_pools, "SNAT pool", args.text("SNAT"));
}

}  // namespace

std::vector<Command> network_commands() {
  return {
      {"port add NAME:name device DEVICE:device role ROLE:client|backend|both",
       "adds a port toward clients, backends or both", Where::startup, add_port},
      {"port set PORT:port mtu BYTES:mtu", "sets the largest IP packet of a port", Where::anywhere,
       set_port_mtu},
      {"core add LCORE:lcore role ROLE:worker|proxy|both",
       "gives an lcore its role; when none is given, every data lcore is both", Where::startup,
       add_core},
      {"address add PORT:port ADDRESS/LENGTH:prefix", "gives a port an address and its network",
       Where::anywhere, add_address},
      {"address remove PORT:port ADDRESS/LENGTH:port-address", "takes an address from a port",
       Where::anywhere, remove_address},
      {"route add PREFIX:prefix via GATEWAY:address", "sends packets for a prefix to a gateway",
       Where::anywhere, add_route},
      {"route remove PREFIX:route", "removes a route", Where::anywhere, remove_route},
      {"snat add NAME:name address FIRST:address", "adds a source address toward backends",
       Where::anywhere, add_snat_address},
      {"snat add NAME:name range FIRST:address LAST:address",
       "adds a range of source addresses toward backends", Where::anywhere, add_snat_range},
      {"snat set SNAT:snat ports FIRST:snat-port LAST:snat-port", "sets the source ports to use",
       Where::anywhere, set_snat_ports},
      {"snat remove SNAT:snat", "removes a SNAT pool", Where::anywhere, remove_snat},
  };
}

}  // namespace mqlb::cli
