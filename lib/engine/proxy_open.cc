// From a worker's request to a broker's SYN-ACK: brokers are tried in turn.
#include <algorithm>

#include "lib/engine/proxy.hh"
#include "lib/engine/reply.hh"
#include "lib/engine/worker_limits.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::engine {

using base::Drop;
using base::End;
using base::Event;
using base::Seq32;
using flow::ProxyFlow;
using flow::ProxyState;

namespace {

using namespace std::chrono_literals;

constexpr base::Duration kFirstSynRepeat = 200ms;
constexpr base::Duration kUnresolvedRetry = 10ms;
constexpr base::Duration kLeastRetransmit = 200ms;  // as Linux; RFC 6298 asks for a second
constexpr uint8_t kStaleTries = 4;
constexpr uint16_t kLeastMss = 88;
constexpr uint32_t kInitialSegments = 10;  // RFC 6928

}  // namespace

void Proxy::receive(const OpenRequest& request) {
  std::unique_ptr<tcp::Reassembly> held(request.held);
  // The shell sees to it that this core's snapshot is no older than the worker's.
  const uint16_t vip = context_.addresses.vip(request.listener);
  const bool known = request.pool < context_.snapshot->pools.size() && vip != EndpointMap::kNone;
  const FlowIndex index = known ? flows_.take() : flow::kNoFlow;
  const uint32_t slot = index == flow::kNoFlow ? base::Slab<Opening>::kNone : take_opening();
  if (slot == base::Slab<Opening>::kNone) {
    if (index != flow::kNoFlow) flows_.give_back(index);
    if (!context_.sink.send({request.from.core, OpenFailed{request.from, End::proxy_full}})) {
      context_.counters[Event::messages_lost].add();
    }
    return;
  }
  Opening& o = opening_[slot];
  o.flow = index;
  o.request = request;
  o.request.held = nullptr;
  o.held = std::move(held);
  keep_first_bytes(o);
  ProxyFlow& f = flows_[index];
  f.client = request.client.address;
  f.client_port = request.client.port;
  if (!request.client.address.is_v4()) f.flags |= flow::kClientV6;
  f.client_mac = request.client_mac;
  f.client_side = request.client_side;
  f.vip = vip;
  f.worker = request.from.core;
  f.worker_flow = request.from.flow;
  f.worker_generation = request.from.generation;
  f.opening = slot;
  encode_header(o);
  choose_candidates(o);
  try_next(o);
}

void Proxy::choose_candidates(Opening& o) {
  const config::PoolEntry& pool = context_.snapshot->pools[o.request.pool];
  const Selector selector(*context_.snapshot, context_.shared.status, context_.shared.loads);
  if (turns_.size() <= o.request.pool) turns_.resize(o.request.pool + size_t{1});
  const auto out =
      std::span(o.candidates).first(std::min<size_t>(pool.connect_tries, Selector::kMost));
  o.candidate_count = static_cast<uint8_t>(
      selector.select(pool, o.request.policy, o.request.hash, turns_[o.request.pool], out));
  if (o.candidate_count == 0) {
    o.failure = selector.is_full(pool) ? End::backends_full : End::no_backend;
  }
}

// A broker that was passed over without being asked is no try: once, others take the places of
// those. False if there are none.
bool Proxy::add_candidates(Opening& o) {
  if (std::exchange(o.added, true) || o.next_candidate == o.tries) return false;
  const config::PoolEntry& pool = context_.snapshot->pools[o.request.pool];
  const Selector selector(*context_.snapshot, context_.shared.status, context_.shared.loads);
  std::array<config::BackendId, Selector::kMost> all;
  const size_t count =
      selector.select(pool, o.request.policy, o.request.hash, turns_[o.request.pool], all);
  const uint8_t before = o.candidate_count;
  for (size_t i = 0; i < count && o.candidate_count < o.candidates.size(); ++i) {
    const auto known = std::span(o.candidates).first(before);
    if (std::ranges::find(known, all[i]) == known.end()) o.candidates[o.candidate_count++] = all[i];
  }
  return o.candidate_count > before;
}

