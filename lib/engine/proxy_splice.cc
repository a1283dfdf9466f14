// The spliced state on the broker's side: broker packets rewritten and sent to the client.
#include <algorithm>

#include "lib/engine/proxy.hh"
#include "lib/engine/reply.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::engine {

using base::Drop;
using base::End;
using base::Event;
using base::Seq32;
using flow::ProxyFlow;
using flow::ProxyState;

namespace {

// For control, at most: a flood toward the ports of checks must not crowd out ARP.
constexpr uint32_t kCheckSegmentsPerSecond = 50'000;

}  // namespace

base::Result<std::unique_ptr<Proxy>> Proxy::create(CoreContext& context, uint32_t max_flows,
                                                   uint32_t max_connecting) {
  auto flows = flow::ProxyTable::create(max_flows);
  if (!flows) return tl::unexpected(flows.error());
  return std::unique_ptr<Proxy>(new Proxy(context, std::move(*flows), max_connecting));
}

Proxy::Proxy(CoreContext& context, flow::ProxyTable flows, uint32_t max_connecting)
    : context_(context),
      flows_(std::move(flows)),
      opening_(max_connecting),
      copies_(new uint8_t[max_connecting * kShortConnect]) {}

// Makes port tables for combinations that are new. Tables of addresses that were removed stay while
// the process lives: flows may use them, and their quarantines hold.
void Proxy::adopt_snapshot() {
  const config::Snapshot& snapshot = *context_.snapshot;
  check_bucket_.set_rate(kCheckSegmentsPerSecond);
  ports_.resize(context_.addresses.broker_count() * config::kMaxSnats);
  port_maps_.resize(ports_.size());
  for (const config::PoolEntry& pool : snapshot.pools) {
    for (const config::BackendId backend : pool.backends) {
      for (const config::SnatId snat : pool.snats) {
        make_ports(context_.addresses.broker_of(backend), snat);
      }
    }
  }
}

void Proxy::make_ports(uint16_t broker, config::SnatId snat) {
  const config::SnatEntry& entry = context_.snapshot->snats[snat];
  const size_t number = table_of(broker, snat);
  PortTable& table = ports_[number];
  const bool same = table.address == entry.address && table.first == entry.first_port &&
                    table.last == entry.last_port;
  if (table.ports != nullptr && same) return;
  // An id comes to mean another address, or other ports, only when no flow uses it any more.
  const std::vector<CoreIndex>& proxies = context_.shared.proxies;
  const auto own = static_cast<uint16_t>(std::find(proxies.begin(), proxies.end(), context_.index) -
                                         proxies.begin());
  const flow::Steering& steering = context_.shared.from_brokers;
  const wire::Endpoint& from = context_.addresses.broker_endpoint(broker);
  const auto comes_here = [&](uint16_t port) {
    return !steering.known(from) ||
           steering.core_for(from, {entry.address, port}) == context_.index;
  };
  table.address = entry.address;
  table.first = entry.first_port;
  table.last = entry.last_port;
  table.ports = std::make_unique<flow::SnatPorts>(
      entry.first_port, entry.last_port, own, static_cast<uint16_t>(proxies.size()),
      context_.shared.random * (broker + 1U), comes_here,
      config::check_port_count(entry.first_port, entry.last_port), &port_memory_);
  port_maps_[number] = table.ports->map();
}

// While a packet is acted on, the records of those behind it are on their way.
void Proxy::process(std::span<Arrival* const> arrivals) {
  const size_t count = arrivals.size();
  for (size_t i = 0; i < std::min(count, kFetchAhead); ++i) fetch(*arrivals[i]);
  for (size_t i = 0; i < count; ++i) {
    if (i + kFetchAhead < count) fetch(*arrivals[i + kFetchAhead]);
    Arrival& arrival = *arrivals[i];
    // Only now: an earlier packet of the burst may have ended the flow.
    if (arrival.port == nullptr || !arrival.port->taken()) {
      take_stray(arrival);
      continue;
    }
    const FlowIndex index = arrival.port->flow();
    if (is_usual(arrival.packet, flows_[index])) {
      pass_on<splice::Families::ipv4>(arrival.packet, *arrival.frame, flows_[index], false);
    } else {
      act(arrival.packet, *arrival.frame, index);
    }
  }
}

