// While a proxy looks for a broker, and what the client is told when there is none.
#include <algorithm>

#include "lib/engine/reply.hh"
#include "lib/engine/worker.hh"
#include "lib/engine/worker_limits.hh"

namespace mqlb::engine {

using base::Drop;
using base::End;
using base::Event;

namespace {

uint16_t idle_units(int64_t seconds) {
  const int64_t units = (seconds + flow::kIdleUnit - 1) / flow::kIdleUnit;
  return static_cast<uint16_t>(std::clamp<int64_t>(units, 1, 0xffff));
}

// 1.5 x keep alive (MQTT-3.1.2-24) and a margin for the network. A broker may override the keep
// alive (MQTT 5.0 section 3.2.2.3.14), so never less than the floor.
uint16_t idle_timeout(const config::Settings& settings, uint16_t keep_alive) {
  constexpr int64_t kMargin = 10;
  const int64_t seconds =
      keep_alive == 0
          ? settings.idle_max.count()
          : std::max<int64_t>(settings.idle_floor.count(), int64_t{keep_alive} * 3 / 2 + kMargin);
  return idle_units(seconds);
}

mqtt::Unavailable why(End reason) {
  switch (reason) {
    case End::client_id_rate:
      return mqtt::Unavailable::connection_rate_exceeded;
    case End::backends_full:
      return mqtt::Unavailable::server_busy;
    default:
      return mqtt::Unavailable::server_unavailable;
  }
}

}  // namespace

// By the first policy that says anything of the client.
Worker::Key Worker::choose_key(const Accepting& a, const config::PoolEntry& pool,
                               const mqtt::Connect& connect) {
  using config::KeyPolicy;
  const auto hash = [&](base::Bytes key) { return maglev::hash_key(key, pool.hash_seed); };
  const std::array<uint8_t, 16> address = a.client.address.octets();
  for (const KeyPolicy policy : {pool.key, pool.fallback}) {
    if (policy == KeyPolicy::client_id) {
      if (!connect.client_id.empty()) return {policy, hash(connect.client_id)};
    } else if (policy == KeyPolicy::user_name) {
      if (!connect.user_name.empty()) return {policy, hash(connect.user_name)};
    } else if (policy == KeyPolicy::source_address) {
      return {policy, hash(address)};
    } else {
      uint8_t bytes[16 + 2 + 4];
      base::ByteWriter w(bytes);
      w.bytes(address);
      w.be16(a.client.port);
      w.be32(a.first_byte.raw());
      return {policy, hash(bytes)};
    }
  }
  return {KeyPolicy::source_address, hash(address)};
}

// The CONNECT is complete: asks a proxy for a broker.
void Worker::open(Accepting& a, const mqtt::Connect& connect) {
  const config::Snapshot& snapshot = *context_.snapshot;
  flow::WorkerFlowRest& rest = flows_.rest(a.flow);
  const config::PoolId pool = snapshot.listeners[rest.listener].pool_for(connect);
  a.version = connect.version;
  rest.idle_timeout = idle_timeout(snapshot.settings, connect.keep_alive);
  rest.client_id_hash = maglev::hash_key(connect.client_id, snapshot.pools[pool].hash_seed);
  if (!connect.client_id.empty() && !admit_client_id(a, pool, connect.client_id)) {
    refuse(a, End::client_id_rate);
    return;
  }
  ask_proxy(a, pool, connect);
}

// In mode tcp nothing is read: a client says nothing of itself but its address.
void Worker::open_unread(Accepting& a) {
  flow::WorkerFlowRest& rest = flows_.rest(a.flow);
  const config::ListenerEntry& listener = context_.snapshot->listeners[rest.listener];
  rest.idle_timeout =
      idle_units(std::chrono::duration_cast<std::chrono::seconds>(listener.idle_timeout).count());
  rest.client_id_hash = 0;
  a.reads_connect = false;
  ask_proxy(a, listener.pool, mqtt::Connect{});
}

void Worker::ask_proxy(Accepting& a, config::PoolId pool_id, const mqtt::Connect& connect) {
  const config::PoolEntry& pool = context_.snapshot->pools[pool_id];
  flow::WorkerFlow& f = flows_[a.flow];
  const uint16_t generation = flows_.rest(a.flow).generation;
  const std::vector<CoreIndex>& proxies = context_.shared.proxies;
  if (pool.table.empty() || proxies.empty()) {
    refuse(a, End::no_backend);
    return;
  }
  const bool own = std::find(proxies.begin(), proxies.end(), context_.index) != proxies.end();
  f.proxy = own ? context_.index : proxies[next_proxy_++ % proxies.size()];

  OpenRequest request;
  request.from = {a.flow, context_.index, generation};
  request.client = a.client;
  request.client_mac = a.told_mac = a.client_mac;
  request.client_side = a.port;
  request.listener = context_.addresses.vip_endpoint(f.key.vip);
  request.pool = pool_id;
  const Key key = choose_key(a, pool, connect);
  request.policy = key.policy;
  request.hash = key.hash;
  request.first_byte = a.first_byte;
  request.client_iss = a.iss;
  request.negotiated = a.negotiated;
  request.client_window = a.window;
  request.client_tsval = a.tsval;
  request.our_tsval = cookies_.timestamp(context_.now);
  request.clock_offset = request.our_tsval - base::to_milliseconds(context_.now);
  request.acked = a.acked;
  request.reads_connect = a.reads_connect;
  request.version = a.version;
  if (a.held) held_bytes_ -= a.held->memory();
  request.first = a.whole;
  request.held = a.held.release();
  f.state = flow::WorkerState::opening;
  f.next_seq = a.first_byte;
  f.last_ack = a.iss + 1;
  a.ack_due = base::Instant{};
  a.deadline = context_.now + pool.connect_timeout * pool.connect_tries + kTriesMargin;
  arm(a);
  if (context_.sink.send({f.proxy, request})) return;
  delete request.held;
  refuse(a, End::proxy_full);
}

// New bytes wait here for the splice; bytes that the proxy has are dropped.
void Worker::while_opening(wire::Packet& packet, const Frame& frame, Accepting& a) {
  const wire::TcpView tcp = packet.tcp();
  const int32_t offset = tcp.seq() - a.first_byte;
  if (tcp.has(wire::kRst)) {
    // The proxy is told when it answers.
    if (try_reset(a, packet, frame)) flows_[a.flow].flags |= flow::kReset;
    return;
  }
  if (tcp.has(wire::kSyn) || tcp.ack() != a.iss + 1 || offset < -kOldestOffset ||
      offset > static_cast<int32_t>(kMaxOffset)) {
    context_.output.drop(frame, Drop::outside_window);
    return;
  }
  note_segment(a, packet);
  const int32_t behind = packet.segment_end() - (a.first_byte + a.handed);
  if (behind <= 0 || packet.segment_length() == 0) {
    context_.output.drop(frame, Drop::handshake_consumed);
  } else if (!try_hold(a, frame)) {
    context_.output.drop(frame, Drop::held_full);
  }
}

bool Worker::try_hold(Accepting& a, const Frame& frame) {
  if (a.frame_count == Accepting::kMaxFrames || held_frames_ == kMaxHeldFrames) return false;
  a.frames[a.frame_count++] = frame;
  ++held_frames_;
  return true;
}

void Worker::receive(const OpenFailed& message) {
  flow::WorkerFlow* f = find(message.to);
  if (f == nullptr || f->state != flow::WorkerState::opening) return;
  if ((f->flags & flow::kReset) != 0) {
    end(message.to.flow, End::client_left, Reset::none);
    return;
  }
  refuse(accepting(*f), message.reason);
}

void Worker::receive(const Opened& message) {
  flow::WorkerFlow* f = find(message.to);
  if (f == nullptr || f->state != flow::WorkerState::opening) {
    // The flow ended meanwhile. (A full queue leaves this to the broker's own timeout.)
    const Release release{message.proxy_flow, true, false, false, false, {}, {}};
    if (!context_.sink.send({message.proxy, release})) {
      context_.counters[Event::messages_lost].add();
    }
    return;
  }
  Accepting& a = accepting(*f);
  f->proxy = message.proxy;
  f->proxy_flow = message.proxy_flow;
  f->backend = message.backend;
  f->snat = message.snat;
  f->snat_port = message.snat_port;
  f->seq_delta = message.translation.seq;
  f->ack_delta = message.translation.ack;
  f->timestamp_delta = message.translation.timestamp;
  f->checksum = message.translation.checksum;
  f->window_shift = message.translation.window_shift;
  f->client_mac_hash = mac_hash(a.told_mac.bits());
  f->last_seen = context_.now_seconds;
  if ((f->flags & flow::kReset) != 0) {
    end(message.to.flow, End::client_left, Reset::broker);
    return;
  }
  f->next_seq = a.first_byte + a.handed;
  f->count_to_broker(a.handed);
  if (message.translation.strip_sack) f->flags |= flow::kStripSack;
  f->state = flow::WorkerState::spliced;
  if (!a.again) {
    context_.counters[Event::spliced].add();
    context_.objects->listeners[flows_.rest(message.to.flow).listener].spliced.add();
  }
  context_.objects->backends[f->backend].bytes_to_backend.add(a.handed);

  const std::array<Frame, Accepting::kMaxFrames> frames = a.frames;
  const size_t count = std::exchange(a.frame_count, 0);
  held_frames_ -= count;
  const bool timestamps = a.negotiated.timestamps;
  give_back(a);
  flows_.rest(message.to.flow).tsecr_floor = message.tsecr_floor;
  flows_.rest(message.to.flow).fresh_since = 0;
  if (timestamps) f->flags |= flow::kOldTsecr;
  for (size_t i = 0; i < count; ++i) {
    const wire::ParseRules rules{context_.shared.port_macs[frames[i].port], 0xffff};
    auto packet = wire::parse_packet(frames[i].bytes(), rules, wire::HardwareChecksum::good);
    splice(*packet, frames[i], message.to.flow);
  }
}

// No broker: CONNACK in the client's version, with our FIN; RST to a client that said nothing.
void Worker::refuse(Accepting& a, End reason) {
  if (!a.reads_connect) {
    context_.objects->listeners[flows_.rest(a.flow).listener].refused.add();
    reset_client(a, reason);
    return;
  }
  flow::WorkerFlow& f = flows_[a.flow];
  f.state = flow::WorkerState::refusing;
  a.reason = reason;
  a.ack = a.first_byte + std::max(a.acked, a.handed);
  for (size_t i = 0; i < a.frame_count; ++i) {
    const wire::ParseRules rules{context_.shared.port_macs[a.frames[i].port], 0xffff};
    const auto packet =
        wire::parse_packet(a.frames[i].bytes(), rules, wire::HardwareChecksum::good);
    const int32_t missing = packet->tcp().seq() - a.ack;
    if (missing > 0 || packet->segment_end().before(a.ack)) continue;
    a.ack = packet->segment_end();
    a.client_fin = a.client_fin || packet->tcp().has(wire::kFin);
  }
  drop_frames(a);
  forget_held(a);
  context_.counters[Event::connack_unavailable].add();
  context_.objects->listeners[flows_.rest(a.flow).listener].refused.add();
  send_connack(a);
}

void Worker::send_connack(Accepting& a) {
  uint8_t connack[mqtt::kMaxConnack];
  a.connack_length =
      static_cast<uint8_t>(mqtt::encode_connack_unavailable(a.version, connack, why(a.reason)));
  ++a.sent;
  a.deadline = context_.now + kConnackInterval * a.sent;
  a.ack_due = base::Instant{};
  arm(a);
  send_to_client(a, wire::kAck | wire::kPsh | wire::kFin, a.iss + 1, a.ack,
                 base::Bytes(connack, a.connack_length));
}

void Worker::while_refusing(wire::Packet& packet, const Frame& frame, Accepting& a) {
  const wire::TcpView tcp = packet.tcp();
  context_.output.drop(frame, Drop::refused_flow);
  if (tcp.has(wire::kSyn)) return;
  const bool in_order = !tcp.seq().after(a.ack);
  if (tcp.has(wire::kRst)) {
    if (in_order) end(a.flow, a.reason, Reset::none);
    return;
  }
  note_segment(a, packet);
  if (in_order && packet.segment_end().after(a.ack)) {
    a.ack = packet.segment_end();
    a.client_fin = a.client_fin || tcp.has(wire::kFin);
  }
  const base::Seq32 our_end = a.iss + 1U + a.connack_length + 1U;
  if (packet.segment_length() > 0) send_to_client(a, wire::kAck, our_end, a.ack, {});
  if (a.over || tcp.ack() != our_end) return;
  if (a.client_fin) {
    a.over = true;
    a.deadline = context_.now + kRefusedTimeWait;
    arm(a);
  } else if (!a.heard) {
    a.heard = true;
    a.deadline = context_.now + kRefusedPatience;
    arm(a);
  }
}

void Worker::send_to_client(const Accepting& a, uint8_t flags, base::Seq32 seq, base::Seq32 ack,
                            base::Bytes payload) {
  wire::Segment segment;
  segment.link = {context_.shared.port_macs[a.port], a.client_mac};
  segment.source = context_.addresses.vip_endpoint(flows_[a.flow].key.vip);
  segment.destination = a.client;
  segment.seq = seq;
  segment.ack = ack;
  segment.flags = flags;
  segment.window = a.negotiated.has_window_scale ? kSynAckWindow >> kWindowScale : kSynAckWindow;
  segment.payload = payload;
  if (a.negotiated.timestamps && (flags & wire::kRst) == 0) {
    uint32_t now = cookies_.timestamp(context_.now);
    if (a.again && static_cast<int32_t>(a.tsval_floor - now) > 0) now = a.tsval_floor;
    segment.options.timestamps = wire::Timestamps{now, a.tsval};
  }
  send_segment(context_, a.port, segment);
}

// Ends a flow that never reached a broker with a RST that the client must accept: its sequence
// number is exactly what the client expects next (RFC 5961 section 3.2).
void Worker::reset_client(Accepting& a, End reason) {
  const bool said_connack = flows_[a.flow].state == flow::WorkerState::refusing;
  const base::Seq32 seq = a.iss + 1U + (said_connack ? a.connack_length + 1U : 0U);
  const base::Seq32 ack = said_connack ? a.ack : a.first_byte + std::max(a.acked, a.handed);
  send_to_client(a, wire::kRst | wire::kAck, seq, ack, {});
  context_.counters[Event::rst_to_client].add();
  end(a.flow, reason, Reset::none);
}

void Worker::drop_frames(Accepting& a) {
  for (size_t i = 0; i < a.frame_count; ++i) {
    context_.output.drop(a.frames[i], Drop::refused_flow);
  }
  held_frames_ -= a.frame_count;
  a.frame_count = 0;
}

void Worker::give_back(Accepting& a) {
  timers_.stop(a);
  drop_frames(a);
  forget_held(a);
  accepting_.give_back(accepting_.index_of(a));
}

}  // namespace mqlb::engine
