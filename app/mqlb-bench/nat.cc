#include "app/mqlb-bench/nat.hh"

#include <rte_cycles.h>

#include <algorithm>

#include "lib/splice/translation.hh"
#include "lib/wire/checksum.hh"

namespace mqlb::bench {
namespace {

using flow::FlowIndex;

void rewrite(wire::Packet& packet, uint16_t checksum, const splice::Path& path) {
  wire::TcpView tcp = packet.tcp();
  tcp.set_source_port(path.source.port);
  tcp.set_destination_port(path.destination.port);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), checksum));
  packet.ipv4().readdress(path.source.address, path.destination.address, splice::kTtl);
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(path.link_source);
  ethernet.set_destination(path.link_destination);
}

bool ends(const wire::Packet& packet) {
  return (packet.tcp().flags() & (wire::kFin | wire::kRst)) != 0;
}

}  // namespace

base::Result<std::unique_ptr<Nat>> Nat::create(Rig& rig, uint32_t max_flows) {
  auto flows = flow::WorkerTable::create(max_flows, 1);
  if (!flows) return tl::unexpected(flows.error());
  auto back = flow::ProxyTable::create(max_flows);
  if (!back) return tl::unexpected(back.error());
  std::unique_ptr<Nat> nat(new Nat(rig, std::move(*flows), std::move(*back)));
  const config::Snapshot& snapshot = rig.snapshot();
  nat->uses_.resize((snapshot.snats.size() * snapshot.backends.size()) << 16);
  return nat;
}

bool Nat::add(const wire::Endpoint& client, const Flow& flow) {
  const engine::Addresses& addresses = rig_.core().context().addresses;
  const uint16_t vip = addresses.vip(rig_.listener());
  const uint16_t broker = addresses.broker(flow.broker);
  const engine::LocalAddress* snat = addresses.local(flow.snat.address);
  const FlowIndex there = flows_.add(client, vip);
  const FlowIndex back = back_.take();
  if (there == flow::kNoFlow || back == flow::kNoFlow || snat == nullptr) return false;
  flow::WorkerFlow& f = flows_[there];
  f.state = flow::WorkerState::spliced;
  f.backend = broker;
  f.snat = snat->snat_id;
  f.snat_port = flow.snat.port;
  f.checksum = splice::checksum_constant(client, rig_.listener(), flow.snat, flow.broker, 0, 0);
  flow::ProxyFlow& b = back_[back];
  b.state = flow::ProxyState::spliced;
  b.client = client.address;
  b.client_port = client.port;
  b.client_mac = kClientMac;
  b.vip = vip;
  b.checksum = splice::checksum_constant(flow.broker, flow.snat, rig_.listener(), client, 0, 0);
  uses_[use_of(snat->snat_id, broker, flow.snat.port)] = flow::SnatPorts::Use::by(back);
  return true;
}

// The engine's steps: parse and seek all, then act on each while the next records are fetched.
uint64_t Nat::run(std::span<const engine::Frame> frames) {
  const uint64_t begin = rte_rdtsc_precise();
  const engine::CoreContext& context = rig_.core().context();
  size_t count = 0;
  for (const engine::Frame& frame : frames) {
    engine::Arrival& arrival = arrivals_[count];
    const wire::ParseRules rules{context.shared.port_macs[frame.port],
                                 context.snapshot->ports[frame.port].mtu};
    if (wire::parse_packet(frame.bytes(), rules, frame.checksum, arrival.packet) ||
        arrival.packet.kind != wire::PacketKind::tcp) {
      drop(frame);
      continue;
    }
    arrival.frame = &frame;
    frame.port == kClients ? seek_broker(arrival) : seek_client(arrival);
    ++count;
  }
  // A burst of a port goes one way.
  if (count > 0 && arrivals_[0].frame->port == kClients) {
    to_brokers(std::span(arrivals_).first(count));
  } else {
    to_clients(std::span(arrivals_).first(count));
  }
  output_.flush();
  return rte_rdtsc_precise() - begin;
}

