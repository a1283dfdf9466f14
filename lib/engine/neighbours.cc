// Who asks for the link addresses of our own addresses is answered on the spot (RFC 826, RFC 4861);
// what tells those of next hops goes to the control thread.
#include <algorithm>

#include "lib/engine/core.hh"
#include "lib/wire/ndp.hh"

namespace mqlb::engine {

using base::Drop;
using base::Event;

void Core::answer_arp(wire::Packet& packet, const Frame& frame) {
  wire::Arp arp;
  if (!wire::parse_arp(packet.network, arp)) {
    context_.output.drop(frame, Drop::bad_arp);
    return;
  }
  const bool for_us = arp.operation == wire::Arp::request && answers_for(arp.target, frame.port);
  const bool announcement = arp.operation == wire::Arp::reply || arp.sender == arp.target;
  if (for_us && !announcement) {
    const wire::MacAddress own = context_.shared.port_macs[frame.port];
    const wire::Arp reply{wire::Arp::reply, own, arp.target, arp.sender_mac, arp.sender};
    Frame out = frame;
    out.length = static_cast<uint16_t>(
        wire::build_arp(reply, {own, arp.sender_mac}, {out.data, out.capacity}));
    context_.counters[Event::arp_answered].add();
    context_.output.transmit(frame.port, out);
  } else if (announcement && to_control_.take(context_.now)) {
    context_.counters[Drop::arp_consumed].add();
    context_.sink.to_control(frame);
  } else {
    context_.output.drop(frame, Drop::arp_consumed);
  }
}

// Removed listeners and SNAT addresses are answered for while they have flows: these would die with
// the neighbour's entry.
bool Core::answers_for(const wire::IpAddress& address, config::PortId port) const {
  const config::PortEntry& entry = context_.snapshot->ports[port];
  const auto same = [&](const wire::Prefix& p) { return p.address == address; };
  if (std::any_of(entry.addresses.begin(), entry.addresses.end(), same)) return true;
  const LocalAddress* local = context_.addresses.local(address);
  if (local == nullptr) return false;
  if (local->snat && entry.role != config::PortRole::client) return true;
  if (entry.role == config::PortRole::backend) return false;
  const auto& listeners = context_.snapshot->listeners;
  for (config::ListenerId id = 0; id < listeners.size(); ++id) {
    if (listeners[id].endpoint.address != address) continue;
    const auto& connections = context_.shared.gates[id].connections;
    if (!listeners[id].retired || connections.load(std::memory_order_relaxed) > 0) return true;
  }
  return false;
}

void Core::on_neighbour(wire::Packet& packet, const Frame& frame) {
  wire::Neighbour message;
  const size_t length = packet.frame_length - wire::kEthernetHeader;
  if (!wire::parse_neighbour({packet.network, length}, message)) {
    context_.output.drop(frame, Drop::bad_neighbour);
  } else if (message.type == wire::Neighbour::advertisement) {
    if (to_control_.take(context_.now)) {
      context_.counters[Drop::neighbour_consumed].add();
      context_.sink.to_control(frame);
    } else {
      context_.output.drop(frame, Drop::neighbour_consumed);
    }
  } else if (answers_for(message.target, frame.port)) {
    answer_solicitation(message, packet, frame);
  } else {
    context_.output.drop(frame, Drop::neighbour_consumed);
  }
}

void Core::answer_solicitation(const wire::Neighbour& asked, wire::Packet& packet,
                               const Frame& frame) {
  const wire::MacAddress own = context_.shared.port_macs[frame.port];
  const wire::Neighbour answer = wire::answer_to(asked, own);
  const bool to_all = asked.source.is_unspecified();
  const wire::MacAddress back =
      to_all ? wire::multicast_mac(answer.destination) : packet.ethernet().source();
  Frame out = frame;
  out.length =
      static_cast<uint16_t>(wire::build_neighbour(answer, {own, back}, {out.data, out.capacity}));
  if (out.length == 0) {
    context_.output.drop(frame, Drop::no_buffer);
    return;
  }
  context_.counters[Event::neighbour_answered].add();
  context_.output.transmit(frame.port, out);
}

}  // namespace mqlb::engine