// A segment of no flow: control's, if it is for a port that health checks leave from, and may be a
// broker's. Others must not use up what answers need.
void Proxy::take_stray(const Arrival& arrival) {
  const uint16_t port = arrival.packet.tcp().destination_port();
  const LocalAddress* local = context_.addresses.local(arrival.packet.destination());
  if (local != nullptr && local->snat) {
    const config::SnatEntry& snat = context_.snapshot->snats[local->snat_id];
    const config::PortRole role = context_.snapshot->ports[arrival.frame->port].role;
    if (config::is_check_port(snat.first_port, snat.last_port, port) &&
        role != config::PortRole::client && context_.addresses.is_broker(arrival.packet.source())) {
      if (check_bucket_.take(context_.now)) {
        context_.counters[Drop::check_consumed].add();
        context_.sink.to_control(*arrival.frame);
      } else {
        context_.output.drop(*arrival.frame, Drop::unknown_flow_quiet);
      }
      return;
    }
  }
  reset_unknown(context_, arrival.packet, *arrival.frame, Drop::unknown_flow, Event::rst_to_broker);
}

// True for most segments: one of a spliced flow of IPv4, neither of which needs a watch.
inline bool Proxy::is_usual(const wire::Packet& packet, const ProxyFlow& f) {
  constexpr uint8_t kUnusual = flow::kGuard | flow::kPeerFin | flow::kClientV6 | flow::kBrokerV6;
  constexpr uint8_t kWatch = wire::kSyn | wire::kFin | wire::kRst;
  return f.state == ProxyState::spliced && (f.flags & kUnusual) == 0 &&
         (packet.tcp().flags() & kWatch) == 0;
}

void Proxy::act(wire::Packet& packet, const Frame& frame, FlowIndex index) {
  ProxyFlow& f = flows_[index];
  switch (f.state) {
    case ProxyState::spliced:
      splice(packet, frame, index);
      break;
    case ProxyState::settling:
      while_settling(packet, frame, opening(f));
      break;
    case ProxyState::syn_sent:
      in_syn_sent(packet, frame, opening(f));
      break;
    case ProxyState::reopening:  // has no port
    case ProxyState::free:
      context_.output.drop(frame, Drop::unknown_flow_quiet);
      break;
  }
}

void Proxy::splice(wire::Packet& packet, const Frame& frame, FlowIndex index, bool strip_sack) {
  ProxyFlow& f = flows_[index];
  if (packet.tcp().has(wire::kSyn)) {
    // A SYN-ACK that comes again: the client's next segment acknowledges it.
    context_.output.drop(frame, Drop::absorbed_ack);
    return;
  }
  if ((f.flags & flow::kGuard) != 0 && f.state == ProxyState::spliced && !late_ack(packet, index)) {
    context_.output.drop(frame, Drop::absorbed_ack);
    return;
  }
  const bool ends = (packet.tcp().flags() & (wire::kFin | wire::kRst)) != 0;
  if (ends || (f.flags & flow::kPeerFin) != 0) watch_ends(packet, f);
  const bool strip = strip_sack || ((f.flags & flow::kGuard) != 0 && sacks_known(packet, index));
  pass_on<splice::Families::any>(packet, frame, f, strip);
}

