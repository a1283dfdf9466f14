#include "lib/config/routing.hh"

namespace mqlb::config {

std::optional<Link> lookup_link(const Model& model, const wire::IpAddress& address) {
  std::optional<Link> best;
  for (size_t i = 0; i < model.ports.size(); ++i) {
    for (const wire::Prefix& own : model.ports[i].addresses) {
      if (own.contains(address) && (!best || own.length > best->own.length)) best = Link{i, own};
    }
  }
  return best;
}

std::optional<Hop> lookup_hop(const Model& model, const wire::IpAddress& address) {
  const Route* route = nullptr;
  for (const Route& r : model.routes) {
    if (r.prefix.contains(address) && (!route || r.prefix.length > route->prefix.length)) {
      route = &r;
    }
  }
  const std::optional<Link> link = lookup_link(model, address);
  if (link && (!route || link->own.length >= route->prefix.length)) {
    return Hop{link->port, address, link->own.address};
  }
  if (!route) return std::nullopt;
  const std::optional<Link> gateway = lookup_link(model, route->gateway);
  if (!gateway) return std::nullopt;
  return Hop{gateway->port, route->gateway, gateway->own.address};
}

}  // namespace mqlb::config
