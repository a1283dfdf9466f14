// Connections of a host: whom a segment belongs to, and when an endpoint wants to be woken.
#include "tests/support/sim/host.hh"

#include <algorithm>
#include <array>
#include <cstring>

#include "tests/support/sim/world.hh"

namespace mqlb::sim {

size_t Host::HashAddress::operator()(const wire::IpAddress& a) const {
  const std::array<uint8_t, 16> octets = a.octets();
  uint64_t halves[2];
  std::memcpy(halves, octets.data(), octets.size());
  return Random(halves[0] ^ Random(halves[1]).u64()).u64();
}

size_t Host::HashFourTuple::operator()(const FourTuple& t) const {
  return Random(HashEndpoint()(t.local) ^ Random(HashEndpoint()(t.remote)).u64()).u64();
}

size_t Host::HashEndpoint::operator()(const wire::Endpoint& e) const {
  return Random(HashAddress()(e.address) ^ e.port).u64();
}

Host::Host(World& world, const HostConfig& config, Random random)
    : world_(world), config_(config), random_(random) {}

Host::~Host() = default;

Host::Connection& Host::add_connection(const FourTuple& key, const TcpOptions& options,
                                       std::unique_ptr<App> app) {
  Connection c;
  c.id = next_id_++;
  c.app = std::move(app);
  // No more than packets have room for.
  const size_t headers = ip_header_length(key.local.address) + 20;
  TcpOptions fitting = options;
  fitting.mss = std::min(options.mss, static_cast<uint16_t>(config_.mtu - headers));
  c.endpoint = std::make_unique<TcpEndpoint>(key.local, key.remote, fitting, *this,
                                             world_.violations(), world_.rules());
  c.endpoint->set_app(c.app.get());
  remove(key);
  silent_.erase(key);
  world_.connection_opened();
  return connections_.emplace(key, std::move(c)).first->second;
}

void Host::remove(const FourTuple& key) {
  if (connections_.erase(key) != 0) world_.connection_closed();
}

TcpEndpoint& Host::connect(const wire::Endpoint& local, const wire::Endpoint& remote,
                           const TcpOptions& options, std::unique_ptr<App> app) {
  ++counters_.connects;
  const FourTuple key{local, remote};
  Connection& c = add_connection(key, options, std::move(app));
  TcpEndpoint& endpoint = *c.endpoint;
  endpoint.connect(world_.now());
  settle(key, c, world_.now());
  return endpoint;
}

void Host::listen(const wire::Endpoint& local, Listener listener) {
  listeners_.insert_or_assign(local, std::move(listener));
}

TcpEndpoint* Host::find(const wire::Endpoint& local, const wire::Endpoint& remote) {
  const auto it = connections_.find(FourTuple{local, remote});
  return it == connections_.end() ? nullptr : it->second.endpoint.get();
}

// After anything happened to a connection: tell its application, then forget or wake it.
void Host::settle(const FourTuple& key, Connection& c, Instant now) {
  c.endpoint->poll(now);
  if (c.endpoint->done()) {
    if (c.endpoint->reason() == CloseReason::vanished) silent_.insert(key);
    remove(key);
    return;
  }
  const Instant app_deadline = c.app ? c.app->deadline() : kNever;
  const Instant wanted = std::max(now, std::min(c.endpoint->deadline(), app_deadline));
  if (wanted == kNever || wanted >= c.wake_at) return;
  c.wake_at = wanted;
  world_.maybe_at(wanted, [this, key, id = c.id] { wake(key, id, world_.now()); });
}

void Host::wake(const FourTuple& key, uint64_t id, Instant now) {
  const auto it = connections_.find(key);
  if (it == connections_.end() || it->second.id != id || it->second.wake_at != now) return;
  Connection& c = it->second;
  c.wake_at = kNever;
  if (c.app && c.app->deadline() <= now) c.app->on_timer(*c.endpoint, now);
  if (c.endpoint->deadline() <= now) c.endpoint->advance(now);
  settle(FourTuple(key), c, now);
}

void Host::receive_segment(const Segment& s, Instant now) {
  const FourTuple key{s.destination, s.source};
  const auto it = connections_.find(key);
  if (it != connections_.end()) {
    Connection& c = it->second;
    const bool over = c.endpoint->phase() == Phase::closed || c.endpoint->reusable_by(s);
    if (!over) {
      c.endpoint->receive(s, now);
      settle(key, c, now);
      return;
    }
    if (c.endpoint->phase() == Phase::time_wait) {
      c.endpoint->give_way(now);
      remove(key);
    }
  }
  const auto listener = listeners_.find(s.destination);
  const bool opens = s.has(kSyn) && !s.has(kAck) && !s.has(kRst);
  if (opens && listener != listeners_.end()) {
    receive_syn(s, listener->second, now);
  } else {
    receive_stray(s, now);
  }
}

void Host::receive_syn(const Segment& syn, const Listener& listener, Instant now) {
  const FourTuple key{syn.destination, syn.source};
  const auto before = accepted_.find(key);
  const bool old = before != accepted_.end() && before->second.seq == syn.seq &&
                   now <= before->second.at + world_.rules().max_reorder;
  if (old) {
    ++counters_.old_syns;
    return;
  }
  SynVerdict verdict = listener(syn);
  switch (verdict.action) {
    case SynVerdict::Action::drop:
      return;
    case SynVerdict::Action::refuse:
      ++counters_.refused_syns;
      receive_stray(syn, now);
      return;
    case SynVerdict::Action::challenge:
      if (!challenged_.contains(key)) {
        challenge(key, now);
        return;
      }
      break;
    case SynVerdict::Action::accept:
      break;
  }
  if (verdict.delay == Duration{0}) {
    accept(syn, std::move(verdict), now);
    return;
  }
  if (!opening_.insert(key).second) return;
  Segment kept = syn;
  kept.payload = {};
  auto shared = std::make_shared<SynVerdict>(std::move(verdict));
  world_.after(shared->delay, [this, key, kept, shared] {
    opening_.erase(key);
    accept(kept, std::move(*shared), world_.now());
  });
}

void Host::accept(const Segment& syn, SynVerdict verdict, Instant now) {
  ++counters_.accepts;
  const FourTuple key{syn.destination, syn.source};
  accepted_[key] = {syn.seq, now};
  Connection& c = add_connection(key, verdict.options, std::move(verdict.app));
  c.endpoint->accept(syn, now);
  settle(key, c, now);
}

// An ACK as of a connection that the other end has forgotten; a RST must answer it.
void Host::challenge(const FourTuple& key, Instant now) {
  ++counters_.challenges;
  Segment s;
  s.source = key.local;
  s.destination = key.remote;
  s.seq = base::Seq32(random_.u32());
  s.ack = base::Seq32(random_.u32());
  s.flags = kAck;
  s.window = 512;
  challenged_[key] = s.ack;
  transmit(s, now);
}

// No such connection (RFC 9293 section 3.10.7.1).
void Host::receive_stray(const Segment& s, Instant now) {
  if (silent_.contains(FourTuple{s.destination, s.source})) return;
  if (s.has(kRst)) {
    const auto it = challenged_.find(FourTuple{s.destination, s.source});
    const bool asked_for = it != challenged_.end() && it->second == s.seq;
    ++(asked_for ? counters_.challenge_resets : counters_.stray_resets);
    return;
  }
  if (!s.has(kSyn)) ++counters_.strays;
  Segment r;
  r.source = s.destination;
  r.destination = s.source;
  r.flags = s.has(kAck) ? kRst : kRst | kAck;
  if (s.has(kAck)) {
    r.seq = s.ack;
  } else {
    r.ack = s.seq + s.length();
  }
  transmit(r, now);
}

}  // namespace mqlb::sim
