// Where the configuration sends packets for an address: the longest of the connected networks and
// routes that contain it; a connected network wins over a route of the same length.
#pragma once

#include <optional>

#include "lib/config/model.hh"

namespace mqlb::config {

// A connected network that holds an address.
struct Link {
  size_t port = 0;   // index in Model::ports
  wire::Prefix own;  // the port's address there, with the network's length
};

// The neighbour that packets are handed to, and from where.
struct Hop {
  size_t port = 0;
  wire::IpAddress address;  // the destination itself, or a gateway
  wire::IpAddress source;   // the port's own address on that network
};

[[nodiscard]] std::optional<Link> lookup_link(const Model& model, const wire::IpAddress& address);
[[nodiscard]] std::optional<Hop> lookup_hop(const Model& model, const wire::IpAddress& address);

}  // namespace mqlb::config
