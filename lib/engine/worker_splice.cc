// The spliced state: client packets rewritten and sent to the broker, and the end of flows.
#include <algorithm>

#include "lib/engine/reply.hh"
#include "lib/engine/worker.hh"
#include "lib/engine/worker_limits.hh"

namespace mqlb::engine {

using base::Drop;
using base::End;
using base::Event;
using flow::WorkerFlow;
using flow::WorkerState;

base::Result<std::unique_ptr<Worker>> Worker::create(CoreContext& context, uint32_t max_flows,
                                                     uint32_t max_connecting) {
  auto flows = flow::WorkerTable::create(max_flows, context.shared.random);
  if (!flows) return tl::unexpected(flows.error());
  return std::unique_ptr<Worker>(new Worker(context, std::move(*flows), max_connecting));
}

Worker::Worker(CoreContext& context, flow::WorkerTable flows, uint32_t max_connecting)
    : context_(context),
      flows_(std::move(flows)),
      cookies_(context.shared.secret),
      accepting_(max_connecting) {}

Worker::~Worker() {
  for (FlowIndex i = 0; i < flows_.index_limit(); ++i) {
    const WorkerState state = flows_[i].state;
    if (state == WorkerState::await_connect || state == WorkerState::opening ||
        state == WorkerState::refusing) {
      give_back(accepting(flows_[i]));
    }
  }
}

// While a packet is acted on, the records of those behind it are on their way.
void Worker::process(std::span<Arrival* const> arrivals) {
  const size_t count = arrivals.size();
  for (size_t i = 0; i < std::min(count, kFetchAhead); ++i) flows_.fetch(arrivals[i]->search);
  for (size_t i = 0; i < count; ++i) {
    if (i + kFetchAhead < count) flows_.fetch(arrivals[i + kFetchAhead]->search);
    Arrival& arrival = *arrivals[i];
    if (arrival.packet.is_v6) [[unlikely]] {
      act_v6(arrival);
      continue;
    }
    const FlowIndex index = flows_.finish(arrival.search);
    if (index == flow::kNoFlow) {
      no_flow(arrival.packet, *arrival.frame, arrival.vip);
    } else if (is_usual(arrival.packet, flows_[index])) {
      pass_on<splice::Families::ipv4>(arrival.packet, *arrival.frame, flows_[index], true);
    } else {
      act(arrival, index);
    }
  }
}

[[gnu::noinline]] void Worker::act_v6(Arrival& arrival) {
  const FlowIndex index = flows_.finish(arrival.search, arrival.packet.ipv6().source());
  if (index == flow::kNoFlow) {
    no_flow(arrival.packet, *arrival.frame, arrival.vip);
  } else {
    act(arrival, index);
  }
}

// True for most segments: one that goes on with a spliced flow, neither of which needs a watch.
inline bool Worker::is_usual(const wire::Packet& packet, const WorkerFlow& f) {
  constexpr uint8_t kWatched = flow::kBrokerFin | flow::kOldTsecr;
  constexpr uint8_t kWatch = wire::kSyn | wire::kFin | wire::kRst;
  return f.state == WorkerState::spliced && (f.flags & kWatched) == 0 &&
         (packet.tcp().flags() & kWatch) == 0 && is_near(packet.tcp().ack(), f.last_ack);
}

void Worker::act(Arrival& arrival, FlowIndex index) {
  wire::Packet& packet = arrival.packet;
  const Frame& frame = *arrival.frame;
  WorkerFlow& f = flows_[index];
  if (begins_anew(packet, frame, index, arrival.vip)) return;
  switch (f.state) {
    case WorkerState::spliced:
      splice(packet, frame, index);
      break;
    case WorkerState::await_connect:
      await_connect(packet, frame, accepting(f));
      break;
    case WorkerState::opening:
      while_opening(packet, frame, accepting(f));
      break;
    case WorkerState::closing:
      while_closing(packet, frame, index);
      break;
    case WorkerState::refusing:
      while_refusing(packet, frame, accepting(f));
      break;
    case WorkerState::free:
      context_.output.drop(frame, Drop::unknown_flow_quiet);
      break;
  }
}

void Worker::splice(wire::Packet& packet, const Frame& frame, FlowIndex index) {
  WorkerFlow& f = flows_[index];
  const bool believed = is_believed(packet, f);
  const bool ends = (packet.tcp().flags() & (wire::kSyn | wire::kFin | wire::kRst)) != 0;
  if (ends || (f.flags & flow::kBrokerFin) != 0) watch_ends(packet, index, believed);
  if ((f.flags & flow::kOldTsecr) != 0) raise_old_tsecr(packet, index);
  pass_on<splice::Families::any>(packet, frame, f, believed);
}

// Who only knows the addresses has to guess both numbers (RFC 5961 section 5). An acknowledgement
// may be far from the last one only in the very segment that is expected next.
bool Worker::is_believed(const wire::Packet& packet, const WorkerFlow& f) {
  const wire::TcpView tcp = packet.tcp();
  if (!tcp.has(wire::kAck)) return false;
  return is_near(tcp.ack(), f.last_ack) ||
         (tcp.seq() == f.next_seq && std::abs(tcp.ack() - f.last_ack) < kPlausible);
}

// families: of the packet. believed: what it says of its numbers.
template <splice::Families families>
[[gnu::always_inline]] inline void Worker::pass_on(wire::Packet& packet, const Frame& frame,
                                                   WorkerFlow& f, bool believed) {
  f.last_seen = context_.now_seconds;
  if (believed) count_progress(packet, f);
  if (mac_hash(packet.ethernet().source_bits()) != f.client_mac_hash) follow_mac(packet, f);
  const BackendSide& backend = context_.backends[f.backend];
  if (families == splice::Families::any || backend.is_v6) {
    send_on_any(packet, frame, f, backend);
  } else {
    send_on<splice::Families::ipv4>(packet, frame, f, backend);
  }
}

[[gnu::noinline]] void Worker::send_on_any(wire::Packet& packet, const Frame& frame,
                                           const WorkerFlow& f, const BackendSide& backend) {
  send_on<splice::Families::any>(packet, frame, f, backend);
}

// families: of the packet and the backend.
template <splice::Families families>
[[gnu::always_inline]] inline void Worker::send_on(wire::Packet& packet, const Frame& frame,
                                                   const WorkerFlow& f,
                                                   const BackendSide& backend) {
  const PortSide& port = context_.ports[backend.port];
  wire::MacAddress next_hop;
  if (!context_.shared.neighbours.lookup(backend.next_hop, next_hop)) {
    context_.output.drop(frame, Drop::neighbour_unresolved);
    return;
  }
  const splice::Translation translation{f.seq_delta,       f.ack_delta,
                                        f.timestamp_delta, f.checksum,
                                        f.window_shift,    (f.flags & flow::kStripSack) != 0};
  const wire::Endpoint source{context_.snapshot->snats[f.snat].address, f.snat_port};
  if (!splice::rewrite_segment<families>(
          packet, translation, splice::Direction::to_broker,
          {source, backend.endpoint, port.mac, next_hop, backend.is_v6})) {
    context_.output.drop(frame, Drop::bad_tcp_header);
    return;
  }
  if (packet.frame_length > port.longest) {  // as it goes out: families differ by 20 bytes
    context_.output.drop(frame, Drop::over_mtu);
    return;
  }
  context_.counters[Event::packets_to_broker].add();
  context_.output.transmit(backend.port, frame, packet);
}

// How far the client has sent and acknowledged; repetitions count once. Segments of somebody who
// guesses must not move it: neither those that carry nothing, nor any that lie further ahead than a
// client would send into the dark.
[[gnu::always_inline]] inline void Worker::count_progress(const wire::Packet& packet,
                                                          WorkerFlow& f) {
  const wire::TcpView tcp = packet.tcp();
  if (tcp.has(wire::kSyn) || tcp.has(wire::kRst)) return;
  const base::Seq32 end = packet.segment_end();
  const int32_t sent = end - f.next_seq;
  if (sent > 0 && sent < kFarAhead && packet.segment_length() > 0) {
    const uint32_t bytes = std::min<uint32_t>(static_cast<uint32_t>(sent), packet.payload_length);
    f.next_seq = end;
    f.count_to_broker(bytes);
    context_.objects->backends[f.backend].bytes_to_backend.add(bytes);
  }
  const int32_t acked = tcp.ack() - f.last_ack;
  if (acked > 0 && acked < kPlausible && tcp.has(wire::kAck)) {
    f.last_ack = tcp.ack();
    f.count_to_client(static_cast<uint32_t>(acked));
  }
}

// The client echoes our own timestamps until data of the broker reaches it in order; the broker
// never sent those. A while after the first segment that echoes the broker's, those that it
// overtook are past.
void Worker::raise_old_tsecr(const wire::Packet& packet, FlowIndex index) {
  constexpr uint16_t kLongPast = 5;  // seconds: older segments than this do not come any more
  flow::WorkerFlowRest& rest = flows_.rest(index);
  if (splice::raise_tsecr(packet, rest.tsecr_floor)) {
    rest.fresh_since = 0;
  } else if (rest.fresh_since == 0) {
    rest.fresh_since = static_cast<uint16_t>(context_.now_seconds);
  } else if (static_cast<uint16_t>(context_.now_seconds - rest.fresh_since) > kLongPast) {
    flows_[index].flags &= static_cast<uint8_t>(~flow::kOldTsecr);
  }
}

// FIN and RST from the client, and its acknowledgement of the broker's FIN.
void Worker::watch_ends(const wire::Packet& packet, FlowIndex index, bool believed) {
  WorkerFlow& f = flows_[index];
  const wire::TcpView tcp = packet.tcp();
  if (believed && (f.flags & flow::kBrokerFin) != 0 &&
      !tcp.ack().before(base::Seq32(f.broker_fin_end))) {
    f.flags |= flow::kBrokerFinAcked;
  }
  const int32_t ahead = packet.segment_end() - f.next_seq;
  if (believed && tcp.has(wire::kFin) && (f.flags & flow::kClientFin) == 0 && ahead >= 0 &&
      ahead < kFarAhead) {
    f.flags |= flow::kClientFin;
    const ClientFin message{f.proxy_flow, packet.segment_end() + f.seq_delta};
    if (!context_.sink.send({f.proxy, message})) {
      f.flags &= static_cast<uint8_t>(~flow::kClientFin);  // its repetition tries again
      context_.counters[Event::messages_lost].add();
    }
  }
  // Only a RST that the broker must accept ends the flow (RFC 5961 section 3.2); any other is the
  // broker's to judge, and a blind one leaves the flow alive.
  if (tcp.has(wire::kRst) && tcp.seq() == f.next_seq) {
    f.flags |= flow::kReset;
    close(index);
  }
  close_if_done(index);
}

// The record stays for stragglers, but is no connection to any limit.
void Worker::close(FlowIndex index) {
  WorkerFlow& f = flows_[index];
  if (f.state == WorkerState::opening) give_back(accepting(f));
  f.state = WorkerState::closing;
  leave(index);
  if (std::exchange(flows_.rest(index).left_backend, true)) return;
  context_.shared.loads.subtract(f.backend);
}

void Worker::close_if_done(FlowIndex index) {
  constexpr uint8_t kBoth = flow::kClientFinAcked | flow::kBrokerFinAcked;
  if ((flows_[index].flags & kBoth) == kBoth) close(index);
}

// A client that answers from another link address (a router's failover) is followed.
void Worker::follow_mac(const wire::Packet& packet, WorkerFlow& f) {
  const wire::MacAddress mac = packet.ethernet().source();
  // Not on the word of a segment that only knows the addresses.
  const int32_t ahead = packet.tcp().seq() - f.next_seq;
  const int32_t acked = packet.tcp().ack() - f.last_ack;
  if (std::abs(ahead) >= kPlausible || std::abs(acked) >= kPlausible) return;
  if (!context_.sink.send({f.proxy, ClientMoved{f.proxy_flow, mac}})) {
    context_.counters[Event::messages_lost].add();
    return;
  }
  f.client_mac_hash = mac_hash(mac.bits());
  context_.counters[Event::client_moved].add();
}

// Stragglers still pass. Anything but a RST after a RST shows that the RST was not taken.
void Worker::while_closing(wire::Packet& packet, const Frame& frame, FlowIndex index) {
  const wire::TcpView tcp = packet.tcp();
  WorkerFlow& f = flows_[index];
  constexpr uint8_t kResets = flow::kReset | flow::kBrokerReset;
  if ((f.flags & kResets) != 0 && !tcp.has(wire::kRst)) {
    f.flags &= static_cast<uint8_t>(~kResets);
    f.state = WorkerState::spliced;
    return_to_count(index);
  }
  splice(packet, frame, index);
}

void Worker::receive(const BrokerFin& message) {
  WorkerFlow* f = find(message.to);
  if (f == nullptr || f->proxy_flow == flow::kNoFlow) return;
  f->flags |= flow::kBrokerFin;
  f->broker_fin_end = message.end.raw();
}

void Worker::receive(const ClientFinAcked& message) {
  WorkerFlow* f = find(message.to);
  if (f == nullptr || f->proxy_flow == flow::kNoFlow) return;
  f->flags |= flow::kClientFinAcked;
  close_if_done(message.to.flow);
}

void Worker::receive(const BrokerReset& message) {
  WorkerFlow* f = find(message.to);
  if (f == nullptr || f->proxy_flow == flow::kNoFlow) return;
  // The client takes it only if it continues what the client has (RFC 5961 section 3.2).
  const int32_t ahead = message.seq - f->last_ack;
  if (!message.silent && (ahead < 0 || ahead >= kPlausible)) return;
  f->flags |= flow::kBrokerReset;
  close(message.to.flow);
  if (message.silent) end(message.to.flow, End::broker_silent, Reset::none);
}

WorkerFlow* Worker::find(const WorkerRef& ref) {
  WorkerFlow& f = flows_[ref.flow];
  return f.state != WorkerState::free && flows_.rest(ref.flow).generation == ref.generation
             ? &f
             : nullptr;
}

void Worker::advance() {
  timers_.advance(context_.now,
                  [this](base::TimerNode& node) { on_timer(static_cast<Accepting&>(node)); });
  sweep();
}

// Walks the whole table once in kSweepPeriod, a few records at a time.
void Worker::sweep() {
  constexpr int64_t kSweepPeriod = 2'000'000;  // microseconds
  constexpr uint64_t kMostAtOnce = 512;
  const int64_t elapsed = std::min<int64_t>((context_.now - last_sweep_).count(), kSweepPeriod);
  last_sweep_ = context_.now;
  sweep_debt_ += static_cast<uint64_t>(elapsed) * flows_.index_limit();
  const uint64_t due = std::min<uint64_t>(sweep_debt_ / kSweepPeriod, kMostAtOnce);
  if (due == 0) return;
  sweep_debt_ = std::min<uint64_t>(sweep_debt_ - due * kSweepPeriod, kSweepPeriod * kMostAtOnce);
  if (flows_.size() == 0) return;
  for (uint64_t i = 0; i < due; ++i) {
    check_idle(sweep_at_);
    sweep_at_ = sweep_at_ + 1 < flows_.index_limit() ? sweep_at_ + 1 : 0;
  }
}

void Worker::check_idle(FlowIndex index) {
  const WorkerFlow& f = flows_[index];
  const config::Settings& settings = context_.snapshot->settings;
  const uint32_t silent = context_.now_seconds - f.last_seen;
  if (f.state == WorkerState::closing) {
    if (silent < settings.closing_timeout.count()) return;
    const End reason = (f.flags & flow::kReset) != 0         ? End::client_reset
                       : (f.flags & flow::kBrokerReset) != 0 ? End::broker_reset
                                                             : End::closed;
    end(index, reason, Reset::none);
  } else if (f.state == WorkerState::spliced) {
    const bool half_closed = (f.flags & (flow::kClientFin | flow::kBrokerFin)) != 0;
    if (half_closed && silent >= settings.half_close_timeout.count()) {
      end(index, End::half_close_timeout, Reset::both);
    } else if (silent >= uint32_t{flows_.rest(index).idle_timeout} * flow::kIdleUnit) {
      end(index, End::idle_timeout, Reset::both);
    }
  }
}

uint32_t Worker::close_flows(config::BackendId backend, uint32_t most, FlowIndex& next,
                             uint32_t slice) {
  uint32_t closed = 0;
  const FlowIndex end_at = std::min(next + slice, flows_.index_limit());
  for (; next < end_at && closed < most; ++next) {
    const WorkerFlow& f = flows_[next];
    if (f.state != WorkerState::spliced || f.backend != backend) continue;
    if (end(next, End::backend_closed, Reset::both)) ++closed;
  }
  return closed;
}

// Gives everything of a flow back. False if the proxy could not be told: the flow then stays, and
// the sweep, or its timer, comes by again.
bool Worker::end(FlowIndex index, End reason, Reset reset) {
  constexpr base::Duration kAgain = std::chrono::seconds(1);
  WorkerFlow& f = flows_[index];
  // One that was given its proxy_flow by Opened but not spliced still has it.
  const bool has_accepting = f.state == WorkerState::await_connect ||
                             f.state == WorkerState::opening || f.state == WorkerState::refusing;
  if (f.proxy_flow != flow::kNoFlow) {
    const bool left = flows_.rest(index).left_backend;
    const Release message{f.proxy_flow,
                          reset != Reset::none,
                          reset == Reset::both,
                          left,
                          true,
                          f.next_seq + f.seq_delta,
                          f.last_ack};
    if (!context_.sink.send({f.proxy, message})) {
      context_.counters[Event::messages_lost].add();
      if (has_accepting) timers_.arm(accepting(f), context_.now + kAgain);
      return false;
    }
  }
  if (has_accepting) give_back(accepting(f));
  context_.counters[reason].add();
  context_.objects->listeners[flows_.rest(index).listener].flows.subtract();
  leave(index);
  flows_.remove(index);
  return true;
}

void Worker::restrict_offer(Offer& offer, const config::PoolEntry& pool) const {
  for (const config::BackendId backend : pool.backends) {
    const LearntOptions learnt = context_.shared.learnt.lookup(backend);
    if (!learnt.known) continue;
    offer.mss = std::min(offer.mss, learnt.mss);
    offer.sack = offer.sack && learnt.sack;
    offer.timestamps = offer.timestamps && learnt.timestamps;
  }
}

// Of all the paths that a client's segment may take: a segment as long as the client was told must
// fit all of them.
size_t Worker::longest_ip_header(const config::ListenerEntry& listener) const {
  const config::Snapshot& snapshot = *context_.snapshot;
  size_t longest = wire::ip_header_length(listener.endpoint.address);
  for (const config::PoolId pool : listener.pools()) {
    for (const config::BackendId backend : snapshot.pools[pool].backends) {
      const wire::IpAddress& address = snapshot.backends[backend].endpoint.address;
      longest = std::max(longest, wire::ip_header_length(address));
    }
  }
  return longest;
}

void Worker::adopt_snapshot() {
  const config::Snapshot& snapshot = *context_.snapshot;
  refused_sources_.forget_listeners([&](config::ListenerId id) {
    return id >= snapshot.listeners.size() || snapshot.listeners[id].retired;
  });
  refresh_offers();
}

void Worker::refresh_offers() {
  const config::Snapshot& snapshot = *context_.snapshot;
  for (size_t id = 0; id < snapshot.listeners.size(); ++id) {
    const config::ListenerEntry& listener = snapshot.listeners[id];
    uint16_t mtu = listener.backend_mtu;
    for (const config::PortEntry& port : snapshot.ports) {
      if (port.role != config::PortRole::backend) mtu = std::min(mtu, port.mtu);
    }
    Offer offer{static_cast<uint16_t>(mtu - longest_ip_header(listener) - wire::kTcpHeader), true,
                true};
    offer.asks = listener.admission.asks;
    for (const config::PoolId pool : listener.pools()) restrict_offer(offer, snapshot.pools[pool]);
    offers_[id] = offer;
  }
}

}  // namespace mqlb::engine
