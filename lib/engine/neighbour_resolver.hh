// Finds and keeps the link addresses of next hops, and announces our own addresses: by ARP (RFC
// 826) for IPv4, with the probing of RFC 4861 section 7.3 in spirit, and by neighbour discovery
// (RFC 4861) for IPv6.
//
// Owner: the control thread. Data cores read the result from Shared::neighbours. An address that
// was found is kept while it is probed again, so a busy neighbour costs no packet.
//
// Not done of RFC 4861: there is no router discovery, since the configuration names gateways; no
// probe for duplicates (RFC 4862 section 5.4), since our addresses are an operator's decision as
// IPv4's are; and nothing is learnt from solicitations, which ask on behalf of who sends them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/time.hh"
#include "lib/engine/context.hh"
#include "lib/wire/build.hh"

namespace mqlb::engine {

class NeighbourResolver {
 public:
  // Sends one Ethernet frame out of a port.
  using Emit = std::function<void(config::PortId, base::Bytes)>;

  NeighbourResolver(Shared& shared, Emit emit) : shared_(shared), emit_(std::move(emit)) {}

  // The snapshot in force from now on; it must outlive its use.
  void adopt(const config::Snapshot& snapshot, base::Instant now);
  // A frame that a data core passed on; what neither is ARP nor an advertisement is ignored.
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
  // What a neighbour says of itself; ARP always answers and overrides.
  struct Statement {
    wire::IpAddress address;
    std::optional<wire::MacAddress> mac;
    bool solicited = true;
    bool overrides = true;
  };

  using AddressSet = std::set<std::pair<config::PortId, wire::IpAddress>>;

  [[nodiscard]] static std::optional<Statement> read(base::Bytes frame);
  void learn(config::NextHopId id, const Statement& statement, base::Instant now);
  void probe(config::NextHopId id);
  void announce(const Announcement& announcement);
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
