// The configuration as the operator wrote it: plain values, owned by the control thread.
//
// Commands edit a copy of the Model; validate() says what is wrong with it as a whole; compile()
// (snapshot.hh) turns it into the immutable form that data cores read.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hh"
#include "lib/config/admission.hh"
#include "lib/config/check.hh"
#include "lib/mqtt/connect.hh"
#include "lib/wire/address.hh"

namespace mqlb::config {

enum class PortRole : uint8_t { client, backend, both };
enum class CoreRole : uint8_t { worker, proxy, both };
// What picks a client's backend: the hash of something that it says or is, or the backends' turn or
// load. spread: the hash of its whole address and port, another one for each connection.
enum class KeyPolicy : uint8_t {
  client_id,
  user_name,
  source_address,
  spread,
  round_robin,
  least_connections,
};
enum class ProxyProtocol : uint8_t { none, v1, v2 };
enum class PollMode : uint8_t { busy, adaptive };
// What the operator wants of a backend. drain: no new client while there is another backend;
// maintenance: none at all, and its flows are closed; down: as if its checks had failed.
enum class AdminState : uint8_t { up, drain, maintenance, down };

// Whether a backend that is down has its flows closed. unanswered: unless its broker says itself,
// in answer to a check, that it takes nobody, since it is leaving and moves its clients.
enum class CloseOnDown : uint8_t { off, on, unanswered };

struct Port {
  std::string name;
  std::string device;  // DPDK device name: a PCI address, or a vdev such as net_af_packet0
  PortRole role = PortRole::both;
  uint16_t mtu = 1500;  // bytes of IP packet
  std::vector<wire::Prefix> addresses;

  friend bool operator==(const Port&, const Port&) = default;
};

struct Core {
  unsigned lcore = 0;
  CoreRole role = CoreRole::both;

  friend bool operator==(const Core&, const Core&) = default;
};

struct Route {
  wire::Prefix prefix;
  wire::IpAddress gateway;

  friend bool operator==(const Route&, const Route&) = default;
};

// Source addresses and ports toward the brokers.
struct SnatPool {
  std::string name;
  std::vector<wire::IpAddress> addresses;
  uint16_t first_port = 1024;
  uint16_t last_port = 65535;

  friend bool operator==(const SnatPool&, const SnatPool&) = default;
};

struct Backend {
  std::string name;  // unique within its pool
  wire::Endpoint endpoint;
  uint32_t weight = 1;  // 1 to 1000
  AdminState state = AdminState::up;
  uint32_t drain_rate = 0;       // flows closed per second while it drains; 0: they stay
  bool backup = false;           // used when no other backend is left
  uint32_t max_connections = 0;  // 0: any number

  friend bool operator==(const Backend&, const Backend&) = default;
};

struct Pool {
  std::string name;
  KeyPolicy key = KeyPolicy::client_id;
  // For a client whose key is empty (an empty Client ID, MQTT 3.1.1 section 3.1.3.1).
  KeyPolicy fallback = KeyPolicy::source_address;
  ProxyProtocol proxy_protocol = ProxyProtocol::none;
  bool proxy_crc32c = false;     // v2 only
  bool proxy_unique_id = false;  // v2 only
  std::string snat;              // name of a SnatPool
  uint32_t table_size = 65537;   // Maglev slots: a prime
  uint64_t hash_seed = 0;
  uint32_t connect_tries = 3;                       // brokers tried for one client, 1 to 16
  std::chrono::milliseconds connect_timeout{1000};  // for one try
  std::chrono::milliseconds answer_timeout{0};      // then, to the first byte; 0: any time
  Check check;
  std::chrono::seconds slow_start{0};  // until a backend that returns has its share
  uint32_t load_factor = 0;   // percent of its share of the pool's load; above, it passes on; 0: no
  uint32_t close_rate = 500;  // flows closed per second, of a backend down or in maintenance
  CloseOnDown close_on_down = CloseOnDown::on;
  // So many failures of connections within the time make a backend down for as long; 0: never.
  uint32_t max_fails = 1;
  std::chrono::milliseconds fail_timeout{10000};
  std::vector<Backend> backends;

  friend bool operator==(const Pool&, const Pool&) = default;
};

// What listeners read of a client before they pick its backend: its CONNECT; or nothing, so that
// what is not MQTT to us (TLS above all) passes.
enum class ListenerMode : uint8_t { mqtt, tcp };

// Sends clients to another pool than the listener's own, by what their CONNECT says. All that is
// set must be met.
struct Rule {
  std::string name;  // unique within its listener
  std::string pool;
  std::string client_id;  // patterns (base::matches_glob); empty: any
  std::string user_name;
  std::optional<mqtt::Version> version;

  friend bool operator==(const Rule&, const Rule&) = default;
};

struct Listener {
  std::string name;
  wire::Endpoint endpoint;
  std::string pool;
  uint32_t max_connect_bytes = 16384;                 // a whole CONNECT packet
  std::chrono::milliseconds connect_deadline{10000};  // from handshake to complete CONNECT
  ListenerMode mode = ListenerMode::mqtt;
  std::chrono::seconds idle_timeout{0};  // of flows in mode tcp; 0: the settings' idle_max
  std::vector<Rule> rules;               // the first that is met decides
  Admission admission{};

  friend bool operator==(const Listener&, const Listener&) = default;
};

struct Settings {
  PollMode poll = PollMode::adaptive;
  std::chrono::microseconds poll_pause{70};  // of an idle core that no frame wakes
  // Flows end after 1.5 x keep alive, but never before idle_floor; with keep alive 0 after
  // idle_max.
  std::chrono::seconds idle_floor{120};
  std::chrono::seconds idle_max{86400};
  std::chrono::seconds closing_timeout{10};      // both FINs acknowledged, or a RST passed
  std::chrono::seconds half_close_timeout{300};  // one FIN seen
  std::chrono::seconds snat_quarantine{60};      // before a SNAT port is used again
  uint32_t max_flows = 100000;                   // per worker; only before start
  uint32_t max_connecting = 16384;               // per worker: clients between handshake and splice
  uint32_t rst_per_second = 1000;                // RSTs for unknown flows, per core

  friend bool operator==(const Settings&, const Settings&) = default;
};

struct Model {
  std::vector<Port> ports;
  std::vector<Core> cores;
  std::vector<Route> routes;
  std::vector<SnatPool> snat_pools;
  std::vector<Pool> pools;
  std::vector<Listener> listeners;
  Settings settings;

  friend bool operator==(const Model&, const Model&) = default;
};

[[nodiscard]] std::string_view to_string(PortRole role);
[[nodiscard]] std::string_view to_string(CoreRole role);
[[nodiscard]] std::string_view to_string(KeyPolicy key);
[[nodiscard]] std::string_view to_string(ProxyProtocol version);
[[nodiscard]] std::string_view to_string(PollMode mode);
[[nodiscard]] std::string_view to_string(AdminState state);
[[nodiscard]] std::string_view to_string(CloseOnDown when);
[[nodiscard]] std::string_view to_string(ListenerMode mode);

// A word that can name an object: letters, digits, '.', '_' and '-', at most kMaxName.
[[nodiscard]] bool is_name(std::string_view text);

// Checks everything that one object cannot check alone: references, duplicates, reachability of
// brokers and gateways, addresses that mean two things. The message names the object.
[[nodiscard]] base::Result<void> validate(const Model& model);

// Refuses what can be configured but is not served yet.
[[nodiscard]] base::Result<void> check_supported(const Model& model);

}  // namespace mqlb::config
