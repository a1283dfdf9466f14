#include "lib/engine/arp_resolver.hh"

#include <algorithm>
#include <utility>

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
  announce_addresses(now);
}

// Addresses that are new, or that were away: another station may have answered for them meanwhile.
void ArpResolver::announce_addresses(base::Instant now) {
  const AddressSet before = std::exchange(addresses_, own_addresses());
  std::erase_if(announcements_, [this](const Announcement& a) {
    return addresses_.count({a.port, a.address}) == 0;
  });
  for (const auto& [port, address] : addresses_) {
    if (before.count({port, address}) != 0) continue;
    announcements_.push_back({port, address, kAnnouncements, now});
  }
}

ArpResolver::AddressSet ArpResolver::own_addresses() const {
  AddressSet out;
  for (size_t i = 0; i < snapshot_->ports.size(); ++i) {
    const auto add = [&](const wire::IpAddress& address) {
      if (address.is_v4()) out.emplace(static_cast<config::PortId>(i), address);
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
    wire::build_arp({wire::Arp::request, mac, a.address, {}, a.address}, {mac, wire::kBroadcastMac},
                    frame);
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
