// Finds and keeps the link addresses of next hops (RFC 826, with the probing of RFC 4861 section
// 7.3 in spirit), and announces our own addresses.
//
// Owner: the control thread. Data cores read the result from Shared::neighbours. An address that
// was found is kept while it is probed again, so a busy neighbour costs no packet.
#pragma once

#include <cstdint>
#include <functional>
#include <set>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/time.hh"
#include "lib/engine/context.hh"
#include "lib/wire/build.hh"

namespace mqlb::engine {

class ArpResolver {
 public:
  // Sends one Ethernet frame out of a port.
  using Emit = std::function<void(config::PortId, base::Bytes)>;

  ArpResolver(Shared& shared, Emit emit) : shared_(shared), emit_(std::move(emit)) {}

  // The snapshot in force from now on; it must outlive its use.
  void adopt(const config::Snapshot& snapshot, base::Instant now);
  // An ARP frame that a data core passed on.
  void receive(base::Bytes frame, config::PortId port, base::Instant now);
  // Sends what is due; call it some ten times a second.
  void advance(base::Instant now);

  struct Row {
    config::NextHopId id = 0;
    bool resolved = false;
    bool stale = false;    // resolved, but the last probes were not answered
    base::Duration age{};  // since the last answer
  };
  [[nodiscard]] std::vector<Row> rows(base::Instant now) const;

 private:
  struct Entry {
    bool active = false;
    wire::IpAddress address;  // an id may come to mean another neighbour
    bool resolved = false;
    uint32_t unanswered = 0;
    base::Instant confirmed{};
    base::Instant next_probe{};
  };
  struct Announcement {
    config::PortId port = 0;
    wire::IpAddress address;
    uint32_t left = 0;
    base::Instant due{};
  };

  using AddressSet = std::set<std::pair<config::PortId, wire::IpAddress>>;

  void probe(config::NextHopId id);
  void announce_addresses(base::Instant now);
  [[nodiscard]] AddressSet own_addresses() const;

  Shared& shared_;
  Emit emit_;
  const config::Snapshot* snapshot_ = nullptr;
  std::vector<Entry> entries_;  // by NextHopId
  AddressSet addresses_;        // ours, where they are announced
  std::vector<Announcement> announcements_;
};

}  // namespace mqlb::engine