// A place among the backend's flows and a port toward it, or why there is none.
std::optional<End> Proxy::try_join(Opening& o, config::BackendId backend) {
  const uint32_t most = context_.snapshot->backends[backend].max_connections;
  if (!context_.shared.loads.try_add(backend, most)) return End::backends_full;
  if (!take_port(o, backend)) {
    context_.shared.loads.subtract(backend);
    return End::snat_exhausted;
  }
  context_.objects->backends[backend].selected.add();
  context_.objects->backends[backend].flows.add();
  return {};
}

void Proxy::leave(config::BackendId backend) {
  context_.shared.loads.subtract(backend);
  context_.objects->backends[backend].flows.subtract();
}

void Proxy::encode_header(Opening& o) {
  const config::PoolEntry& pool = context_.snapshot->pools[o.request.pool];
  const wire::Endpoint& listener = o.request.listener;
  const base::MutableBytes out(o.header);
  switch (pool.proxy_protocol) {
    case config::ProxyProtocol::none:
      o.header_length = 0;
      break;
    case config::ProxyProtocol::v1:
      o.header_length =
          static_cast<uint16_t>(proxy_protocol::encode_v1(o.request.client, listener, out));
      break;
    case config::ProxyProtocol::v2: {
      // Unique over cores and restarts: boot, core and count.
      uint8_t id[16];
      base::store_be32(id, static_cast<uint32_t>(context_.shared.boot_id >> 32));
      base::store_be32(id + 4, static_cast<uint32_t>(context_.shared.boot_id));
      const uint64_t count = uint64_t{context_.index} << 56 | ++opened_;
      base::store_be32(id + 8, static_cast<uint32_t>(count >> 32));
      base::store_be32(id + 12, static_cast<uint32_t>(count));
      const proxy_protocol::V2Options options{
          pool.proxy_crc32c, pool.proxy_unique_id ? base::Bytes(id) : base::Bytes{}};
      o.header_length = static_cast<uint16_t>(
          proxy_protocol::encode_v2(o.request.client, listener, options, out));
      break;
    }
  }
}

// Begins with the next broker that has a free SNAT port; gives up when there is none.
void Proxy::try_next(Opening& o) {
  const Selector selector(*context_.snapshot, context_.shared.status, context_.shared.loads);
  const uint32_t tries = context_.snapshot->pools[o.request.pool].connect_tries;
  while (o.tries < tries && (o.next_candidate < o.candidate_count || add_candidates(o))) {
    const config::BackendId backend = o.candidates[o.next_candidate++];
    const config::BackendEntry& entry = context_.snapshot->backends[backend];
    // Removed, or down, since we were asked? Or to drain, while there is another one?
    if (entry.retired || entry.pool != o.request.pool || !selector.may_try(backend)) continue;
    const auto later = std::span(o.candidates).first(o.candidate_count).subspan(o.next_candidate);
    const auto drains = [&](config::BackendId id) { return selector.drains(id); };
    if (drains(backend) && !std::ranges::all_of(later, drains)) continue;
    if (const auto failure = try_join(o, backend)) {
      o.failure = *failure;
      continue;
    }
    ++o.tries;
    o.repeats = 0;
    o.stale = 0;
    o.try_ends = context_.now + context_.snapshot->pools[o.request.pool].connect_timeout;
    send_syn(o);
    return;
  }
  fail(o);
}

// A port whose packets come to this core, of any of the pool's addresses; or else any port.
bool Proxy::take_port(Opening& o, config::BackendId backend) {
  const size_t first = next_snat_++;
  return take_port(o, backend, first, flow::SnatPorts::Choice::preferred) ||
         take_port(o, backend, first, flow::SnatPorts::Choice::any);
}

