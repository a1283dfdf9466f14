#include "lib/replay/session.hh"

#include <algorithm>

#include "lib/replay/connection.hh"
#include "lib/replay/mqtt_packets.hh"

namespace mqlb::replay {
namespace {

// What may still be under way when the last client has ended: closing handshakes, repetitions.
constexpr base::Duration kAfterglow{2'000'000};

}  // namespace

size_t Session::Hash::operator()(const Addresses& a) const {
  return a.local.hash() * 0xff51afd7ed558ccdU ^ a.remote.hash();
}

Session::Session(const Capture& capture, const std::vector<Planned>& plan,
                 const PlayOptions& options, SessionSetup setup, Emit emit)
    : capture_(capture),
      plan_(plan),
      options_(options),
      setup_(std::move(setup)),
      emit_(std::move(emit)),
      rows_(plan.size()),
      successors_(plan.size()),
      clients_(plan.size()) {
  for (const Recording& r : capture.recordings) {
    replies_.push_back(reply_ends(r.server.stream));
  }
  for (size_t i = 0; i < plan.size(); ++i) {
    if (plan[i].after) successors_[*plan[i].after].push_back(i);
    client_addresses_.insert(plan[i].local.address);
    next_hops_.try_emplace(setup_.gateway.value_or(plan[i].target.address));
    targets_.insert(plan[i].target);
  }
  if (options.target) next_hops_.try_emplace(setup_.gateway.value_or(options.target->address));
  for (const BrokerSpec& broker : setup_.brokers) broker_addresses_.insert(broker.endpoint.address);
  broker_addresses_.insert(setup_.broker_side.begin(), setup_.broker_side.end());
}

Session::~Session() = default;

void Session::start(base::Instant now) {
  began_ = now;
  ask(now);
}

// All next hops are known.
void Session::begin(base::Instant now) {
  playing_ = true;
  began_ = last_end_ = now;
  for (size_t i = 0; i < plan_.size(); ++i) {
    if (!plan_[i].after) schedule(now + plan_[i].begins, Kind::start, i);
  }
  for (size_t i = 0; i < capture_.loose.size(); ++i) {
    const base::Duration at = capture_.loose[i].at;
    const auto scaled = options_.speed > 0
                            ? static_cast<int64_t>(static_cast<double>(at.count()) / options_.speed)
                            : static_cast<int64_t>(i);
    schedule(now + base::Duration(scaled), Kind::loose, i);
  }
}

void Session::schedule(base::Instant at, Kind kind, size_t index) {
  timers_.push({at, next_order_++, kind, index});
}

base::Instant Session::deadline() const { return timers_.empty() ? kNever : timers_.top().at; }

void Session::advance(base::Instant now) {
  while (!timers_.empty() && timers_.top().at <= now) {
    const Timer timer = timers_.top();
    timers_.pop();
    fire(timer, now);
  }
}

void Session::fire(const Timer& timer, base::Instant now) {
  switch (timer.kind) {
    case Kind::ask:
      ask(now);
      break;
    case Kind::start:
      open_client(timer.index, now);
      break;
    case Kind::loose:
      send_loose(timer.index, now);
      break;
    case Kind::client:
      if (const auto& client = clients_[timer.index]; client && client->scheduled == timer.at) {
        client->scheduled = kNever;
        client->player().advance(now);
        touch_client(timer.index, now);
      }
      break;
    case Kind::broker:
      if (const auto& broker = brokers_[timer.index]; broker && broker->scheduled == timer.at) {
        broker->scheduled = kNever;
        broker->player().advance(now);
        touch_broker(timer.index, now);
      }
      break;
  }
}

void Session::open_client(size_t index, base::Instant now) {
  const Planned& planned = plan_[index];
  const Addresses addresses{planned.local, planned.target};
  // The one before on the same addresses is over, whether it was closed or not.
  const auto old = client_of_.find(addresses);
  if (old != client_of_.end()) {
    const size_t before = old->second;
    client_of_.erase(old);
    if (!clients_[before]->counted) client_ended(before, now);
    clients_[before].reset();
  }
  clients_[index] = std::make_unique<ClientConnection>(*this, index, now);
  ClientConnection& client = *clients_[index];
  client_of_[addresses] = index;
  if (!client.client_id().empty()) by_client_id_[client.client_id()].push_back(index);
  client.player().connect(now);
  touch_client(index, now);
}

// To be called after anything has happened to a client.
void Session::touch_client(size_t index, base::Instant now) {
  ClientConnection& client = *clients_[index];
  if (client.player().end() != End::none && !client.counted) {
    client.counted = true;
    client_ended(index, now);
  }
  if (client.player().gone(now)) {
    client.report(rows_[index]);
    client_of_.erase({plan_[index].local, plan_[index].target});
    if (const auto same = by_client_id_.find(client.client_id()); same != by_client_id_.end()) {
      std::erase(same->second, index);
      if (same->second.empty()) by_client_id_.erase(same);
    }
    clients_[index].reset();
    return;
  }
  const base::Instant at = client.player().deadline();
  if (at < client.scheduled) {
    client.scheduled = at;
    schedule(at, Kind::client, index);
  }
}

void Session::client_ended(size_t index, base::Instant now) {
  clients_[index]->report(rows_[index]);
  ++ended_;
  last_end_ = now;
  for (const size_t next : successors_[index]) {
    schedule(std::max(now, began_ + plan_[next].begins), Kind::start, next);
  }
}

void Session::touch_broker(size_t index, base::Instant now) {
  BrokerConnection& broker = *brokers_[index];
  if (broker.player().gone(now)) {
    broker_of_.erase({broker.player().local(), broker.player().remote()});
    brokers_[index].reset();
    return;
  }
  const base::Instant at = broker.player().deadline();
  if (at < broker.scheduled) {
    broker.scheduled = at;
    schedule(at, Kind::broker, index);
  }
}

bool Session::finished(base::Instant now) const {
  if (!failure_.empty()) return true;
  if (!playing_ || ended_ < plan_.size() || loose_sent_ < capture_.loose.size()) return false;
  return now >= last_end_ + kAfterglow;
}

void Session::abandon(base::Instant now) {
  for (size_t i = 0; i < clients_.size(); ++i) {
    ClientConnection* client = clients_[i].get();
    if (client == nullptr) continue;
    if (!client->counted) client->report(rows_[i]);
    client->player().abort(now);
  }
  for (const auto& broker : brokers_) {
    if (broker) broker->player().abort(now);
  }
}

// As captured, but to the balancer's link address.
void Session::send_loose(size_t index, base::Instant now) {
  std::vector<uint8_t> frame = capture_.loose[index].bytes;
  ++loose_sent_;
  last_end_ = now;
  if (frame.size() >= wire::kEthernetHeader) {
    wire::EthernetView ethernet(frame.data());
    if (!ethernet.destination().is_group() && !next_hops_.empty()) {
      ethernet.set_destination(next_hops_.begin()->second.value());
    }
  }
  emit_(setup_.client_port, frame);
}

}  // namespace mqlb::replay
