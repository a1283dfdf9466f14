// Frames of a Session: whom each belongs to, and those that belong to nobody.
#include <algorithm>
#include <array>

#include "lib/replay/connection.hh"
#include "lib/replay/session.hh"

namespace mqlb::replay {
namespace {

using wire::kAck;
using wire::kFin;
using wire::kRst;
using wire::kSyn;

wire::LinkPair back_over(const wire::Packet& packet) {
  return {packet.ethernet().destination(), packet.ethernet().source()};
}

bool is_damage(base::Drop reason) {
  return reason == base::Drop::bad_ip_checksum || reason == base::Drop::bad_tcp_checksum ||
         reason == base::Drop::over_mtu;
}

}  // namespace

void Session::receive(config::PortId port, base::MutableBytes frame, base::Instant now) {
  wire::ParseRules rules;
  rules.mtu = setup_.mtu;
  rules.mac = setup_.client_mac;
  if (frame.size() >= wire::kEthernetHeader &&
      wire::EthernetView(frame.data()).destination() == setup_.broker_mac) {
    rules.mac = setup_.broker_mac;
  }
  const auto packet = wire::parse_packet(frame, rules, wire::HardwareChecksum::unknown);
  if (!packet) {
    if (is_damage(packet.error())) ++damaged_;
    return;
  }
  switch (packet->kind) {
    case wire::PacketKind::arp:
      receive_arp(port, *packet, now);
      break;
    case wire::PacketKind::tcp:
      receive_tcp(port, *packet, now);
      break;
    case wire::PacketKind::icmpv6:
      receive_neighbour(port, *packet, now);
      break;
    case wire::PacketKind::icmp:
      break;
  }
}

void Session::receive_tcp(config::PortId port, const wire::Packet& packet, base::Instant now) {
  const wire::TcpView tcp = packet.tcp();
  const auto options = wire::parse_tcp_options(tcp.options());
  if (!options) return;
  const Incoming segment{tcp.seq(),    tcp.ack(), tcp.flags(),
                         tcp.window(), *options,  packet.payload()};
  const Addresses addresses{{packet.destination(), tcp.destination_port()},
                            {packet.source(), tcp.source_port()}};
  if (const auto client = client_of_.find(addresses); client != client_of_.end()) {
    const size_t index = client->second;
    clients_[index]->player().receive(segment, now);
    touch_client(index, now);
    return;
  }
  if (broker_addresses_.contains(packet.destination())) {
    receive_for_broker(port, packet, segment, now);
  } else if (client_addresses_.contains(packet.destination())) {
    refuse(port, packet, segment);
  }
}

void Session::receive_for_broker(config::PortId port, const wire::Packet& packet,
                                 const Incoming& segment, base::Instant now) {
  const wire::Endpoint local{packet.destination(), packet.tcp().destination_port()};
  const wire::Endpoint remote{packet.source(), packet.tcp().source_port()};
  const bool syn = (segment.flags & (kSyn | kAck | kRst)) == kSyn;
  auto known = broker_of_.find({local, remote});
  if (known != broker_of_.end() && syn && brokers_[known->second]->player().end() == End::closed) {
    brokers_[known->second].reset();
    broker_of_.erase(known);
    known = broker_of_.end();
  }
  if (known != broker_of_.end()) {
    const size_t index = known->second;
    brokers_[index]->player().receive(segment, now);
    touch_broker(index, now);
    return;
  }
  const auto broker = std::find_if(setup_.brokers.begin(), setup_.brokers.end(),
                                   [&](const BrokerSpec& spec) { return spec.endpoint == local; });
  Conduct conduct = Conduct::refuse;
  if (broker != setup_.brokers.end()) {
    const auto named = options_.conducts.find(broker->name);
    conduct = named == options_.conducts.end() ? Conduct::serve : named->second;
  }
  if (conduct == Conduct::silent) return;
  if (!syn || conduct == Conduct::refuse) {
    refuse(port, packet, segment);
    return;
  }
  const size_t index = brokers_.size();
  brokers_.push_back(std::make_unique<BrokerConnection>(
      *this, index, static_cast<size_t>(broker - setup_.brokers.begin()), port, back_over(packet),
      remote));
  broker_of_[{local, remote}] = index;
  brokers_[index]->player().accept(segment, now);
  touch_broker(index, now);
}

// RFC 9293 section 3.10.7.1.
void Session::refuse(config::PortId port, const wire::Packet& packet, const Incoming& segment) {
  if (segment.has(kRst)) return;
  wire::Segment reset;
  reset.source = {packet.destination(), packet.tcp().destination_port()};
  reset.destination = {packet.source(), packet.tcp().source_port()};
  if (segment.has(kAck)) {
    reset.flags = kRst;
    reset.seq = segment.ack;
  } else {
    reset.flags = kRst | kAck;
    reset.ack = segment.seq + packet.segment_length();
  }
  transmit(port, back_over(packet), reset);
}

void Session::transmit(config::PortId port, const wire::LinkPair& link, wire::Segment segment) {
  std::array<uint8_t, 65536> frame;
  segment.link = link;
  const size_t size = wire::build_segment(segment, frame);
  if (size > 0) emit_(port, {frame.data(), size});
}

ClientConnection* Session::find_client(const wire::Endpoint& local) const {
  for (const wire::Endpoint& target : targets_) {
    const auto client = client_of_.find({local, target});
    if (client != client_of_.end()) return clients_[client->second].get();
  }
  return nullptr;
}

ClientConnection* Session::find_client_id(const std::string& client_id) const {
  const auto same = by_client_id_.find(client_id);
  if (same == by_client_id_.end()) return nullptr;
  for (const size_t index : same->second) {
    ClientConnection* client = clients_[index].get();
    if (client != nullptr && !client->has_broker) return client;
  }
  return nullptr;
}

}  // namespace mqlb::replay