// families: of the flow, on both sides.
template <splice::Families families>
[[gnu::always_inline]] inline void Proxy::pass_on(wire::Packet& packet, const Frame& frame,
                                                  const ProxyFlow& f, bool strip_sack) {
  const PortSide& port = context_.ports[f.client_side];
  const bool is_v6 = (f.flags & flow::kClientV6) != 0;
  const splice::Translation translation{f.seq_delta, f.ack_delta,    f.timestamp_delta,
                                        f.checksum,  f.window_shift, strip_sack};
  const wire::Endpoint client{f.client, f.client_port};
  if (!splice::rewrite_segment<families>(
          packet, translation, splice::Direction::to_client,
          {context_.addresses.vip_endpoint(f.vip), client, port.mac, f.client_mac, is_v6})) {
    context_.output.drop(frame, Drop::bad_tcp_header);
    return;
  }
  if (packet.frame_length > port.longest) {  // as it goes out: families differ by 20 bytes
    context_.output.drop(frame, Drop::over_mtu);
    return;
  }
  context_.counters[Event::packets_to_client].add();
  context_.objects->backends[f.backend].bytes_to_client.add(packet.payload_length);
  context_.output.transmit(f.client_side, frame, packet);
}

// True if a SACK block lies in what is ours, the PROXY header or owned bytes, that came to the
// broker twice (RFC 2883). To the client such a block makes no sense.
bool Proxy::sacks_known(const wire::Packet& packet, FlowIndex index) {
  if (packet.tcp_header_length == wire::kTcpHeader) return false;
  const auto options = wire::parse_tcp_options(packet.tcp().options());
  if (!options || options->sack_blocks == 0) return false;
  const uint8_t* first = packet.tcp().options().data() + options->sack_offset;
  const Seq32 begin = Seq32(base::load_be32(first)) + flows_[index].ack_delta;
  return begin.before(flows_.guard(index).known_ack);
}

// FIN and RST from the broker, and its acknowledgement of the client's FIN. The worker hears before
// the segment goes out, so it knows before the client answers.
void Proxy::watch_ends(const wire::Packet& packet, ProxyFlow& f) {
  const wire::TcpView tcp = packet.tcp();
  const auto tell = [&](const auto& message) {
    if (context_.sink.send({f.worker, message})) return true;
    context_.counters[Event::messages_lost].add();
    return false;
  };
  if ((f.flags & flow::kPeerFin) != 0 && (f.flags & flow::kPeerFinAcked) == 0 &&
      tcp.has(wire::kAck)) {
    const Seq32 fin_end =
        f.state == ProxyState::settling ? opening(f).client_fin_end : Seq32(f.client_fin_end);
    if (!tcp.ack().before(fin_end) && tell(ClientFinAcked{worker_of(f)})) {
      f.flags |= flow::kPeerFinAcked;
    }
  }
  if (tcp.has(wire::kFin) && (f.flags & flow::kOwnFin) == 0 &&
      tell(BrokerFin{worker_of(f), packet.segment_end() + f.seq_delta})) {
    f.flags |= flow::kOwnFin;
  }
  if (tcp.has(wire::kRst)) tell(BrokerReset{worker_of(f), tcp.seq() + f.seq_delta, false});
}

ProxyFlow* Proxy::lookup(config::SnatId snat, uint16_t port, const wire::Endpoint& broker) {
  const uint16_t number = context_.addresses.broker(broker);
  const flow::SnatPorts* table = number == EndpointMap::kNone ? nullptr : ports(number, snat);
  const FlowIndex index = table == nullptr ? flow::kNoFlow : table->lookup(port);
  return index == flow::kNoFlow ? nullptr : &flows_[index];
}

void Proxy::unreachable(ProxyFlow& f, Seq32 seq) {
  if (f.state == ProxyState::syn_sent && seq == opening(f).iss)
    failed_try(opening(f), Event::broker_refused);
}

void Proxy::receive(const ClientFin& message) {
  ProxyFlow& f = flows_[message.proxy_flow];
  // The client will repeat a FIN to a broker that is left.
  if (f.state != ProxyState::settling && f.state != ProxyState::spliced) return;
  f.flags |= flow::kPeerFin;
  if (f.state == ProxyState::settling) {
    opening(f).client_fin_end = message.end;
  } else {
    f.client_fin_end = message.end.raw();
  }
}

