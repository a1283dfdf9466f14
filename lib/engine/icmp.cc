// ICMP (RFC 792, RFC 5508): echo for our own addresses, and errors carried over the splice.
#include "lib/engine/core.hh"
#include "lib/engine/reply.hh"

namespace mqlb::engine {

using base::Drop;
using base::Event;

namespace {

enum IcmpType : uint8_t {
  kEchoReply = 0,
  kUnreachable = 3,
  kEchoRequest = 8,
  kTimeExceeded = 11,
  kParameterProblem = 12,
};
constexpr uint8_t kFragmentationNeeded = 4;  // code of kUnreachable

constexpr size_t kQuotedTcp = 8;  // all that RFC 792 promises of the quoted segment
constexpr uint8_t kTtl = 64;

// The packet that an error quotes: an IPv4 header and the beginning of a TCP header.
class Quote {
 public:
  // False if it is not TCP over IPv4 without options, or is too short.
  bool parse(const wire::Packet& packet) {
    ip_ = packet.transport + wire::kIcmpHeader;
    length_ = packet.transport_length - wire::kIcmpHeader;
    return length_ >= wire::kIpv4Header + kQuotedTcp && ip_[0] == 0x45 &&
           wire::Ipv4View(ip_).protocol() == wire::kProtocolTcp &&
           (wire::Ipv4View(ip_).fragment() & 0x1fff) == 0;
  }
  [[nodiscard]] wire::Endpoint source() const {
    return {wire::Ipv4View(ip_).source(), tcp().source_port()};
  }
  [[nodiscard]] wire::Endpoint destination() const {
    return {wire::Ipv4View(ip_).destination(), tcp().destination_port()};
  }
  [[nodiscard]] base::Seq32 seq() const { return tcp().seq(); }

  // What the sender of the quoted segment had sent.
  void translate(const wire::Endpoint& new_source, const wire::Endpoint& new_destination,
                 uint32_t seq_delta) {
    constexpr size_t kChecksumEnd = 18;
    wire::TcpView t = tcp();
    if (length_ >= wire::kIpv4Header + kChecksumEnd) {
      const base::Seq32 seq_after = t.seq() + seq_delta;
      uint64_t difference =
          splice::checksum_constant(source(), destination(), new_source, new_destination, 0, 0);
      difference += wire::field_difference(t.seq().raw(), seq_after.raw());
      t.set_checksum(wire::update_checksum(t.checksum(), difference));
    }
    t.set_source_port(new_source.port);
    t.set_destination_port(new_destination.port);
    t.set_seq(t.seq() + seq_delta);
    wire::Ipv4View ip(ip_);
    ip.set_source(new_source.address);
    ip.set_destination(new_destination.address);
    ip.update_checksum();
  }

 private:
  [[nodiscard]] wire::TcpView tcp() const { return wire::TcpView(ip_ + wire::kIpv4Header); }

  uint8_t* ip_ = nullptr;
  size_t length_ = 0;
};

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

void Core::answer_echo(wire::Packet& packet, const Frame& frame) {
  packet.transport[0] = kEchoReply;
  const wire::MacAddress back = packet.ethernet().source();
  context_.counters[Event::icmp_echo].add();
  send_icmp(packet, frame, frame.port, packet.destination(), packet.source(), back);
}

void Core::on_icmp_error(wire::Packet& packet, const Frame& frame) {
  Quote quote;
  if (!quote.parse(packet)) {
    context_.output.drop(frame, Drop::bad_icmp);
    return;
  }
  // Its quoted source is us: a SNAT address toward a broker, or a listener toward a client.
  const LocalAddress* local = context_.addresses.local(quote.source().address);
  const uint16_t vip = context_.addresses.vip(quote.source());
  if (local != nullptr && local->snat && !context_.shared.proxies.empty()) {
    const CoreIndex owner = proxy_for(quote.source().port);
    if (owner != context_.index) {
      hand_over(owner, frame);
    } else {
      error_to_client(packet, frame, local->snat_id);
    }
  } else if (vip != EndpointMap::kNone && !context_.shared.workers.empty()) {
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
    const bool hard =
        packet.transport[0] == kUnreachable && packet.transport[1] != kFragmentationNeeded;
    const base::Seq32 seq = quote.seq();
    context_.output.drop(frame, Drop::handshake_consumed);
    if (hard) {
      proxy_->unreachable(*f, seq);
      deliver_local();
    }
    return;
  }
  const wire::Endpoint& listener = context_.addresses.vip_endpoint(f->vip);
  const wire::Endpoint client{f->client, f->client_port};
  quote.translate(client, listener, f->ack_delta);
  context_.counters[Event::icmp_translated].add();
  send_icmp(packet, frame, f->client_side, listener.address, client.address, f->client_mac);
}

// The network toward a client complains of a broker's segment.
void Core::error_to_broker(wire::Packet& packet, const Frame& frame, uint16_t vip) {
  Quote quote;
  FlowIndex index = flow::kNoFlow;
  if (quote.parse(packet)) {
    const wire::Endpoint client = quote.destination();
    index = worker_->flows().lookup({client.address.v4_bits(), client.port, vip});
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
  context_.counters[Event::icmp_translated].add();
  send_icmp(packet, frame, backend.port, snat.address, backend.endpoint.address, next_hop);
}

void Core::send_icmp(wire::Packet& packet, const Frame& frame, config::PortId port,
                     const wire::IpAddress& source, const wire::IpAddress& destination,
                     const wire::MacAddress& link_destination) {
  if (packet.frame_length > context_.snapshot->ports[port].mtu + wire::kEthernetHeader) {
    context_.output.drop(frame, Drop::over_mtu);
    return;
  }
  base::store_be16(packet.transport + 2, 0);
  base::store_be16(packet.transport + 2,
                   wire::checksum_of(wire::sum_bytes({packet.transport, packet.transport_length})));
  wire::Ipv4View ip = packet.ipv4();
  ip.set_source(source);
  ip.set_destination(destination);
  ip.set_ttl(kTtl);
  ip.update_checksum();
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(context_.shared.port_macs[port]);
  ethernet.set_destination(link_destination);
  Frame out = frame;
  out.length = packet.frame_length;
  context_.output.transmit(port, out);
}

}  // namespace mqlb::engine
