// Checks under way: from where, with what, and the segments that come back.
#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "lib/control/health_target.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"
#include "lib/wire/packet.hh"

namespace mqlb::control {

using base::Duration;
using base::Instant;
using config::BackendId;

namespace {

using namespace std::chrono_literals;

constexpr size_t kLongestFrame = 2048;
// Before a port may serve the same broker again although others would be better: what was on its
// way has arrived.
constexpr Duration kLeastRest = 100ms;

uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31U);
}

uint64_t fold(const wire::Endpoint& endpoint) {
  const auto octets = endpoint.address.octets();
  uint64_t sum = endpoint.port;
  for (const uint8_t octet : octets) sum = mix(sum + octet);
  return sum;
}

}  // namespace

HealthMonitor::Target HealthMonitor::Target::make(const config::Snapshot& snapshot, BackendId id) {
  const config::BackendEntry& entry = snapshot.backends[id];
  const config::PoolEntry& from = snapshot.pools[entry.pool];
  Target t;
  t.name = entry.name;
  t.pool = from.name;
  t.backend = t.remote = entry.endpoint;
  t.check = from.check;
  if (t.check.kind == config::CheckKind::http) t.remote.port = t.check.http_port;
  t.proxy_protocol = from.proxy_protocol;
  t.crc32c = from.proxy_crc32c;
  t.unique_id = from.proxy_unique_id;
  t.port = entry.port;
  t.next_hop = entry.next_hop;
  for (const config::SnatId snat : from.snats) {
    const config::SnatEntry& s = snapshot.snats[snat];
    if (s.retired || s.address.is_v4() != entry.endpoint.address.is_v4()) continue;
    t.ports_each = config::check_port_count(s.first_port, s.last_port);
    const auto first = static_cast<uint16_t>(s.last_port - t.ports_each + 1);
    t.locals.emplace_back(s.address, first);
  }
  return t;
}

void HealthMonitor::begin_if_due(BackendId id, Instant now) {
  Target& target = *targets_[id];
  if (target.asking || winding_down_ || now < target.next) return;
  wire::MacAddress mac;
  if (!shared_.neighbours.lookup(target.next_hop, mac)) {
    // It may be on its way, as for every broker when the balancer starts.
    if (!target.waits_for_neighbour) target.waits_for_neighbour = now;
    const Duration waited = now - *target.waits_for_neighbour;
    if (waited < target.check.timeout) return;
    schedule(target, *std::exchange(target.waits_for_neighbour, std::nullopt));
    note(id, {false, "unreachable: no neighbour"}, waited, now);
    return;
  }
  target.waits_for_neighbour.reset();
  // Without a free port it waits for one: that says nothing of the broker.
  if (const auto local = choose_local(target, now)) begin(id, *local, now);
}

// In turn, so that each SNAT address is tried. A port of which the last check is just over serves
// only if there is no other; its sequence numbers go on, which a broker in TIME-WAIT accepts (RFC
// 6191, RFC 9293 section 3.6.1).
std::optional<wire::Endpoint> HealthMonitor::choose_local(Target& target, Instant now) {
  const size_t count = target.locals.size() * target.ports_each;
  auto oldest = runs_.end();
  for (size_t i = 0; i < count; ++i) {
    const size_t n = (target.turn + i) % count;
    const auto& [address, first] = target.locals[n % target.locals.size()];
    const wire::Endpoint local{address, static_cast<uint16_t>(first + n / target.locals.size())};
    const auto used = runs_.find({local, target.remote});
    if (used == runs_.end()) {
      target.turn = static_cast<uint32_t>(n + 1);
      return local;
    }
    const auto& over = used->second.over_since;
    if (!over || now < *over + kLeastRest) continue;
    if (oldest == runs_.end() || *over < *oldest->second.over_since) oldest = used;
  }
  if (oldest == runs_.end()) return std::nullopt;
  const wire::Endpoint local = oldest->first.first;
  runs_.erase(oldest);
  return local;
}

void HealthMonitor::begin(BackendId id, const wire::Endpoint& local, Instant now) {
  Target& target = *targets_[id];
  const auto emit = [this, port = target.port, next_hop = target.next_hop](
                        const wire::Segment& segment) { send(port, next_hop, segment); };
  Run& run = runs_.try_emplace({local, target.remote}, id, make_plan(id, local, now), emit, now)
                 .first->second;
  ++waiting_;
  target.asking = true;
  schedule(target, now);
  run.check.start(now);
}

CheckPlan HealthMonitor::make_plan(BackendId id, const wire::Endpoint& local, Instant now) {
  const Target& target = *targets_[id];
  CheckPlan plan;
  plan.tcp.local = local;
  plan.tcp.remote = target.remote;
  plan.tcp.mtu = snapshot_->ports[target.port].mtu;
  plan.tcp.iss = initial_sequence({local, target.remote}, now);
  plan.tcp.clock_offset = clock_offset_;
  plan.timeout = target.check.timeout;
  // With the default prefix not longer than the 23 characters that every server takes
  // (MQTT-3.1.3-5).
  char unique[16];
  std::snprintf(unique, sizeof unique, "%06x-%u", static_cast<unsigned>(shared_.boot_id & 0xffffff),
                unsigned{id});
  plan.dialogue = make_dialogue(target.check, target.check.client_id + unique, target.remote);
  if (target.check.kind != config::CheckKind::http) {
    plan.header =
        proxy_header(snapshot_->pools[snapshot_->backends[id].pool], local, target.remote);
  }
  return plan;
}