bool Proxy::take_port(Opening& o, config::BackendId backend, size_t first,
                      flow::SnatPorts::Choice choice) {
  const config::Snapshot& snapshot = *context_.snapshot;
  ProxyFlow& f = flows_[o.flow];
  const std::vector<config::SnatId>& snats = snapshot.pools[o.request.pool].snats;
  const uint16_t broker = context_.addresses.broker_of(backend);
  const auto quarantine = static_cast<uint32_t>(snapshot.settings.snat_quarantine.count());
  const bool v4 = snapshot.backends[backend].endpoint.address.is_v4();
  for (size_t i = 0; i < snats.size(); ++i) {
    const config::SnatId snat = snats[(first + i) % snats.size()];
    if (snapshot.snats[snat].address.is_v4() != v4) continue;
    flow::SnatPorts* table = ports(broker, snat);
    if (table == nullptr) continue;
    const auto port = table->take(o.flow, context_.now_seconds, quarantine, choice);
    if (!port) continue;
    f.backend = backend;
    f.broker = broker;
    f.flags &= static_cast<uint8_t>(~flow::kBrokerV6);
    if (!v4) f.flags |= flow::kBrokerV6;
    f.snat = snat;
    f.snat_port = *port;
    f.state = ProxyState::syn_sent;
    context_.objects->snats[snat].add();
    choose_iss(o, *table);
    return true;
  }
  return false;
}

// The ISN that leaves the client's sequence numbers as they are, unless the port's last connection
// went beyond it: the broker may hold that one in TIME-WAIT and would take our SYN for an old one
// (RFC 9293 section 3.6.1). Then one that is surely after it.
void Proxy::choose_iss(Opening& o, const flow::SnatPorts& ports) {
  constexpr uint32_t kBeyond = 1U << 17;
  const Seq32 derived = o.request.first_byte - 1U - o.header_length;
  const auto last = ports.last_seq(flows_[o.flow].snat_port);
  o.iss = !last || derived.after(*last) ? derived : *last + kBeyond;
}

wire::Segment Proxy::segment_to_broker(const Opening& o) const {
  const config::Snapshot& snapshot = *context_.snapshot;
  const ProxyFlow& f = flows_[o.flow];
  const config::BackendEntry& backend = snapshot.backends[f.backend];
  wire::Segment segment;
  segment.source = {snapshot.snats[f.snat].address, f.snat_port};
  segment.destination = backend.endpoint;
  segment.window = o.request.client_window;
  if (!o.scaled) {
    const uint32_t window = uint32_t{segment.window} << o.request.negotiated.window_scale;
    segment.window = static_cast<uint16_t>(std::min(window, 0xffffU));
  }
  segment.ack = o.rcv_nxt;
  if (o.request.negotiated.timestamps) {
    segment.options.timestamps = wire::Timestamps{o.request.client_tsval, o.broker_tsval};
  }
  return segment;
}

void Proxy::send_to_broker(const Opening& o, const wire::Segment& segment) {
  const ProxyFlow& f = flows_[o.flow];
  const config::BackendEntry& backend = context_.snapshot->backends[f.backend];
  wire::Segment addressed = segment;
  addressed.link.source = context_.shared.port_macs[backend.port];
  if (!context_.shared.neighbours.lookup(backend.next_hop, addressed.link.destination)) return;
  send_segment(context_, backend.port, addressed);
}

void Proxy::send_syn(Opening& o) {
  const ProxyFlow& f = flows_[o.flow];
  const config::Snapshot& snapshot = *context_.snapshot;
  const config::BackendEntry& backend = snapshot.backends[f.backend];
  wire::MacAddress mac;
  if (!context_.shared.neighbours.lookup(backend.next_hop, mac)) {
    // The connection waits, not a packet: there is nothing that a flood could fill.
    timers_.arm(o, std::min(o.try_ends, context_.now + kUnresolvedRetry));
    return;
  }
  const tcp::Negotiated& n = o.request.negotiated;
  o.scaled = false;  // the window of a SYN never is (RFC 7323 section 2.2)
  wire::Segment syn = segment_to_broker(o);
  syn.flags = wire::kSyn;
  syn.seq = o.iss;
  // What the broker sends goes on to the client.
  const auto room = [&](config::PortId port, const wire::IpAddress& address) {
    const size_t headers = wire::ip_header_length(address) + wire::kTcpHeader;
    return static_cast<uint16_t>(snapshot.ports[port].mtu - headers);
  };
  syn.options.mss = std::min({n.mss, room(backend.port, backend.endpoint.address),
                              room(o.request.client_side, o.request.client.address)});
  if (n.has_window_scale) syn.options.window_scale = n.window_scale;
  syn.options.sack_permitted = n.sack;
  if (n.timestamps) syn.options.timestamps = wire::Timestamps{o.request.client_tsval, 0};
  send_to_broker(o, syn);
  context_.counters[o.repeats == 0 ? Event::broker_syn : Event::broker_syn_again].add();
  o.sent_at = context_.now;
  timers_.arm(o, std::min(o.try_ends, context_.now + kFirstSynRepeat * (1 << o.repeats)));
}

