// What the command interpreter asks of the running daemon: configuration changes and live state.
//
// Implemented by the daemon (over DPDK) and by a fake in unit tests. Called on the control thread
// only. Values are copies: nothing here points into what a data core owns.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.hh"
#include "lib/config/model.hh"

namespace mqlb::cli {

// A named value with a line of explanation; zero values are listed too.
struct CounterRow {
  std::string group;  // "drop", "end", "event"
  std::string name;
  std::string help;
  uint64_t value = 0;
};

struct PortRow {
  std::string name, device, role, mac, link;
  uint16_t mtu = 0;
  uint64_t rx_packets = 0, rx_bytes = 0, rx_missed = 0, rx_errors = 0;
  uint64_t tx_packets = 0, tx_bytes = 0, tx_full = 0;  // tx_full: frames the port had no room for
  // How what it receives gets to the cores that own it: one-core, one-queue, hand-over, rss,
  // rss-mismatch.
  std::string spread;
  uint64_t missteered = 0;  // frames that came to another core than RSS should bring them to
};

struct CoreRow {
  unsigned lcore = 0;
  std::string role;
  uint64_t loops = 0, idle_loops = 0, rx_packets = 0, handed_over = 0, flows = 0, connecting = 0;
};

// Packet buffers; those in no core's hands are free.
struct BufferRow {
  std::string pool;
  uint64_t size = 0, in_use = 0;
};

struct NeighbourRow {
  std::string port, address, mac, state;  // state: resolved, resolving
  uint32_t age_seconds = 0;
};

struct BackendRow {
  std::string pool, name, endpoint, state;  // state: up, down, drain, maintenance, retired
  uint32_t weight = 0;
  double share = 0;  // of the pool's table, 0 to 1
  uint64_t flows = 0, selected = 0, connect_failures = 0, established = 0;
  uint64_t bytes_to_backend = 0, bytes_to_client = 0;
  bool backup = false;
  uint64_t max_connections = 0;
  uint64_t since_seconds = 0;  // in the state
  uint32_t taking = 100;       // percent of its clients, in slow start
  uint64_t closed = 0;         // flows closed since it is in the state
  std::string why{};
};

// Of a backend that is checked.
struct HealthRow {
  std::string pool, backend, checked;  // checked: the endpoint that is asked
  std::string check, state;            // state: up, down
  uint64_t since_seconds = 0;
  std::string last, why;  // last: passed, failed, none
  uint64_t took_us = 0, ago_ms = 0;
  uint64_t checks = 0, fails = 0;
  uint32_t toward_change = 0, needed = 0;  // results in a row against the state
  std::string options;                     // TCP options of the latest SYN-ACK
};

struct ListenerRow {
  std::string name, endpoint, pool, state;
  uint64_t flows = 0, accepted = 0, spliced = 0, refused = 0;
  std::string mode{};
  uint64_t denied = 0, over_limit = 0, over_source_limit = 0, over_client_id_rate = 0;
  uint64_t connections = 0;  // now, as max-connections counts them
};

// A Client ID that connected more than once in the last minute.
struct ClientIdRow {
  std::string listener, client_id;  // client_id: printable, cut
  std::string state;                // fight: of several addresses; refused: too often; busy
  uint64_t connects = 0;            // in the last minute
  uint64_t switches = 0;            // connects from another address than just before
  uint64_t refused = 0;
  uint64_t sources = 0;  // addresses that it came from lately
  std::string last_source, other_source;
  uint64_t since_seconds = 0, ago_seconds = 0;
};

// A source that a listener turned away by its lists or by the limits of sources.
struct SourceRow {
  std::string listener, source;             // source: a prefix
  std::string reason;                       // of the latest refusal: denied, full, rate
  uint64_t denied = 0, full = 0, rate = 0;  // segments refused, by reason
  uint64_t last_minute = 0;                 // of them, about
  uint64_t connections = 0;                 // now, as source-connections counts them
  uint64_t since_seconds = 0, ago_seconds = 0;
};

struct SnatRow {
  std::string pool, address, ports;
  std::string backend;  // use is counted per (address, backend)
  uint64_t in_use = 0, quarantined = 0, capacity = 0;

  // A port in quarantine is as good as in use to a new client.
  [[nodiscard]] uint64_t used_percent() const {
    return capacity == 0 ? 100 : (in_use + quarantined) * 100 / capacity;
  }
  [[nodiscard]] std::string_view state() const {
    constexpr uint64_t kWarning = 80;
    if (in_use + quarantined >= capacity) return "exhausted";
    return used_percent() >= kWarning ? "warning" : "ok";
  }
};

struct FlowRow {
  std::string client, listener, pool, backend, snat, state;
  uint64_t client_id_hash = 0;
  uint64_t bytes_to_backend = 0, bytes_to_client = 0;
  uint32_t idle_seconds = 0, timeout_seconds = 0;
};

struct FlowFilter {
  std::optional<uint64_t> client_id_hash;
  std::string backend;   // empty: any
  std::string listener;  // empty: any
  size_t limit = 100;
};

// What a client would say. listener: its rules choose the pool; else `pool`, empty if there is just
// one.
struct RouteQuery {
  std::string listener, pool;
  std::string client_id, user_name;
  mqtt::Version version = mqtt::Version::v3_1_1;
};

struct RouteAnswer {
  std::string pool, backend, endpoint;
  uint64_t hash = 0;
  std::vector<std::string> next;           // who is tried when it does not answer, in order
  uint64_t slot = 0;                       // of the pool's table
  std::vector<std::string> passed_over{};  // "NAME: why", in the table's order
  std::string rule{};                      // of the listener, that chose the pool
  std::string because{};                   // where the backend stands; empty if there is none
};

class Runtime {
 public:
  virtual ~Runtime() = default;

  // The configuration in force (before start: as read so far).
  [[nodiscard]] virtual const config::Model& model() const = 0;
  // Validates, compiles and publishes; on failure nothing changes. Before the start it only keeps
  // the model. Ports and cores can not change after the start: an error says so.
  [[nodiscard]] virtual base::Result<void> apply(const config::Model& model) = 0;

  [[nodiscard]] virtual std::vector<CounterRow> counters() = 0;
  [[nodiscard]] virtual std::vector<PortRow> ports() = 0;
  [[nodiscard]] virtual std::vector<CoreRow> cores() = 0;
  [[nodiscard]] virtual std::vector<BufferRow> buffers() = 0;
  [[nodiscard]] virtual std::vector<NeighbourRow> neighbours() = 0;
  [[nodiscard]] virtual std::vector<BackendRow> backends() = 0;
  [[nodiscard]] virtual std::vector<HealthRow> health() = 0;
  [[nodiscard]] virtual std::vector<ListenerRow> listeners() = 0;
  // The busiest, fights first.
  [[nodiscard]] virtual std::vector<ClientIdRow> client_ids() = 0;
  // All that are known, the busiest first.
  [[nodiscard]] virtual std::vector<SourceRow> sources() = 0;
  [[nodiscard]] virtual std::vector<SnatRow> snats() = 0;
  [[nodiscard]] virtual std::vector<FlowRow> flows(const FlowFilter& filter) = 0;
  // Where a client goes now.
  [[nodiscard]] virtual base::Result<RouteAnswer> route(const RouteQuery& query) = 0;
  // Asks the daemon to stop in order.
  virtual void request_stop() = 0;
};

}  // namespace mqlb::cli
