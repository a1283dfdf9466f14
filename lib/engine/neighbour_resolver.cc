#include "lib/engine/neighbour_resolver.hh"

#include <algorithm>
#include <utility>

#include "lib/wire/ndp.hh"

namespace mqlb::engine {
namespace {

using namespace std::chrono_literals;

constexpr base::Duration kRetry = 200ms;
constexpr base::Duration kSlowRetry = 1s;
constexpr uint32_t kQuickTries = 10;
constexpr base::Duration kRefresh = 20s;
constexpr uint32_t kStaleAfter = 3;
constexpr uint32_t kAnnouncements = 3;
constexpr base::Duration kAnnouncementInterval = 1s;

void build_request(const wire::MacAddress& mac, const wire::IpAddress& source,
                   const wire::IpAddress& target, std::vector<uint8_t>& out) {
  out.resize(wire::kArpFrame);
  wire::build_arp({wire::Arp::request, mac, source, {}, target}, {mac, wire::kBroadcastMac}, out);
}

// known: the link address to ask at, if there is one that is still believed (RFC 4861 section
// 7.3.3); null: asks the group.
void build_solicitation(const wire::MacAddress& mac, const wire::IpAddress& source,
                        const wire::IpAddress& target, const wire::MacAddress* known,
                        std::vector<uint8_t>& out) {
  wire::Neighbour message;
  message.source = source;
  message.target = target;
  message.destination = known != nullptr ? target : wire::solicited_node(target);
  message.link_address = mac;
  const wire::MacAddress to = known != nullptr ? *known : wire::multicast_mac(message.destination);
  out.resize(wire::kNeighbourFrame);
  out.resize(wire::build_neighbour(message, {mac, to}, out));
}

// RFC 4861 section 7.2.6.
void build_unsolicited(const wire::MacAddress& mac, const wire::IpAddress& address,
                       std::vector<uint8_t>& out) {
  wire::Neighbour message;
  message.type = wire::Neighbour::advertisement;
  message.flags = wire::Neighbour::override_cached;
  message.source = message.target = address;
  message.destination = wire::all_nodes();
  message.link_address = mac;
  out.resize(wire::kNeighbourFrame);
  out.resize(wire::build_neighbour(message, {mac, wire::multicast_mac(message.destination)}, out));
}

}  // namespace

void NeighbourResolver::adopt(const config::Snapshot& snapshot, base::Instant now) {
  snapshot_ = &snapshot;
  shared_.learnt.forget_retired(snapshot);
  entries_.resize(snapshot.next_hops.size());
  for (size_t id = 0; id < entries_.size(); ++id) {
    Entry& entry = entries_[id];
    const bool active = !snapshot.next_hops[id].retired;
    const wire::IpAddress& address = snapshot.next_hops[id].address;
    if (active && (!entry.active || entry.address != address)) {
      entry = Entry{};
      entry.address = address;
      entry.next_probe = now;
      shared_.neighbours.clear(static_cast<config::NextHopId>(id));
    }
    entry.active = active;
  }
  announce_addresses(now);
}

// Addresses that are new, or that were away: another station may have answered for them meanwhile.
void NeighbourResolver::announce_addresses(base::Instant now) {
  const AddressSet before = std::exchange(addresses_, own_addresses());
  std::erase_if(announcements_, [this](const Announcement& a) {
    return addresses_.count({a.port, a.address}) == 0;
  });
  for (const auto& [port, address] : addresses_) {
    if (before.count({port, address}) != 0) continue;
    announcements_.push_back({port, address, kAnnouncements, now});
  }
}

NeighbourResolver::AddressSet NeighbourResolver::own_addresses() const {
  AddressSet out;
  for (size_t i = 0; i < snapshot_->ports.size(); ++i) {
    const auto add = [&](const wire::IpAddress& address) {
      out.emplace(static_cast<config::PortId>(i), address);
    };
    const config::PortEntry& port = snapshot_->ports[i];
    for (const wire::Prefix& prefix : port.addresses) add(prefix.address);
    if (port.role != config::PortRole::backend) {
      for (const auto& listener : snapshot_->listeners) {
        if (!listener.retired) add(listener.endpoint.address);
      }
    }
    if (port.role != config::PortRole::client) {
      for (const auto& snat : snapshot_->snats) {
        if (!snat.retired) add(snat.address);
      }
    }
  }
  return out;
}

std::optional<NeighbourResolver::Statement> NeighbourResolver::read(base::Bytes frame) {
  if (frame.size() < wire::kArpFrame) return std::nullopt;
  const base::Bytes datagram = frame.subspan(wire::kEthernetHeader);
  const uint16_t type = base::load_be16(frame.data() + wire::kEthernetHeader - 2);
  if (type == wire::kEtherTypeArp) {
    wire::Arp arp;
    if (!wire::parse_arp(datagram.data(), arp)) return std::nullopt;
    return Statement{arp.sender, arp.sender_mac};
  }
  wire::Neighbour message;
  if (type != wire::kEtherTypeIpv6 || !wire::parse_neighbour(datagram, message) ||
      message.type != wire::Neighbour::advertisement) {
    return std::nullopt;
  }
  return Statement{message.target, message.link_address,
                   (message.flags & wire::Neighbour::solicited) != 0,
                   (message.flags & wire::Neighbour::override_cached) != 0};
}

void NeighbourResolver::receive(base::Bytes frame, config::PortId port, base::Instant now) {
  if (snapshot_ == nullptr) return;
  const auto statement = read(frame);
  if (!statement) return;
  for (size_t id = 0; id < entries_.size(); ++id) {
    const config::NextHopEntry& next_hop = snapshot_->next_hops[id];
    if (!entries_[id].active || next_hop.port != port) continue;
    if (next_hop.address != statement->address) continue;
    learn(static_cast<config::NextHopId>(id), *statement, now);
  }
}

// RFC 4861 section 7.2.5, where "stale" is an entry whose probes go unanswered.
void NeighbourResolver::learn(config::NextHopId id, const Statement& statement, base::Instant now) {
  Entry& entry = entries_[id];
  wire::MacAddress known;
  const bool resolved = shared_.neighbours.lookup(id, known);
  if (!resolved && !statement.mac) return;
  const bool is_news = !resolved || (statement.mac && *statement.mac != known);
  if (is_news && resolved && !statement.overrides && entry.unanswered < kStaleAfter) return;
  if (is_news) {
    shared_.neighbours.set(id, *statement.mac);
    entry.resolved = true;
    entry.confirmed = now;
  }
  if (statement.solicited) {
    entry.unanswered = 0;
    entry.confirmed = now;
    entry.next_probe = now + kRefresh;
  } else if (is_news) {
    entry.next_probe = now;  // nobody asked: used, and asked for at once
  }
}

void NeighbourResolver::advance(base::Instant now) {
  for (size_t id = 0; id < entries_.size(); ++id) {
    Entry& entry = entries_[id];
    if (!entry.active || now < entry.next_probe) continue;
    probe(static_cast<config::NextHopId>(id));
    ++entry.unanswered;
    const bool slowly = entry.resolved || entry.unanswered > kQuickTries;
    entry.next_probe = now + (slowly ? kSlowRetry : kRetry);
  }
  for (Announcement& a : announcements_) {
    if (now < a.due) continue;
    announce(a);
    --a.left;
    a.due = now + kAnnouncementInterval;
  }
  std::erase_if(announcements_, [](const Announcement& a) { return a.left == 0; });
}

void NeighbourResolver::announce(const Announcement& announcement) {
  const wire::MacAddress mac = shared_.port_macs[announcement.port];
  const wire::IpAddress& address = announcement.address;
  std::vector<uint8_t> frame;
  if (address.is_v4()) {
    build_request(mac, address, address, frame);
  } else {
    build_unsolicited(mac, address, frame);
  }
  emit_(announcement.port, frame);
}

void NeighbourResolver::probe(config::NextHopId id) {
  const config::NextHopEntry& next_hop = snapshot_->next_hops[id];
  const wire::MacAddress mac = shared_.port_macs[next_hop.port];
  std::vector<uint8_t> frame;
  if (next_hop.address.is_v4()) {
    build_request(mac, next_hop.source, next_hop.address, frame);
  } else {
    wire::MacAddress known;
    const bool believed =
        entries_[id].unanswered < kStaleAfter && shared_.neighbours.lookup(id, known);
    build_solicitation(mac, next_hop.source, next_hop.address, believed ? &known : nullptr, frame);
  }
  emit_(next_hop.port, frame);
}

std::vector<NeighbourResolver::Row> NeighbourResolver::rows(base::Instant now) const {
  std::vector<Row> out;
  for (size_t id = 0; id < entries_.size(); ++id) {
    const Entry& entry = entries_[id];
    if (!entry.active) continue;
    out.push_back({static_cast<config::NextHopId>(id), entry.resolved,
                   entry.resolved && entry.unanswered >= kStaleAfter, now - entry.confirmed});
  }
  return out;
}

}  // namespace mqlb::engine
