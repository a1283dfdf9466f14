// ICMP (RFC 792, RFC 4443, RFC 5508): echo for our own addresses, and errors carried over the
// splice, from family to family (RFC 7915) where its sides differ.
#include <algorithm>

#include "lib/engine/core.hh"
#include "lib/engine/icmp_error.hh"
#include "lib/engine/reply.hh"
#include "lib/wire/ndp.hh"

namespace mqlb::engine {

using base::Drop;
using base::Event;

namespace {

constexpr uint8_t kTtl = 64;
// An error is no longer than any path takes (RFC 4443 section 2.4, RFC 1812 section 4.3.2.3).
constexpr size_t kLongestErrorV6 = 1280;
constexpr size_t kLongestErrorV4 = 576;

}  // namespace

void Core::on_icmp(wire::Packet& packet, const Frame& frame) {
  if (context_.addresses.local(packet.destination()) == nullptr) {
    context_.output.drop(frame, Drop::foreign_address);
    return;
  }
  switch (packet.transport[0]) {
    case kEchoRequest:
      answer_echo(packet, frame);
      break;
    case kUnreachable:
    case kTimeExceeded:
    case kParameterProblem:
      on_icmp_error(packet, frame);
      break;
    default:
      context_.output.drop(frame, Drop::icmp_ignored);
  }
}

void Core::on_icmpv6(wire::Packet& packet, const Frame& frame) {
  const uint8_t type = packet.transport[0];
  if (type == wire::Neighbour::solicitation || type == wire::Neighbour::advertisement) {
    on_neighbour(packet, frame);
    return;
  }
  const wire::IpAddress destination = packet.destination();
  if (context_.addresses.local(destination) == nullptr || packet.source().is_unspecified()) {
    const bool is_group = destination.is_multicast_or_broadcast();
    context_.output.drop(frame, is_group ? Drop::ipv6_group : Drop::foreign_address);
    return;
  }
  switch (type) {
    case kEchoRequestV6:
      answer_echo(packet, frame);
      break;
    case kUnreachableV6:
    case kPacketTooBig:
    case kTimeExceededV6:
    case kParameterProblemV6:
      on_icmp_error(packet, frame);
      break;
    default:
      context_.output.drop(frame, Drop::icmp_ignored);
  }
}

void Core::answer_echo(wire::Packet& packet, const Frame& frame) {
  packet.transport[0] = packet.is_v6 ? uint8_t{kEchoReplyV6} : uint8_t{kEchoReply};
  const wire::MacAddress back = packet.ethernet().source();
  context_.counters[Event::icmp_echo].add();
  send_icmp(packet, frame, frame.port, {packet.destination(), packet.source(), back});
}

void Core::on_icmp_error(wire::Packet& packet, const Frame& frame) {
  Quote quote;
  if (!quote.parse(packet)) {
    context_.output.drop(frame, Drop::bad_icmp);
    return;
  }
  // Its quoted source is us: a SNAT address toward a broker, or a listener toward a client. Either
  // side speaks of its own network only: no client can say that a broker is unreachable.
  const config::PortRole from = context_.snapshot->ports[frame.port].role;
  const LocalAddress* local = context_.addresses.local(quote.source().address);
  const uint16_t vip = context_.addresses.vip(quote.source());
  if (local != nullptr && local->snat && from != config::PortRole::client &&
      !context_.shared.proxies.empty()) {
    const CoreIndex owner = proxy_for(quote.source().port);
    if (owner != context_.index) {
      hand_over(owner, frame);
    } else {
      error_to_client(packet, frame, local->snat_id);
    }
  } else if (vip != EndpointMap::kNone && from != config::PortRole::backend &&
             !context_.shared.workers.empty()) {
    const CoreIndex owner = worker_for(quote.destination(), quote.source());
    if (owner != context_.index) {
      hand_over(owner, frame);
    } else {
      error_to_broker(packet, frame, vip);
    }
  } else {
    context_.output.drop(frame, Drop::icmp_unknown_flow);
  }
}

// The network toward a broker complains of a client's segment.
void Core::error_to_client(wire::Packet& packet, const Frame& frame, config::SnatId snat) {
  Quote quote;
  flow::ProxyFlow* f = quote.parse(packet)
                           ? proxy_->lookup(snat, quote.source().port, quote.destination())
                           : nullptr;
  if (f == nullptr) {
    context_.output.drop(frame, Drop::icmp_unknown_flow);
    return;
  }
  if (f->state == flow::ProxyState::syn_sent) {
    const uint8_t type = packet.transport[0];
    const bool hard = packet.is_v6
                          ? type == kUnreachableV6
                          : type == kUnreachable && packet.transport[1] != kFragmentationNeeded;
    const base::Seq32 seq = quote.seq();
    context_.output.drop(frame, Drop::handshake_consumed);
    if (hard) {
      proxy_->unreachable(*f, seq);
      deliver_local();
    }
    return;
  }
  const IcmpHeader header = IcmpHeader::load(packet.transport);
  const bool too_big = packet.is_v6
                           ? header.type == kPacketTooBig
                           : header.type == kUnreachable && header.code == kFragmentationNeeded;
  if (too_big && proxy_->try_shorten(*f, quote.seq(), header.rest & 0xffff)) {
    context_.output.drop(frame, Drop::icmp_consumed);
    return;
  }
  const wire::Endpoint& listener = context_.addresses.vip_endpoint(f->vip);
  const wire::Endpoint client{f->client, f->client_port};
  quote.translate(client, listener, f->ack_delta);
  relay_error(packet, frame, quote, f->client_side,
              {listener.address, client.address, f->client_mac});
}

// The network toward a client complains of a broker's segment.
void Core::error_to_broker(wire::Packet& packet, const Frame& frame, uint16_t vip) {
  Quote quote;
  FlowIndex index = flow::kNoFlow;
  if (quote.parse(packet)) {
    index = worker_->flows().lookup(quote.destination(), vip);
  }
  if (index == flow::kNoFlow || worker_->flows()[index].proxy_flow == flow::kNoFlow) {
    context_.output.drop(frame, Drop::icmp_unknown_flow);
    return;
  }
  const flow::WorkerFlow& f = worker_->flows()[index];
  const config::BackendEntry& backend = context_.snapshot->backends[f.backend];
  wire::MacAddress next_hop;
  if (!context_.shared.neighbours.lookup(backend.next_hop, next_hop)) {
    context_.output.drop(frame, Drop::neighbour_unresolved);
    return;
  }
  const wire::Endpoint snat{context_.snapshot->snats[f.snat].address, f.snat_port};
  quote.translate(backend.endpoint, snat, f.ack_delta);
  relay_error(packet, frame, quote, backend.port,
              {snat.address, backend.endpoint.address, next_hop});
}

// The error quotes what the receiver sent, so the quote's addresses are the error's, turned round.
void Core::relay_error(wire::Packet& packet, const Frame& frame, const Quote& quote,
                       config::PortId port, const IcmpPath& path) {
  const bool to_v6 = !path.source.is_v4();
  if (packet.is_v6 == to_v6) {
    if (to_v6) {
      wire::Ipv6View ip(quote.network());
      ip.set_source(path.destination);
      ip.set_destination(path.source);
    } else {
      wire::Ipv4View ip(quote.network());
      ip.set_source(path.destination);
      ip.set_destination(path.source);
      ip.update_checksum();
    }
    context_.counters[Event::icmp_translated].add();
    send_icmp(packet, frame, port, path);
    return;
  }
  const IcmpHeader from = IcmpHeader::load(packet.transport);
  const auto header = to_v6 ? to_icmpv6(from) : to_icmpv4(from);
  if (!header) {
    context_.output.drop(frame, Drop::icmp_ignored);
    return;
  }
  if (!send_other_family(*header, quote, port, path)) {
    context_.output.drop(frame, Drop::no_buffer);
    return;
  }
  context_.counters[Event::icmp_translated].add();
  context_.output.drop(frame, Drop::icmp_consumed);
}

// False if there is no buffer.
bool Core::send_other_family(const IcmpHeader& header, const Quote& quote, config::PortId port,
                             const IcmpPath& path) {
  Frame out;
  if (!context_.output.allocate(out)) return false;
  const bool to_v6 = !path.source.is_v4();
  const size_t ip_length = wire::ip_header_length(path.source);
  wire::Packet packet;
  packet.frame = out.data;
  packet.network = out.data + wire::kEthernetHeader;
  packet.transport = packet.network + ip_length;
  packet.is_v6 = to_v6;
  const size_t before = wire::kEthernetHeader + ip_length + wire::kIcmpHeader;
  const size_t longest = (to_v6 ? kLongestErrorV6 : kLongestErrorV4) + wire::kEthernetHeader;
  const base::MutableBytes room{out.data, std::min<size_t>(out.capacity, longest)};
  const size_t length = quote.write(path.destination, path.source, room.subspan(before));
  packet.transport_length = static_cast<uint16_t>(wire::kIcmpHeader + length);
  packet.frame_length = static_cast<uint16_t>(before + length);
  base::store_be32(packet.transport, uint32_t{header.type} << 24 | uint32_t{header.code} << 16);
  base::store_be32(packet.transport + 4, header.rest);
  packet.ethernet().set_type(to_v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4);
  wire::write_network_header(packet.network, path.source, path.destination, 0,
                             packet.transport_length);
  packet.network[to_v6 ? 6 : 9] = to_v6 ? wire::kProtocolIcmpv6 : wire::kProtocolIcmp;
  send_icmp(packet, out, port, path);
  return true;
}

// Addresses and checksums anew; all else of the packet stays.
void Core::send_icmp(wire::Packet& packet, const Frame& frame, config::PortId port,
                     const IcmpPath& path) {
  if (packet.frame_length > context_.snapshot->ports[port].mtu + wire::kEthernetHeader) {
    context_.output.drop(frame, Drop::over_mtu);
    return;
  }
  base::store_be16(packet.transport + 2, 0);
  uint64_t sum = 0;
  if (packet.is_v6) {
    wire::Ipv6View ip = packet.ipv6();
    ip.set_source(path.source);
    ip.set_destination(path.destination);
    ip.set_hop_limit(kTtl);
    sum = wire::pseudo_header_v6(ip.addresses(), wire::kProtocolIcmpv6, packet.transport_length);
  } else {
    wire::Ipv4View ip = packet.ipv4();
    ip.set_source(path.source);
    ip.set_destination(path.destination);
    ip.set_ttl(kTtl);
    ip.update_checksum();
  }
  sum += wire::sum_bytes({packet.transport, packet.transport_length});
  base::store_be16(packet.transport + 2, wire::checksum_of(sum));
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(context_.shared.port_macs[port]);
  ethernet.set_destination(path.link_destination);
  Frame out = frame;
  out.length = packet.frame_length;
  context_.output.transmit(port, out);
}

}  // namespace mqlb::engine