void Nat::seek_broker(engine::Arrival& arrival) {
  const wire::Packet& packet = arrival.packet;
  const wire::TcpView tcp = packet.tcp();
  const uint16_t vip =
      rig_.core().context().addresses.vip({packet.ipv4().destination(), tcp.destination_port()});
  arrival.search = flows_.begin({packet.ipv4().source(), tcp.source_port()}, vip);
}

void Nat::seek_client(engine::Arrival& arrival) {
  const engine::Addresses& addresses = rig_.core().context().addresses;
  const wire::Packet& packet = arrival.packet;
  const uint16_t broker = addresses.broker({packet.ipv4().source(), packet.tcp().source_port()});
  const engine::LocalAddress* snat = addresses.local(packet.ipv4().destination());
  arrival.port = nullptr;
  if (broker == engine::EndpointMap::kNone || snat == nullptr || !snat->snat) return;
  arrival.port = &uses_[use_of(snat->snat_id, broker, packet.tcp().destination_port())];
  __builtin_prefetch(arrival.port);
}

void Nat::to_brokers(std::span<engine::Arrival> arrivals) {
  const engine::CoreContext& context = rig_.core().context();
  const size_t count = arrivals.size();
  for (size_t i = 0; i < std::min(count, engine::kFetchAhead); ++i) {
    flows_.fetch(arrivals[i].search);
  }
  for (size_t i = 0; i < count; ++i) {
    if (i + engine::kFetchAhead < count) flows_.fetch(arrivals[i + engine::kFetchAhead].search);
    const FlowIndex index = flows_.finish(arrivals[i].search);
    if (index == flow::kNoFlow) {
      drop(*arrivals[i].frame);
      continue;
    }
    const wire::Packet& packet = arrivals[i].packet;
    flow::WorkerFlow& f = flows_[index];
    f.last_seen = context.now_seconds;
    if (ends(packet)) f.flags |= flow::kClientFin;
    const engine::BackendSide& backend = context.backends[f.backend];
    const engine::PortSide& port = context.ports[backend.port];
    wire::MacAddress next_hop;
    if (!context.shared.neighbours.lookup(backend.next_hop, next_hop) ||
        packet.frame_length > port.longest) {
      drop(*arrivals[i].frame);
      continue;
    }
    const wire::Endpoint source{context.snapshot->snats[f.snat].address, f.snat_port};
    rewrite(arrivals[i].packet, f.checksum, {source, backend.endpoint, port.mac, next_hop});
    counters_[base::Event::packets_to_broker].add();
    backends_[f.backend].bytes_to_backend.add(packet.payload_length);
    output_.transmit(backend.port, *arrivals[i].frame, packet);
  }
}

void Nat::to_clients(std::span<engine::Arrival> arrivals) {
  const engine::CoreContext& context = rig_.core().context();
  const size_t count = arrivals.size();
  const auto fetch = [&](size_t i) {
    if (arrivals[i].port != nullptr && arrivals[i].port->taken()) {
      __builtin_prefetch(&back_[arrivals[i].port->flow()], 1);
    }
  };
  for (size_t i = 0; i < std::min(count, engine::kFetchAhead); ++i) fetch(i);
  for (size_t i = 0; i < count; ++i) {
    if (i + engine::kFetchAhead < count) fetch(i + engine::kFetchAhead);
    if (arrivals[i].port == nullptr || !arrivals[i].port->taken()) {
      drop(*arrivals[i].frame);
      continue;
    }
    const wire::Packet& packet = arrivals[i].packet;
    flow::ProxyFlow& b = back_[arrivals[i].port->flow()];
    if (ends(packet)) b.flags |= flow::kOwnFin;
    const engine::PortSide& port = context.ports[b.client_side];
    if (packet.frame_length > port.longest) {
      drop(*arrivals[i].frame);
      continue;
    }
    rewrite(
        arrivals[i].packet, b.checksum,
        {context.addresses.vip_endpoint(b.vip), {b.client, b.client_port}, port.mac, b.client_mac});
    counters_[base::Event::packets_to_client].add();
    backends_[b.backend].bytes_to_client.add(packet.payload_length);
    output_.transmit(b.client_side, *arrivals[i].frame, packet);
  }
}

}  // namespace mqlb::bench
