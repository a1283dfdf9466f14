#include "app/mqlb-bench/nat.hh"

#include <rte_cycles.h>

#include "lib/splice/translation.hh"
#include "lib/wire/checksum.hh"

namespace mqlb::bench {
namespace {

using flow::FlowIndex;

constexpr uint8_t kTtl = 64;

void rewrite(wire::Packet& packet, uint16_t checksum, const splice::Path& path) {
  wire::TcpView tcp = packet.tcp();
  tcp.set_source_port(path.source.port);
  tcp.set_destination_port(path.destination.port);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), checksum));
  wire::Ipv4View ip = packet.ipv4();
  ip.set_source(path.source.address);
  ip.set_destination(path.destination.address);
  ip.set_ttl(kTtl);
  ip.update_checksum();
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(path.link_source);
  ethernet.set_destination(path.link_destination);
}

}  // namespace

base::Result<std::unique_ptr<Nat>> Nat::create(Rig& rig, uint32_t max_flows) {
  auto flows = flow::WorkerTable::create(max_flows, 1);
  if (!flows) return tl::unexpected(flows.error());
  auto back = flow::ProxyTable::create(max_flows);
  if (!back) return tl::unexpected(back.error());
  std::unique_ptr<Nat> nat(new Nat(rig, std::move(*flows), std::move(*back)));
  const config::Snapshot& snapshot = rig.snapshot();
  nat->slots_.resize((snapshot.snats.size() * snapshot.backends.size()) << 16);
  return nat;
}

bool Nat::add(const wire::Endpoint& client, const Flow& flow) {
  const engine::Addresses& addresses = rig_.core().context().addresses;
  const uint16_t vip = addresses.vip(rig_.listener());
  const uint16_t broker = addresses.broker(flow.broker);
  const engine::LocalAddress* snat = addresses.local(flow.snat.address);
  const FlowIndex there = flows_.add({client.address.v4_bits(), client.port, vip});
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
  slots_[slot_of(snat->snat_id, broker, flow.snat.port)].flow = back;
  return true;
}

uint64_t Nat::run(std::span<const engine::Frame> frames) {
  const uint64_t begin = rte_rdtsc_precise();
  std::array<wire::Packet, kBurst> packets;
  std::array<engine::Frame, kBurst> good;
  size_t count = 0;
  const engine::CoreContext& context = rig_.core().context();
  for (const engine::Frame& frame : frames) {
    const wire::ParseRules rules{context.shared.port_macs[frame.port],
                                 context.snapshot->ports[frame.port].mtu};
    const auto packet = wire::parse_packet(frame.bytes(), rules, frame.checksum);
    if (!packet || packet->kind != wire::PacketKind::tcp) {
      drop(frame);
      continue;
    }
    packets[count] = *packet;
    good[count++] = frame;
  }
  // A burst of a port goes one way.
  if (count > 0 && good[0].port == kClients) {
    to_brokers(std::span(packets).first(count), std::span(good).first(count));
  } else {
    to_clients(std::span(packets).first(count), std::span(good).first(count));
  }
  output_.flush();
  return rte_rdtsc_precise() - begin;
}

void Nat::to_brokers(std::span<wire::Packet> packets, std::span<const engine::Frame> frames) {
  const engine::CoreContext& context = rig_.core().context();
  std::array<flow::ClientKey, kBurst> keys;
  std::array<FlowIndex, kBurst> indices;
  for (size_t i = 0; i < packets.size(); ++i) {
    const wire::TcpView tcp = packets[i].tcp();
    const uint16_t vip = context.addresses.vip({packets[i].destination(), tcp.destination_port()});
    keys[i] = {packets[i].source().v4_bits(), tcp.source_port(), vip};
  }
  flows_.lookup_bulk(std::span(keys).first(packets.size()), indices);
  for (size_t i = 0; i < packets.size(); ++i) {
    if (indices[i] != flow::kNoFlow) __builtin_prefetch(&flows_[indices[i]], 1);
  }
  for (size_t i = 0; i < packets.size(); ++i) {
    if (indices[i] == flow::kNoFlow) {
      drop(frames[i]);
      continue;
    }
    flow::WorkerFlow& f = flows_[indices[i]];
    f.last_seen = context.now_seconds;
    const config::BackendEntry& backend = context.snapshot->backends[f.backend];
    wire::MacAddress next_hop;
    if (!context.shared.neighbours.lookup(backend.next_hop, next_hop)) {
      drop(frames[i]);
      continue;
    }
    const wire::Endpoint source{context.snapshot->snats[f.snat].address, f.snat_port};
    rewrite(packets[i], f.checksum,
            {source, backend.endpoint, context.shared.port_macs[backend.port], next_hop});
    counters_[base::Event::packets_to_broker].add();
    output_.transmit(backend.port, frames[i]);
  }
}

void Nat::to_clients(std::span<wire::Packet> packets, std::span<const engine::Frame> frames) {
  const engine::CoreContext& context = rig_.core().context();
  std::array<const Slot*, kBurst> slots{};
  for (size_t i = 0; i < packets.size(); ++i) {
    const wire::TcpView tcp = packets[i].tcp();
    const uint16_t broker = context.addresses.broker({packets[i].source(), tcp.source_port()});
    const engine::LocalAddress* snat = context.addresses.local(packets[i].destination());
    if (broker == engine::EndpointMap::kNone || snat == nullptr || !snat->snat) continue;
    slots[i] = &slots_[slot_of(snat->snat_id, broker, tcp.destination_port())];
    __builtin_prefetch(slots[i]);
  }
  for (size_t i = 0; i < packets.size(); ++i) {
    if (slots[i] != nullptr && slots[i]->flow != flow::kNoFlow) {
      __builtin_prefetch(&back_[slots[i]->flow], 1);
    }
  }
  for (size_t i = 0; i < packets.size(); ++i) {
    if (slots[i] == nullptr || slots[i]->flow == flow::kNoFlow) {
      drop(frames[i]);
      continue;
    }
    const flow::ProxyFlow& b = back_[slots[i]->flow];
    rewrite(packets[i], b.checksum,
            {context.addresses.vip_endpoint(b.vip),
             {b.client, b.client_port},
             context.shared.port_macs[b.client_side],
             b.client_mac});
    counters_[base::Event::packets_to_client].add();
    output_.transmit(b.client_side, frames[i]);
  }
}

}  // namespace mqlb::bench
