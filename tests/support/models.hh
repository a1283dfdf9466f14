// Configurations for tests: a small valid one to change one thing in.
#pragma once

#include <array>
#include <string_view>

#include "lib/config/model.hh"

namespace mqlb::tests {

inline wire::IpAddress ip(std::string_view text) { return wire::IpAddress::parse(text).value(); }
inline wire::Prefix prefix(std::string_view text) { return wire::Prefix::parse(text).value(); }
inline wire::Endpoint endpoint(std::string_view text) {
  return wire::Endpoint::parse(text).value();
}

// Clients on 198.18.0.0/24, brokers on 198.18.1.0/24 (MTU 1400) and behind 198.18.1.254.
inline config::Model sample_model() {
  using config::PortRole;
  config::Model m;
  m.ports = {
      {"clients", "net_af_packet0", PortRole::client, 1500, {prefix("198.18.0.1/24")}},
      {"brokers", "net_af_packet1", PortRole::backend, 1400, {prefix("198.18.1.1/24")}},
  };
  m.routes = {{prefix("198.19.0.0/16"), ip("198.18.1.254")}};
  m.snat_pools = {{"outside", {ip("198.18.1.100"), ip("198.18.1.101")}, 1024, 65535}};
  config::Pool pool;
  pool.name = "emqx";
  pool.snat = "outside";
  pool.table_size = 251;
  pool.backends = {{"broker1", endpoint("198.18.1.11:1883"), 1},
                   {"broker2", endpoint("198.18.1.12:1883"), 1},
                   {"far", endpoint("198.19.7.7:1883"), 1}};
  m.pools = {pool};
  config::Listener listener;
  listener.name = "mqtt";
  listener.endpoint = endpoint("198.18.0.10:1883");
  listener.pool = "emqx";
  m.listeners = {listener};
  return m;
}

// 198.18.1.11 is 2001:db8:0:1201::b there: what is near stays near.
inline wire::IpAddress in_ipv6(const wire::IpAddress& address) {
  const uint32_t bits = address.v4_bits();
  std::array<uint8_t, 16> octets{0x20, 0x01, 0x0d, 0xb8};
  octets[6] = static_cast<uint8_t>(bits >> 16);
  octets[7] = static_cast<uint8_t>(bits >> 8);
  octets[15] = static_cast<uint8_t>(bits);
  return wire::IpAddress::load_v6(octets.data());
}
inline wire::Prefix in_ipv6(const wire::Prefix& p) {
  return {in_ipv6(p.address), static_cast<uint8_t>(p.length + (p.length > 24 ? 96 : 40))};
}
inline config::Model in_ipv6(config::Model m) {
  for (config::Port& port : m.ports) {
    for (wire::Prefix& own : port.addresses) own = in_ipv6(own);
  }
  for (config::Route& route : m.routes) {
    route = {in_ipv6(route.prefix), in_ipv6(route.gateway)};
  }
  for (config::SnatPool& pool : m.snat_pools) {
    for (wire::IpAddress& address : pool.addresses) address = in_ipv6(address);
  }
  for (config::Pool& pool : m.pools) {
    for (config::Backend& b : pool.backends) b.endpoint.address = in_ipv6(b.endpoint.address);
  }
  for (config::Listener& l : m.listeners) l.endpoint.address = in_ipv6(l.endpoint.address);
  return m;
}

}  // namespace mqlb::tests
