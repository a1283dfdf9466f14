#include "lib/engine/arp_resolver.hh"

#include <algorithm>

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

}  // namespace

void ArpResolver::adopt(const config::Snapshot& snapshot, base::Instant now) {
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
  for (size_t i = 0; i < snapshot.ports.size(); ++i) {
    const auto port = static_cast<config::PortId>(i);
    const config::PortEntry& entry = snapshot.ports[i];
    for (const wire::Prefix& prefix : entry.addresses) announce(port, prefix.address, now);
    if (entry.role != config::PortRole::backend) {
      for (const auto& listener : snapshot.listeners) {
        if (!listener.retired) announce(port, listener.endpoint.address, now);
      }
    }
    if (entry.role != config::PortRole::client) {
      for (const auto& snat : snapshot.snats) {
        if (!snat.retired) announce(port, snat.address, now);
      }
    }
  }
}

void ArpResolver::announce(config::PortId port, const wire::IpAddress& address,
                           base::Instant now) {
  if (!address.is_v4() || !announced_.emplace(port, address).second) return;
  announcements_.push_back({port, address, kAnnouncements, now});
}

void ArpResolver::receive(base::Bytes frame, config::PortId port, base::Instant now) {
  wire::Arp arp;
  if (snapshot_ == nullptr || frame.size() < wire::kArpFrame ||
      !wire::parse_arp(frame.data() + wire::kEthernetHeader, arp)) {
    return;
  }
  for (size_t id = 0; id < entries_.size(); ++id) {
    const config::NextHopEntry& next_hop = snapshot_->next_hops[id];
    Entry& entry = entries_[id];
    if (!entry.active || next_hop.port != port || next_hop.address != arp.sender) continue;
    entry.resolved = true;
    entry.unanswered = 0;
    entry.confirmed = now;
    entry.next_probe = now + kRefresh;
    shared_.neighbours.set(static_cast<config::NextHopId>(id), arp.sender_mac);
  }
}

void ArpResolver::advance(base::Instant now) {
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
    const wire::MacAddress mac = shared_.port_macs[a.port];
    uint8_t frame[wire::kArpFrame];
    wire::build_arp({wire::Arp::request, mac, a.address, {}, a.address},
                    {mac, wire::kBroadcastMac}, frame);
    emit_(a.port, frame);
    --a.left;
    a.due = now + kAnnouncementInterval;
  }
  std::erase_if(announcements_, [](const Announcement& a) { return a.left == 0; });
}

void ArpResolver::probe(config::NextHopId id) {
  const config::NextHopEntry& next_hop = snapshot_->next_hops[id];
  if (!next_hop.address.is_v4()) return;
  const wire::MacAddress mac = shared_.port_macs[next_hop.port];
  uint8_t frame[wire::kArpFrame];
  wire::build_arp({wire::Arp::request, mac, next_hop.source, {}, next_hop.address},
                  {mac, wire::kBroadcastMac}, frame);
  emit_(next_hop.port, frame);
}

std::vector<ArpResolver::Row> ArpResolver::rows(base::Instant now) const {
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