// This broker will not do: the next one is tried at once.
void Proxy::failed_try(Opening& o, Event event) {
  // That it lacks an option is a fact, and no trouble.
  if (event != Event::broker_bad_options) {
    context_.objects->backends[flows_[o.flow].backend].faults.add();
  }
  end_try(o, event, o.iss + 1U);
  try_next(o);
}

void Proxy::end_try(Opening& o, Event event, Seq32 last_seq) {
  ProxyFlow& f = flows_[o.flow];
  context_.counters[event].add();
  context_.objects->backends[f.backend].failures.add();
  leave(f.backend);
  o.failure = event == Event::broker_bad_options ? End::options_mismatch : End::backends_failed;
  give_back_port(f, last_seq);
  timers_.stop(o);
  o.sent_at = base::Instant{};
}

void Proxy::give_back_port(ProxyFlow& f, Seq32 last_seq) {
  ports(f.broker, f.snat)->give_back(f.snat_port, last_seq, context_.now_seconds);
  context_.objects->snats[f.snat].subtract();
}

void Proxy::fail(Opening& o) {
  const ProxyFlow& f = flows_[o.flow];
  if (!context_.sink.send({f.worker, OpenFailed{worker_of(f), o.failure}})) {
    context_.counters[Event::messages_lost].add();  // the worker's own timer finds out
  }
  flows_.give_back(o.flow);
  forget(o);
}

void Proxy::forget(Opening& o) {
  timers_.stop(o);
  leave_waiting(o);
  if (o.held) kept_bytes_ -= o.held->memory();
  opening_.give_back(opening_.index_of(o));
}

void Proxy::in_syn_sent(wire::Packet& packet, const Frame& frame, Opening& o) {
  const wire::TcpView tcp = packet.tcp();
  const bool acceptable = tcp.has(wire::kAck) && tcp.ack() == o.iss + 1U;
  const auto options = wire::parse_tcp_options(tcp.options());
  if (tcp.has(wire::kRst)) {
    context_.output.drop(frame, acceptable ? Drop::handshake_consumed : Drop::outside_window);
    if (acceptable) failed_try(o, Event::broker_refused);
  } else if (!acceptable && tcp.has(wire::kAck) && o.stale < kStaleTries) {
    // The broker still has an old connection there: RFC 9293 section 3.10.7.3 has us reset it, and
    // ask again at once.
    ++o.stale;
    context_.counters[Event::broker_stale].add();
    reset_broker(o, tcp.ack());
    context_.output.drop(frame, Drop::handshake_consumed);
    send_syn(o);
  } else if (!acceptable || !tcp.has(wire::kSyn) || !options) {
    context_.output.drop(frame, Drop::outside_window);
  } else {
    context_.output.drop(frame, Drop::handshake_consumed);
    established(packet, o, *options);
  }
}