void Proxy::receive(const ClientMoved& message) {
  flows_[message.proxy_flow].client_mac = message.mac;
}

// The worker's record is gone. An end that still holds the connection is told, with a sequence
// number that it must accept.
void Proxy::receive(const Release& message) {
  ProxyFlow& f = flows_[message.proxy_flow];
  if (f.state == ProxyState::free) return;
  if (f.state == ProxyState::reopening) {
    // Both have given its place back.
    if (message.left_backend) (void)context_.shared.loads.try_add(f.backend, 0);
    if (message.reset_client && message.known) reset_client(f, message);
    Opening& o = opening(f);
    flows_.give_back(message.proxy_flow);
    forget(o);
    return;
  }
  Seq32 last_seq = message.client_next;
  bool known = message.known;
  if (f.state == ProxyState::settling) {
    Opening& o = opening(f);
    // What the worker has sent lies behind what is ours.
    if (!known || !last_seq.after(owned_end(o))) last_seq = o.snd_nxt;
    known = true;
    // What the broker has not taken yet is not what it expects next.
    if (message.reset_broker && o.snd_una != last_seq) reset_at(f, o.snd_una);
    settled(o);
  }
  if (message.reset_broker && known) reset_at(f, last_seq);
  if (message.reset_client && message.known) reset_client(f, message);
  if (!message.left_backend) context_.shared.loads.subtract(f.backend);
  context_.objects->backends[f.backend].flows.subtract();
  give_back_port(f, last_seq);
  flows_.give_back(message.proxy_flow);
}

void Proxy::reset_at(const ProxyFlow& f, Seq32 seq) {
  const config::BackendEntry& backend = context_.snapshot->backends[f.backend];
  wire::Segment rst;
  rst.link.source = context_.shared.port_macs[backend.port];
  if (!context_.shared.neighbours.lookup(backend.next_hop, rst.link.destination)) return;
  rst.source = {context_.snapshot->snats[f.snat].address, f.snat_port};
  rst.destination = backend.endpoint;
  rst.flags = wire::kRst;
  rst.seq = seq;
  send_segment(context_, backend.port, rst);
  context_.counters[Event::rst_to_broker].add();
}

void Proxy::reset_client(const ProxyFlow& f, const Release& message) {
  wire::Segment rst;
  rst.link = {context_.shared.port_macs[f.client_side], f.client_mac};
  rst.source = context_.addresses.vip_endpoint(f.vip);
  rst.destination = {f.client, f.client_port};
  rst.flags = wire::kRst | wire::kAck;
  rst.seq = message.client_ack;
  rst.ack = message.client_next + f.ack_delta;
  send_segment(context_, f.client_side, rst);
  context_.counters[Event::rst_to_client].add();
}

void Proxy::advance() {
  timers_.advance(context_.now,
                  [this](base::TimerNode& node) { on_timer(static_cast<Opening&>(node)); });
}

std::vector<Proxy::PortUse> Proxy::port_use() {
  std::vector<PortUse> out;
  const auto quarantine =
      static_cast<uint32_t>(context_.snapshot->settings.snat_quarantine.count());
  for (size_t i = 0; i < ports_.size(); ++i) {
    if (ports_[i].ports == nullptr) continue;
    const auto broker = static_cast<uint16_t>(i / config::kMaxSnats);
    out.push_back({static_cast<config::SnatId>(i % config::kMaxSnats),
                   context_.addresses.broker_endpoint(broker), ports_[i].ports->in_use(),
                   ports_[i].ports->quarantined(context_.now_seconds, quarantine),
                   ports_[i].ports->capacity()});
  }
  return out;
}

}  // namespace mqlb::engine