// The check's own endpoints, as PROXY: some brokers take LOCAL badly.
std::vector<uint8_t> HealthMonitor::proxy_header(const config::PoolEntry& pool,
                                                 const wire::Endpoint& local,
                                                 const wire::Endpoint& remote) {
  std::vector<uint8_t> header(proxy_protocol::kMaxHeader);
  size_t size = 0;
  switch (pool.proxy_protocol) {
    case config::ProxyProtocol::none:
      break;
    case config::ProxyProtocol::v1:
      size = proxy_protocol::encode_v1(local, remote, header);
      break;
    case config::ProxyProtocol::v2: {
      // As a proxy's, with a core that none has.
      std::array<uint8_t, 16> id;
      base::store_be64(id.data(), shared_.boot_id);
      base::store_be64(id.data() + 8, uint64_t{0xff} << 56 | ++begun_);
      const proxy_protocol::V2Options options{
          pool.proxy_crc32c, pool.proxy_unique_id ? base::Bytes(id) : base::Bytes{}};
      size = proxy_protocol::encode_v2(local, remote, options, header);
      break;
    }
  }
  header.resize(size);
  return header;
}

// RFC 6528: a clock of 4 us and a secret of the connection. A check sends less than the clock
// gains in a few milliseconds, and its port rests for longer, so each use begins beyond the last.
base::Seq32 HealthMonitor::initial_sequence(const Tuple& tuple, Instant now) const {
  const uint64_t secret = mix(sequence_key_ ^ fold(tuple.first) ^ mix(fold(tuple.second)));
  const auto clock = static_cast<uint64_t>(now.time_since_epoch().count()) / 4;
  return base::Seq32(static_cast<uint32_t>(clock + secret));
}

// The broker is told of the end of what is under way; what is over just rests no more.
void HealthMonitor::drop_runs(BackendId id) {
  for (auto it = runs_.begin(); it != runs_.end();) {
    Run& run = it->second;
    if (run.id != id) {
      ++it;
      continue;
    }
    if (!run.over_since) {
      run.check.abort();
      --waiting_;
    }
    it = runs_.erase(it);
  }
}

void HealthMonitor::abort() {
  for (size_t id = 0; id < targets_.size(); ++id) drop_runs(static_cast<BackendId>(id));
}

void HealthMonitor::receive(base::MutableBytes frame, config::PortId port, Instant now) {
  notice_stall(now);
  if (snapshot_ == nullptr || port >= snapshot_->ports.size()) return;
  wire::Packet packet;
  // The core that passed it on has looked at its checksums.
  const wire::ParseRules rules{shared_.port_macs[port], snapshot_->ports[port].mtu};
  if (wire::parse_packet(frame, rules, wire::HardwareChecksum::good, packet) ||
      packet.kind != wire::PacketKind::tcp) {
    return;
  }
  const wire::TcpView tcp = packet.tcp();
  const auto it = runs_.find(
      {{packet.destination(), tcp.destination_port()}, {packet.source(), tcp.source_port()}});
  if (it == runs_.end() || it->second.check.tcp().state() == TcpState::closed) {
    refuse(packet, port, now);
    return;
  }
  it->second.check.receive(packet, now);
  settle(it->second, now);
}

// RFC 9293 section 3.10.7.1, back where it came from.
void HealthMonitor::refuse(const wire::Packet& packet, config::PortId port, Instant now) {
  const wire::TcpView tcp = packet.tcp();
  if (tcp.has(wire::kRst) || !resets_.take(now)) return;
  wire::Segment rst;
  rst.link = {shared_.port_macs[port], packet.ethernet().source()};
  rst.source = {packet.destination(), tcp.destination_port()};
  rst.destination = {packet.source(), tcp.source_port()};
  if (tcp.has(wire::kAck)) {
    rst.flags = wire::kRst;
    rst.seq = tcp.ack();
  } else {
    rst.flags = wire::kRst | wire::kAck;
    rst.ack = packet.segment_end();
  }
  send_frame(port, rst);
}

// Lost if the neighbour is not known any more, as any segment may be.
void HealthMonitor::send(config::PortId port, config::NextHopId next_hop,
                         const wire::Segment& segment) {
  wire::Segment addressed = segment;
  addressed.link.source = shared_.port_macs[port];
  if (!shared_.neighbours.lookup(next_hop, addressed.link.destination)) return;
  send_frame(port, addressed);
}

void HealthMonitor::send_frame(config::PortId port, const wire::Segment& segment) {
  std::array<uint8_t, kLongestFrame> frame;
  const size_t length = wire::build_segment(segment, frame);
  if (length > 0) emit_(port, base::Bytes(frame).first(length));
}

}  // namespace mqlb::control
