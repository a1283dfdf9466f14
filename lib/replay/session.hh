// All clients and brokers of one replay, as hosts on two wires: frames in, frames out, and time as
// an argument. The shell around it is an engine on a virtual clock, or DPDK ports.
//
//   clients ---- client port ---- [ balancer ] ---- broker ports ---- brokers
//
// First the link addresses of the targets are asked for (ARP, neighbour discovery); when all are
// known the clients begin. One thread; deterministic: the same calls give the same frames.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "lib/config/snapshot.hh"
#include "lib/replay/plan.hh"
#include "lib/replay/player.hh"
#include "lib/wire/ndp.hh"
#include "lib/wire/packet.hh"

namespace mqlb::replay {

struct BrokerSpec {
  std::string name;
  wire::Endpoint endpoint;
};

struct SessionSetup {
  config::PortId client_port = 0;
  wire::MacAddress client_mac;
  wire::MacAddress broker_mac;
  uint16_t mtu = 1500;
  std::optional<wire::IpAddress> gateway;  // next hop of clients; none: the target itself
  bool plays_brokers = true;               // else others do
  std::vector<BrokerSpec> brokers;
  std::vector<wire::IpAddress> broker_side;  // further addresses to answer for, as gateways
};

// Bytes of one direction of a connection.
struct Direction {
  std::optional<uint64_t> expected;  // none: not known what would be right
  uint64_t arrived = 0;
  std::optional<uint64_t> difference;  // offset of the first wrong byte
  // All and only what was expected.
  [[nodiscard]] bool equal() const { return !difference && (!expected || *expected == arrived); }
};

// What became of a planned connection.
struct Row {
  std::string backend;       // empty: no broker saw it
  std::string proxy_header;  // as text; empty: none
  bool proxy_header_wrong = false;
  bool told_unavailable = false;  // a CONNACK that no broker sent
  // The code by which others' broker refused a client that the captured one accepted.
  std::optional<uint8_t> refused_by_connack;
  Direction to_broker;
  Direction to_client;
  std::optional<base::Duration> time_to_splice;  // SYN to the first byte from a broker
  uint64_t played = 0;                           // steps
  uint64_t split = 0;                            // pieces that had to be cut at the MSS
  uint64_t repeated = 0;                         // what was lost
  End end = End::none;
  std::string waits_for;  // stalled: for what
};

class ClientConnection;
class BrokerConnection;

class Session {
 public:
  using Emit = std::function<void(config::PortId, base::Bytes)>;

  // All outlive the session.
  Session(const Capture& capture, const std::vector<Planned>& plan, const PlayOptions& options,
          SessionSetup setup, Emit emit);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void start(base::Instant now);
  // Parsing may write to the frame.
  void receive(config::PortId port, base::MutableBytes frame, base::Instant now);
  void advance(base::Instant now);
  // When advance() is due; kNever: nothing but a frame will change anything.
  [[nodiscard]] base::Instant deadline() const;
  // All clients have come to an end, and a while has passed for what is still under way.
  [[nodiscard]] bool finished(base::Instant now) const;
  // The play is over, or broken off: resets what is open, so that nobody keeps state for it.
  void abandon(base::Instant now);

  // A sentence if nothing can be played: a target whose link address nobody tells.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] const std::vector<Row>& rows() const { return rows_; }
  [[nodiscard]] size_t ended() const { return ended_; }
  // Frames that had a wrong checksum, or were too large: offloads of the other side.
  [[nodiscard]] uint64_t damaged_frames() const { return damaged_; }

 private:
  friend class ClientConnection;
  friend class BrokerConnection;

  enum class Kind : uint8_t { ask, start, loose, client, broker };
  struct Timer {
    base::Instant at;
    uint64_t order;
    Kind kind;
    size_t index;
    friend bool operator>(const Timer& a, const Timer& b) {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };
  struct Addresses {
    wire::Endpoint local;
    wire::Endpoint remote;
    friend bool operator==(const Addresses&, const Addresses&) = default;
  };
  struct Hash {
    size_t operator()(const Addresses& a) const;
  };

  void schedule(base::Instant at, Kind kind, size_t index);
  void fire(const Timer& timer, base::Instant now);
  void begin(base::Instant now);
  void open_client(size_t index, base::Instant now);
  void client_ended(size_t index, base::Instant now);
  void touch_client(size_t index, base::Instant now);
  void touch_broker(size_t index, base::Instant now);
  void send_loose(size_t index, base::Instant now);

  // session_neighbours.cc
  void ask(base::Instant now);
  void ask_for(const wire::IpAddress& hop);
  void learn(const wire::IpAddress& address, const wire::MacAddress& mac, base::Instant now);
  // Of ours that is asked for on this port.
  [[nodiscard]] std::optional<wire::MacAddress> link_address_of(const wire::IpAddress& address,
                                                                config::PortId port) const;
  void receive_arp(config::PortId port, const wire::Packet& packet, base::Instant now);
  void receive_neighbour(config::PortId port, const wire::Packet& packet, base::Instant now);
  void advertise(config::PortId port, const wire::Neighbour& asked, const wire::MacAddress& mac,
                 const wire::MacAddress& from);
  void send_arp(config::PortId port, const wire::Arp& arp, const wire::MacAddress& to);
  void send_neighbour(config::PortId port, const wire::Neighbour& message,
                      const wire::MacAddress& to);

  // session_frames.cc
  void receive_tcp(config::PortId port, const wire::Packet& packet, base::Instant now);
  void receive_for_broker(config::PortId port, const wire::Packet& packet, const Incoming& segment,
                          base::Instant now);
  void refuse(config::PortId port, const wire::Packet& packet, const Incoming& segment);
  void transmit(config::PortId port, const wire::LinkPair& link, wire::Segment segment);
  // The planned connection that a broker connection belongs to: by the client's address in the
  // PROXY header, or by its Client ID.
  [[nodiscard]] ClientConnection* find_client(const wire::Endpoint& local) const;
  [[nodiscard]] ClientConnection* find_client_id(const std::string& client_id) const;

  const Capture& capture_;
  const std::vector<Planned>& plan_;
  const PlayOptions& options_;
  SessionSetup setup_;
  Emit emit_;

  std::vector<Row> rows_;                                   // as plan_
  std::vector<std::vector<uint32_t>> replies_;              // as recordings
  std::vector<std::vector<size_t>> successors_;             // as plan_; empty if there are none
  std::vector<std::unique_ptr<ClientConnection>> clients_;  // as plan_; null: not open
  std::vector<std::unique_ptr<BrokerConnection>> brokers_;  // by order of their SYNs
  std::unordered_map<Addresses, size_t, Hash> client_of_;
  std::unordered_map<Addresses, size_t, Hash> broker_of_;
  std::unordered_map<std::string, std::vector<size_t>> by_client_id_;
  std::set<wire::Endpoint> targets_;
  std::set<wire::IpAddress> client_addresses_;
  std::set<wire::IpAddress> broker_addresses_;
  std::map<wire::IpAddress, std::optional<wire::MacAddress>> next_hops_;

  std::priority_queue<Timer, std::vector<Timer>, std::greater<>> timers_;
  uint64_t next_order_ = 0;
  bool playing_ = false;
  base::Instant began_{};
  base::Instant last_end_{};
  size_t ended_ = 0;
  size_t loose_sent_ = 0;
  uint64_t damaged_ = 0;
  std::string failure_;
};

}  // namespace mqlb::replay
