#include "lib/engine/core.hh"

#include <algorithm>

#include "lib/base/bytes.hh"
#include "lib/engine/reply.hh"
#include "lib/maglev/maglev.hh"

namespace mqlb::engine {

using base::Drop;
using base::Event;

base::Result<std::unique_ptr<Core>> Core::create(CoreIndex index, config::CoreRole role,
                                                 Shared& shared, FrameIo& io, MessageSink& others,
                                                 const config::Snapshot& snapshot) {
  std::unique_ptr<Core> core(new Core(index, shared, io, others));
  const config::Settings& settings = snapshot.settings;
  if (role != config::CoreRole::proxy) {
    auto worker = Worker::create(core->context_, settings.max_flows, settings.max_connecting);
    if (!worker) return tl::unexpected(worker.error());
    core->worker_ = std::move(*worker);
  }
  if (role != config::CoreRole::worker) {
    // Any proxy may be asked by every worker.
    const uint64_t flows = uint64_t{settings.max_flows} * shared.workers.size();
    const uint64_t share = flows / shared.proxies.size() + settings.max_connecting;
    const auto most = static_cast<uint32_t>(std::min<uint64_t>(flows, share));
    auto proxy = Proxy::create(core->context_, most, settings.max_connecting);
    if (!proxy) return tl::unexpected(proxy.error());
    core->proxy_ = std::move(*proxy);
  }
  core->adopt(snapshot);
  return core;
}

Core::~Core() = default;

void Core::adopt(const config::Snapshot& snapshot) {
  context_.snapshot = &snapshot;
  context_.addresses.adopt(snapshot);
  for (size_t i = 0; i < snapshot.ports.size(); ++i) {
    const config::PortEntry& port = snapshot.ports[i];
    const wire::MacAddress mac = context_.shared.port_macs[i];
    rules_[i] = {{mac, port.mtu}, port.role == config::PortRole::backend};
    context_.ports[i] = {mac, static_cast<uint16_t>(wire::kEthernetHeader + port.mtu)};
  }
  context_.backends.clear();
  for (const config::BackendEntry& backend : snapshot.backends) {
    const bool is_v6 = !backend.endpoint.address.is_v4();
    context_.backends.push_back({backend.endpoint, backend.next_hop, backend.port, is_v6});
  }
  const auto is_sole = [&](const std::vector<CoreIndex>& cores) {
    return cores.size() == 1 && cores[0] == context_.index;
  };
  sole_worker_ = is_sole(context_.shared.workers);
  sole_proxy_ = is_sole(context_.shared.proxies);
  context_.rst_bucket.set_rate(snapshot.settings.rst_per_second);
  if (worker_) worker_->adopt_snapshot();
  if (proxy_) proxy_->adopt_snapshot();
}

// A burst in steps: parse all, see which role each is for and seek its flow, then let the roles
// act.
void Core::receive(std::span<const Frame> frames) {
  context_.counters[Event::frames_in].add(frames.size());
  while (!frames.empty()) {
    const auto burst = frames.first(std::min(frames.size(), kMaxBurst));
    for (size_t i = 0; i < burst.size(); ++i) {
      arrivals_[i].frame = &burst[i];
      sort(arrivals_[i]);
    }
    run_batches();
    frames = frames.subspan(burst.size());
  }
}

[[gnu::always_inline]] inline void Core::sort(Arrival& arrival) {
  const Frame& frame = *arrival.frame;
  const auto reason =
      wire::parse_packet(frame.bytes(), rules_[frame.port].parse, frame.checksum, arrival.packet);
  if (reason) {
    context_.output.drop(frame, *reason);
  } else if (arrival.packet.kind == wire::PacketKind::tcp) {
    if (arrival.packet.is_v6) {
      sort_tcp_v6(arrival);
    } else {
      const wire::Ipv4View ip = arrival.packet.ipv4();
      sort_tcp(arrival, ip.source(), ip.destination());
    }
  } else if (arrival.packet.kind == wire::PacketKind::arp) {
    answer_arp(arrival.packet, frame);
  } else if (arrival.packet.kind == wire::PacketKind::icmpv6) {
    on_icmpv6(arrival.packet, frame);
  } else {
    on_icmp(arrival.packet, frame);
  }
}

[[gnu::noinline]] void Core::sort_tcp_v6(Arrival& arrival) {
  const wire::Ipv6View ip = arrival.packet.ipv6();
  sort_tcp(arrival, ip.source(), ip.destination());
}

// Once for each family.
[[gnu::always_inline]] inline void Core::sort_tcp(Arrival& arrival, const wire::IpAddress& source,
                                                  const wire::IpAddress& destination) {
  const wire::Packet& packet = arrival.packet;
  const wire::TcpView tcp = packet.tcp();
  const Addresses& addresses = context_.addresses;
  if (tcp.has(wire::kSyn) && addresses.local(source) != nullptr) {
    // Our own: a loop or a forgery.
    context_.output.drop(*arrival.frame, Drop::bad_source_address);
    return;
  }
  const LocalAddress* snat = nullptr;
  if (rules_[arrival.frame->port].brokers_only) {
    const LocalAddress* local = addresses.local(destination);
    if (local != nullptr && local->snat && !local->listener) snat = local;
  }
  if (snat == nullptr) {
    const uint16_t vip = addresses.vip({destination, tcp.destination_port()});
    if (vip != EndpointMap::kNone) {
      sort_to_worker(arrival, source, vip);
      return;
    }
    snat = addresses.local(destination);
    if (snat == nullptr || !snat->snat) {
      refuse_address(arrival, snat != nullptr);
      return;
    }
  }
  sort_to_proxy(arrival, source, snat->snat_id);
}

void Core::refuse_address(Arrival& arrival, bool ours) {
  if (ours) {
    reset_unknown(context_, arrival.packet, *arrival.frame, Drop::no_listener,
                  Event::rst_to_client);
  } else {
    context_.output.drop(*arrival.frame, Drop::foreign_address);
  }
}

[[gnu::always_inline]] inline void Core::sort_to_worker(Arrival& arrival,
                                                        const wire::IpAddress& source,
                                                        uint16_t vip) {
  if (!sole_worker_ && !is_own_client(arrival)) return;
  arrival.vip = vip;
  worker_->seek(arrival, source);
  to_worker_.arrivals[to_worker_.count++] = &arrival;
}

[[gnu::always_inline]] inline void Core::sort_to_proxy(Arrival& arrival,
                                                       const wire::IpAddress& source,
                                                       config::SnatId snat) {
  if (!sole_proxy_ && !is_own_port(arrival)) return;
  proxy_->seek(arrival, source, snat);
  to_proxy_.arrivals[to_proxy_.count++] = &arrival;
}

// False, and the frame is passed on or dropped, if another core has the client's flows.
bool Core::is_own_client(const Arrival& arrival) {
  if (context_.shared.workers.empty()) {
    context_.output.drop(*arrival.frame, Drop::no_owner);
    return false;
  }
  const wire::Packet& packet = arrival.packet;
  const wire::TcpView tcp = packet.tcp();
  const CoreIndex owner = worker_for({packet.source(), tcp.source_port()},
                                     {packet.destination(), tcp.destination_port()});
  if (owner == context_.index) return true;
  check_steering(context_.shared.from_clients, config::PortRole::backend, arrival);
  hand_over(owner, *arrival.frame);
  return false;
}

bool Core::is_own_port(const Arrival& arrival) {
  if (context_.shared.proxies.empty()) {
    context_.output.drop(*arrival.frame, Drop::no_owner);
    return false;
  }
  const CoreIndex owner = proxy_for(arrival.packet.tcp().destination_port());
  if (owner == context_.index) return true;
  check_steering(context_.shared.from_brokers, config::PortRole::client, arrival);
  hand_over(owner, *arrival.frame);
  return false;
}

void Core::run_batches() {
  if (to_worker_.count > 0) {
    const size_t count = std::exchange(to_worker_.count, 0);
    worker_->process(std::span<Arrival* const>(to_worker_.arrivals).first(count));
    deliver_local();
  }
  if (to_proxy_.count > 0) {
    const size_t count = std::exchange(to_proxy_.count, 0);
    proxy_->process(std::span<Arrival* const>(to_proxy_.arrivals).first(count));
    deliver_local();
  }
}

// Which core owns a flow follows from its addresses alone, so any core can tell. It is the worker
// that the clients' ports bring its packets to, where that is known; else workers share clients by
// a hash. Proxies share SNAT ports by remainder, and prefer those that they get the packets of.
CoreIndex Core::worker_for(const wire::Endpoint& client, const wire::Endpoint& listener) const {
  const std::vector<CoreIndex>& workers = context_.shared.workers;
  if (workers.size() == 1) return workers[0];
  if (context_.shared.from_clients.known(client)) {
    return context_.shared.from_clients.core_for(client, listener);
  }
  uint64_t mixed = (client.hash() ^ context_.shared.random) * 0x9e3779b97f4a7c15U;
  if (!client.address.is_v4()) {
    // Clients choose half of their address and the port: not so that all come to one worker.
    std::array<uint8_t, 18> key;
    client.address.store_v6(key.data());
    base::store_be16(&key[16], client.port);
    mixed = maglev::hash_key(key, context_.shared.random);
  }
  return workers[(mixed >> 32) * workers.size() >> 32];
}

CoreIndex Core::proxy_for(uint16_t snat_port) const {
  const std::vector<CoreIndex>& proxies = context_.shared.proxies;
  return proxies.size() == 1 ? proxies[0] : proxies[snat_port % proxies.size()];
}

// For a frame that another core owns: did its port bring it where it should have? Owners stay as
// they are if not, since flows live there.
void Core::check_steering(const flow::Steering& steering, config::PortRole other_side,
                          const Arrival& arrival) {
  const config::PortId port = arrival.frame->port;
  const wire::Packet& packet = arrival.packet;
  if (packet.is_v6 || !steering.known() || context_.snapshot->ports[port].role == other_side) {
    return;
  }
  const wire::TcpView tcp = packet.tcp();
  const CoreIndex foretold = steering.core_for({packet.source(), tcp.source_port()},
                                               {packet.destination(), tcp.destination_port()});
  if (foretold != context_.index) missteered_[port].add();
}

void Core::hand_over(CoreIndex to, const Frame& frame) {
  if (context_.sink.hand_over(to, frame)) {
    context_.counters[Event::frames_handed_over].add();
  } else {
    context_.counters[Drop::ring_full].add();
  }
}

void Core::receive(const Message& message) {
  deliver(message);
  deliver_local();
}

void Core::deliver_local() {
  // Messages sent meanwhile are appended, so the queue is walked by index.
  for (size_t i = 0; i < local_.queue.size(); ++i) {
    const Message message = local_.queue[i];
    deliver(message);
  }
  local_.queue.clear();
}

void Core::deliver(const Message& message) {
  const auto visit = [this](const auto& body) {
    using Body = std::decay_t<decltype(body)>;
    constexpr bool for_proxy = std::is_same_v<Body, OpenRequest> ||
                               std::is_same_v<Body, TakenBack> || std::is_same_v<Body, ClientFin> ||
                               std::is_same_v<Body, ClientMoved> || std::is_same_v<Body, Release>;
    if constexpr (for_proxy) {
      proxy_->receive(body);
    } else {
      worker_->receive(body);
    }
  };
  std::visit(visit, message.body);
}

void Core::advance() {
  if (worker_) {
    worker_->advance();
    if (offers_refreshed_ != context_.now_seconds) {
      offers_refreshed_ = context_.now_seconds;
      worker_->refresh_offers();
    }
  }
  if (proxy_) proxy_->advance();
  deliver_local();
}

}  // namespace mqlb::engine
