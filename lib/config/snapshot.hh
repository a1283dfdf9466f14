// The configuration as data cores read it: immutable, indexed by small stable ids.
//
// compile() makes one from a valid Model; control publishes it by pointer and frees the previous
// one when every core has passed a quiescent state. Flows keep ids, so an id means the same object
// in every later snapshot for as long as a flow may hold it: an object that the operator removed
// stays, marked retired, until its id is reported unused. Ids of live flows therefore always index
// safely.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/time.hh"
#include "lib/config/model.hh"
#include "lib/maglev/maglev.hh"

namespace mqlb::config {

// Ids index the vectors of a Snapshot. Limits size the per-core counter arrays.
using PortId = uint8_t;
using ListenerId = uint16_t;
using PoolId = uint16_t;
using BackendId = uint16_t;
using SnatId = uint16_t;     // one SNAT address
using NextHopId = uint16_t;  // one neighbour that packets to brokers are sent to

inline constexpr size_t kMaxPorts = 16;
inline constexpr size_t kMaxListeners = 256;
inline constexpr size_t kMaxPools = 256;
inline constexpr size_t kMaxBackends = 2048;
inline constexpr size_t kMaxSnats = 1024;
inline constexpr size_t kMaxNextHops = 1024;

struct PortEntry {
  std::string name;
  std::string device;
  PortRole role = PortRole::both;
  uint16_t mtu = 1500;
  std::vector<wire::Prefix> addresses;
};

struct NextHopEntry {
  wire::IpAddress address;
  PortId port = 0;
  wire::IpAddress source;  // the port's own address on that network, to ask from
  bool retired = false;
};

struct BackendEntry {
  std::string name;
  PoolId pool = 0;
  wire::Endpoint endpoint;
  uint32_t weight = 1;
  AdminState state = AdminState::up;
  uint32_t drain_rate = 0;
  bool backup = false;
  uint32_t max_connections = 0;
  NextHopId next_hop = 0;
  PortId port = 0;
  bool retired = false;
  bool fresh = false;  // added lately, and not known to have all of its clients yet
};

struct SnatEntry {
  wire::IpAddress address;
  uint16_t first_port = 1024;
  uint16_t last_port = 65535;
  bool retired = false;
};

struct PoolEntry {
  std::string name;
  KeyPolicy key = KeyPolicy::client_id;
  KeyPolicy fallback = KeyPolicy::source_address;
  ProxyProtocol proxy_protocol = ProxyProtocol::none;
  bool proxy_crc32c = false;
  bool proxy_unique_id = false;
  uint64_t hash_seed = 0;
  uint32_t connect_tries = 3;
  base::Duration connect_timeout{};
  base::Duration answer_timeout{};  // from SYN-ACK to first byte; 0: any time
  base::Duration slow_start{};
  uint32_t load_factor = 0;
  uint32_t close_rate = 500;
  CloseOnDown close_on_down = CloseOnDown::on;
  uint32_t max_fails = 1;
  base::Duration fail_timeout{};
  std::vector<SnatId> snats;
  std::vector<BackendId> backends;  // index in the Maglev table -> id
  maglev::Table table;              // empty when the pool has no backend
  maglev::Table settled;            // without those that are fresh; empty if none or all are
  bool retired = false;
  Check check{};
};

struct RuleEntry {
  std::string name;
  std::string client_id, user_name;  // patterns; empty: any
  std::optional<mqtt::Version> version;
  PoolId pool = 0;

  [[nodiscard]] bool is_met_by(const mqtt::Connect& connect) const;
};

struct ListenerEntry {
  std::string name;
  wire::Endpoint endpoint;
  PoolId pool = 0;               // of clients that meet no rule
  std::vector<RuleEntry> rules;  // the first that is met decides
  ListenerMode mode = ListenerMode::mqtt;
  base::Duration idle_timeout{};  // in mode tcp
  uint32_t max_connect_bytes = 16384;
  base::Duration connect_deadline{};
  AdmissionEntry admission;
  uint16_t backend_mtu = 1500;  // smallest MTU of the ports its brokers are reached by
  bool retired = false;

  // The first rule that a client meets, or null.
  [[nodiscard]] const RuleEntry* rule_for(const mqtt::Connect& connect) const;
  // Where a client goes.
  [[nodiscard]] PoolId pool_for(const mqtt::Connect& connect) const;
  // All pools that clients may go to; one may be there twice.
  [[nodiscard]] std::vector<PoolId> pools() const;
};

struct Snapshot {
  uint64_t version = 0;          // counts compiles, from 1
  std::vector<PortEntry> ports;  // index: position in Model::ports, never changes after start
  std::vector<ListenerEntry> listeners;
  std::vector<PoolEntry> pools;
  std::vector<BackendEntry> backends;
  std::vector<SnatEntry> snats;
  std::vector<NextHopEntry> next_hops;
  Settings settings;
};

// What the running balancer knows of ids: whether any core still holds flows of a retired object,
// so that its id may be used again, and which backends have been added and never had all of their
// clients since.
struct IdUse {
  std::function<bool(ListenerId)> listener;
  std::function<bool(BackendId)> backend;
  std::function<bool(SnatId)> snat;
  std::function<bool(BackendId)> fresh{};
};

// model: valid. previous: the snapshot now in force on every core, or null at start. Objects are
// the same if their identity is: listener (name, endpoint), pool (name), backend (pool, name,
// endpoint), SNAT address, next hop (address, port). An id is given to another object only if
// `previous` had it retired already and in_use denies it; without in_use it never is. Listeners and
// SNAT addresses of which that is true have no address any more. A backend that `previous` does not
// have, or has retired, is fresh if something keeps it from its clients at first. Fails when a
// limit above is reached.
[[nodiscard]] base::Result<std::unique_ptr<const Snapshot>> compile(const Model& model,
                                                                    const Snapshot* previous,
                                                                    const IdUse& in_use);

}  // namespace mqlb::config
