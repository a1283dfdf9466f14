// A computer with one Ethernet interface: ARP, neighbour discovery, TCP endpoints, listeners.
//
// Owned by a World. Every frame that arrives is checked here (MACs, MTU, lengths, checksums) and
// then by the endpoint it belongs to.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "tests/support/sim/link.hh"
#include "tests/support/sim/packet.hh"
#include "tests/support/sim/random.hh"
#include "tests/support/sim/resolution.hh"
#include "tests/support/sim/tcp_endpoint.hh"
#include "tests/support/sim/violations.hh"

namespace mqlb::sim {

class World;

struct HostConfig {
  std::string name;
  wire::MacAddress mac;
  std::vector<wire::IpAddress> addresses;  // of one family
  // Destinations outside of the addresses' networks of this length go through the gateway.
  uint8_t prefix_length = 24;
  std::optional<wire::IpAddress> gateway;
  uint16_t mtu = 1500;
};

// What a listener does with a SYN, and with what it accepts.
struct SynVerdict {
  enum class Action : uint8_t {
    accept,
    refuse,  // RST
    drop,
    challenge,  // once per 4-tuple an ACK of an old connection (RFC 5961), then accept
  };
  Action action = Action::accept;
  Duration delay{0};  // before the SYN-ACK
  TcpOptions options{};
  std::unique_ptr<App> app{};
};

// Called for every SYN that opens no connection yet, repeated ones included.
using Listener = std::function<SynVerdict(const Segment& syn)>;

struct HostCounters {
  uint64_t frames = 0;
  uint64_t damaged = 0;  // dropped as a NIC would
  uint64_t connects = 0;
  uint64_t accepts = 0;
  uint64_t refused_syns = 0;
  uint64_t old_syns = 0;  // duplicates from a link, ignored
  uint64_t strays = 0;    // segments of no connection, answered with RST
  uint64_t stray_resets = 0;
  uint64_t challenges = 0;
  uint64_t challenge_resets = 0;  // the RST that a challenge asks for
  uint64_t other_frames = 0;      // ICMP and other protocols
  uint64_t questions = 0;         // for its link address
};

class Host final : public SegmentSink {
 public:
  Host(World& world, const HostConfig& config, Random random);
  ~Host() override;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  // Opens a connection now. The host owns the application until the connection is over.
  TcpEndpoint& connect(const wire::Endpoint& local, const wire::Endpoint& remote,
                       const TcpOptions& options, std::unique_ptr<App> app);
  void listen(const wire::Endpoint& local, Listener listener);
  void receive(const Frame& frame, Instant now);
  void transmit(const Segment& segment, Instant now) override;

  // Frames that neither ask for link addresses nor carry TCP: ICMP errors.
  std::function<void(base::Bytes)> on_other_frame;

  [[nodiscard]] World& world() { return world_; }
  [[nodiscard]] const wire::MacAddress& mac() const { return config_.mac; }
  [[nodiscard]] const HostConfig& config() const { return config_; }
  [[nodiscard]] const HostCounters& counters() const { return counters_; }
  [[nodiscard]] size_t connections() const { return connections_.size(); }
  // The endpoint with these addresses, or nullptr.
  [[nodiscard]] TcpEndpoint* find(const wire::Endpoint& local, const wire::Endpoint& remote);
  [[nodiscard]] Random& random() { return random_; }

 private:
  struct FourTuple {
    wire::Endpoint local;
    wire::Endpoint remote;
    friend bool operator==(const FourTuple&, const FourTuple&) = default;
  };
  struct HashFourTuple {
    size_t operator()(const FourTuple& t) const;
  };
  struct HashAddress {
    size_t operator()(const wire::IpAddress& a) const;
  };
  struct HashEndpoint {
    size_t operator()(const wire::Endpoint& e) const;
  };
  struct Connection {
    uint64_t id = 0;
    std::unique_ptr<App> app;
    std::unique_ptr<TcpEndpoint> endpoint;
    Instant wake_at = kNever;
  };
  struct Neighbour {
    std::optional<wire::MacAddress> mac;
    unsigned tries = 0;
    std::vector<std::vector<uint8_t>> waiting;  // frames without a destination MAC yet
  };

  // host.cc
  Connection& add_connection(const FourTuple& key, const TcpOptions& options,
                             std::unique_ptr<App> app);
  void remove(const FourTuple& key);
  void settle(const FourTuple& key, Connection& connection, Instant now);
  void wake(const FourTuple& key, uint64_t id, Instant now);
  void receive_segment(const Segment& segment, Instant now);
  void receive_syn(const Segment& syn, const Listener& listener, Instant now);
  void accept(const Segment& syn, SynVerdict verdict, Instant now);
  void receive_stray(const Segment& segment, Instant now);
  void challenge(const FourTuple& key, Instant now);

  // host_frames.cc
  void receive_ip(const Frame& frame, Instant now);
  void receive_resolution(const Frame& frame, Instant now);
  void check_source_mac(const Segment& segment, base::Bytes frame, Instant now);
  void ask(const wire::IpAddress& address);
  void deliver_waiting(Neighbour& neighbour);
  [[nodiscard]] wire::IpAddress next_hop(const wire::IpAddress& destination) const;
  [[nodiscard]] bool owns(const wire::IpAddress& address) const;
  void complain(Fault kind, Instant now, const std::string& text);

  World& world_;
  HostConfig config_;
  Random random_;
  HostCounters counters_;
  uint64_t next_id_ = 1;
  uint16_t ip_id_ = 0;
  std::unordered_map<FourTuple, Connection, HashFourTuple> connections_;
  std::unordered_map<FourTuple, base::Seq32, HashFourTuple> challenged_;  // the ACK we claimed
  // SYNs accepted: a duplicate that comes when the connection is over opens no other.
  struct AcceptedSyn {
    base::Seq32 seq;
    Instant at;
  };
  std::unordered_map<FourTuple, AcceptedSyn, HashFourTuple> accepted_;
  std::unordered_set<FourTuple, HashFourTuple> opening_;  // a delayed SYN-ACK is on its way
  std::unordered_set<FourTuple, HashFourTuple> silent_;   // of connections that vanished
  std::unordered_map<wire::Endpoint, Listener, HashEndpoint> listeners_;
  std::unordered_map<wire::IpAddress, Neighbour, HashAddress> neighbours_;
};

}  // namespace mqlb::sim
