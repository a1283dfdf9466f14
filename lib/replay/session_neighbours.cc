// Who has which link address, on the wires of a Session: ARP (RFC 826) and neighbour discovery
// (RFC 4861).
#include <algorithm>
#include <array>

#include "lib/replay/session.hh"
#include "lib/wire/ndp.hh"

namespace mqlb::replay {
namespace {

constexpr base::Duration kAskAgain{1'000'000};

}  // namespace

void Session::ask(base::Instant now) {
  bool all_known = true;
  for (const auto& [address, mac] : next_hops_) {
    if (mac) continue;
    all_known = false;
    if (now >= began_ + options_.patience) {
      failure_ = wire::to_string(address) + " does not answer " +
                 (address.is_v4() ? "ARP" : "neighbour solicitations");
      return;
    }
    ask_for(address);
  }
  if (all_known) {
    if (!playing_) begin(now);
  } else {
    schedule(now + kAskAgain, Kind::ask, 0);
  }
}

void Session::ask_for(const wire::IpAddress& hop) {
  const Family family = family_of(hop);
  const auto of_family = [&](const wire::IpAddress& a) { return family_of(a) == family; };
  const auto known = std::find_if(client_addresses_.begin(), client_addresses_.end(), of_family);
  const wire::IpAddress asker =
      known != client_addresses_.end() ? *known : HostAddresses(spare_network(family))[0];
  if (family == Family::ipv4) {
    wire::Arp arp;
    arp.sender_mac = setup_.client_mac;
    arp.sender = asker;
    arp.target = hop;
    send_arp(setup_.client_port, arp, wire::kBroadcastMac);
  } else {
    wire::Neighbour message;
    message.source = asker;
    message.destination = wire::solicited_node(hop);
    message.target = hop;
    message.link_address = setup_.client_mac;
    send_neighbour(setup_.client_port, message, wire::multicast_mac(message.destination));
  }
}

// Next hops are believed once: what is said while clients play changes nothing.
void Session::learn(const wire::IpAddress& address, const wire::MacAddress& mac,
                    base::Instant now) {
  const auto hop = next_hops_.find(address);
  if (hop == next_hops_.end() || hop->second || playing_) return;
  hop->second = mac;
  ask(now);
}

std::optional<wire::MacAddress> Session::link_address_of(const wire::IpAddress& address,
                                                         config::PortId port) const {
  if (port == setup_.client_port && client_addresses_.contains(address)) return setup_.client_mac;
  if (broker_addresses_.contains(address)) return setup_.broker_mac;
  return std::nullopt;
}

void Session::receive_arp(config::PortId port, const wire::Packet& packet, base::Instant now) {
  wire::Arp arp;
  if (!wire::parse_arp(packet.network, arp)) return;
  if (arp.operation == wire::Arp::reply) {
    learn(arp.sender, arp.sender_mac, now);
    return;
  }
  const auto mac = link_address_of(arp.target, port);
  if (!mac) return;
  wire::Arp reply;
  reply.operation = wire::Arp::reply;
  reply.sender_mac = *mac;
  reply.sender = arp.target;
  reply.target_mac = arp.sender_mac;
  reply.target = arp.sender;
  send_arp(port, reply, arp.sender_mac);
}

void Session::receive_neighbour(config::PortId port, const wire::Packet& packet,
                                base::Instant now) {
  wire::Neighbour message;
  const size_t length = packet.frame_length - wire::kEthernetHeader;
  if (!wire::parse_neighbour({packet.network, length}, message)) return;
  if (message.type == wire::Neighbour::advertisement) {
    // Announcements answer nobody, and may come before the session has begun.
    const bool answers = (message.flags & wire::Neighbour::solicited) != 0;
    if (answers && message.link_address) learn(message.target, *message.link_address, now);
    return;
  }
  const auto mac = link_address_of(message.target, port);
  if (mac) advertise(port, message, *mac, packet.ethernet().source());
}

void Session::advertise(config::PortId port, const wire::Neighbour& asked,
                        const wire::MacAddress& mac, const wire::MacAddress& from) {
  const wire::Neighbour answer = wire::answer_to(asked, mac);
  const bool to_all = asked.source.is_unspecified();
  const wire::MacAddress back = asked.link_address.value_or(from);
  // An answer to one goes to one, whatever the frame says that asked.
  if (!to_all && back.is_group()) return;
  send_neighbour(port, answer, to_all ? wire::multicast_mac(answer.destination) : back);
}

void Session::send_arp(config::PortId port, const wire::Arp& arp, const wire::MacAddress& to) {
  std::array<uint8_t, wire::kArpFrame> frame{};
  wire::build_arp(arp, {arp.sender_mac, to}, frame);
  emit_(port, frame);
}

void Session::send_neighbour(config::PortId port, const wire::Neighbour& message,
                             const wire::MacAddress& to) {
  std::array<uint8_t, wire::kNeighbourFrame> frame{};
  const size_t size = wire::build_neighbour(message, {message.link_address.value(), to}, frame);
  if (size > 0) emit_(port, {frame.data(), size});
}

}  // namespace mqlb::replay
