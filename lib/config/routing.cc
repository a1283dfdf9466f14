#include "lib/config/routing.hh"

#include <algorithm>

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

wire::Prefix network_of(const wire::Prefix& prefix) {
  std::array<uint8_t, 16> octets = prefix.address.octets();
  const unsigned bits = prefix.length + (prefix.address.is_v4() ? 96U : 0U);
  for (unsigned i = 0; i < octets.size(); ++i) {
    const unsigned kept = std::clamp(bits, i * 8, i * 8 + 8) - i * 8;
    octets[i] = static_cast<uint8_t>(octets[i] & (0xff00U >> kept));
  }
  return {wire::IpAddress::load_v6(octets.data()), prefix.length};
}

}  // namespace mqlb::config