// A SYN-ACK: the numbers of both connections are known, so both directions can be translated.
void Proxy::established(wire::Packet& packet, Opening& o, const wire::TcpOptions& options) {
  const wire::TcpView tcp = packet.tcp();
  const tcp::Negotiated& n = o.request.negotiated;
  ProxyFlow& f = flows_[o.flow];
  o.rcv_nxt = tcp.seq() + 1U;
  // No less than any real path has; what remains must be worth sending.
  o.broker_mss = std::max(options.mss.value_or(wire::kDefaultMss), kLeastMss);
  o.scaled = options.window_scale.has_value() && n.has_window_scale;
  o.broker_scale = o.scaled ? *options.window_scale : uint8_t{0};
  o.broker_tsval = options.timestamps ? options.timestamps->value : 0;
  // Only what we offered can be learnt.
  const LearntOptions known = context_.shared.learnt.lookup(f.backend);
  const bool sack = n.sack ? options.sack_permitted : !known.known || known.sack;
  const bool timestamps =
      n.timestamps ? options.timestamps.has_value() : !known.known || known.timestamps;
  context_.shared.learnt.set(f.backend, o.broker_mss, sack, timestamps);
  if (n.timestamps && !options.timestamps) {
    // The client would miss the timestamps it was promised (RFC 7323 section 3.2).
    reset_broker(o, o.iss + 1U);
    failed_try(o, Event::broker_bad_options);
    return;
  }

  splice::Translation to_broker;
  to_broker.seq = static_cast<uint32_t>(o.iss + 1U + o.header_length - o.request.first_byte);
  to_broker.ack = static_cast<uint32_t>(tcp.seq() - o.request.client_iss);
  uint32_t floor = 0;
  if (n.timestamps) {
    // What the client sees must not go back behind what the worker sent (PAWS, RFC 7323 section 5).
    floor = base::to_milliseconds(context_.now) + o.request.clock_offset;
    if (static_cast<int32_t>(o.request.our_tsval - floor) > 0) floor = o.request.our_tsval;
    to_broker.timestamp = o.broker_tsval - floor;
  }
  if (n.has_window_scale && !o.scaled) to_broker.window_shift = static_cast<int8_t>(n.window_scale);
  to_broker.strip_sack = n.sack && !options.sack_permitted;
  const wire::Endpoint& listener = context_.addresses.vip_endpoint(f.vip);
  const wire::Endpoint& broker = context_.addresses.broker_endpoint(f.broker);
  const wire::Endpoint snat{context_.snapshot->snats[f.snat].address, f.snat_port};
  to_broker.checksum = splice::checksum_constant(o.request.client, listener, snat, broker,
                                                 to_broker.seq, to_broker.ack);
  f.seq_delta = -to_broker.ack;
  f.ack_delta = -to_broker.seq;
  f.timestamp_delta = -to_broker.timestamp;
  f.window_shift =
      n.has_window_scale ? static_cast<int8_t>(o.broker_scale - kWindowScale) : int8_t{0};
  f.checksum =
      splice::checksum_constant(broker, snat, listener, o.request.client, f.seq_delta, f.ack_delta);
  f.state = ProxyState::settling;
  context_.objects->backends[f.backend].established.add();

  o.snd_una = o.snd_nxt = o.iss + 1U;
  o.send_window = tcp.window();
  o.congestion_window = kInitialSegments * o.broker_mss;
  o.repeats = 0;
  o.retransmit = std::max(kLeastRetransmit, 2 * (context_.now - o.sent_at));
  // For the rest of its try, and not less than half of one, it may take what is ours.
  const base::Duration whole = context_.snapshot->pools[o.request.pool].connect_timeout;
  o.try_ends = std::max(o.try_ends, context_.now + whole / 2);
  send_owned(o);
  acknowledge_syn(o);
  if (!announce(o, to_broker, floor)) {
    // The worker cannot be told, and will find out by its own timer.
    reset_broker(o, o.snd_nxt);
    leave(f.backend);
    give_back_port(f, o.snd_nxt);
    fail(o);
    return;
  }
  if (owned_length(o) == 0) {
    await_word(o);
  } else {
    arm_retransmit(o);
  }
}

bool Proxy::announce(Opening& o, const splice::Translation& to_broker, uint32_t floor) {
  const ProxyFlow& f = flows_[o.flow];
  Opened opened;
  opened.to = worker_of(f);
  opened.proxy_flow = o.flow;
  opened.proxy = context_.index;
  opened.backend = f.backend;
  opened.snat = f.snat;
  opened.snat_port = f.snat_port;
  opened.translation = to_broker;
  opened.tsecr_floor = floor;
  return context_.sink.send({f.worker, opened});
}

}  // namespace mqlb::engine
