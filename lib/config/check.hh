// How the brokers of a pool are checked, and which SNAT ports the checks leave from.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "lib/base/result.hh"

namespace mqlb::config {

enum class CheckKind : uint8_t { none, tcp, mqtt, http };
// What a broker counts as before its first check has ended; that one decides at once.
enum class CheckInitial : uint8_t { up, down };
enum class CheckMqtt : uint8_t { v3_1_1, v5 };

struct Check {
  CheckKind kind = CheckKind::none;
  std::chrono::milliseconds interval{5000};  // from start to start; jitter only shortens it
  std::chrono::milliseconds timeout{2000};   // for a whole check
  uint32_t rise = 2;                         // passed in a row until a broker is up again
  uint32_t fall = 3;                         // failed in a row until it is down
  // A balancer that starts, or a pool that is checked from now on, serves at once.
  CheckInitial initial = CheckInitial::up;
  CheckMqtt mqtt_version = CheckMqtt::v3_1_1;
  std::string user;                       // empty: none
  std::string password;                   // empty: none
  std::string client_id = "mqlb-check-";  // what is unique is appended
  // Where EMQX says whether a balancer should send it clients.
  uint16_t http_port = 18083;
  std::string http_path = "/api/v5/load_rebalance/availability_check";
  uint16_t http_status = 200;

  friend bool operator==(const Check&, const Check&) = default;
};

[[nodiscard]] std::string_view to_string(CheckKind kind);
[[nodiscard]] std::string_view to_string(CheckInitial initial);
[[nodiscard]] std::string_view to_string(CheckMqtt version);

// owner: how messages name the pool.
[[nodiscard]] base::Result<void> validate_check(const Check& check, const std::string& owner);

// The last ports of a SNAT range are the checks', never a client's: few, so that a small range
// keeps nearly all of its ports, and the smallest have none.
inline constexpr unsigned kMostCheckPorts = 8;
inline constexpr unsigned kPortsPerCheckPort = 32;

[[nodiscard]] constexpr uint16_t check_port_count(uint16_t first, uint16_t last) {
  const unsigned ports = first <= last ? unsigned{last} - first + 1 : 0;
  return static_cast<uint16_t>(std::min(kMostCheckPorts, ports / kPortsPerCheckPort));
}

[[nodiscard]] constexpr bool is_check_port(uint16_t first, uint16_t last, uint16_t port) {
  return port <= last && unsigned{last} - port < check_port_count(first, last);
}

}  // namespace mqlb::config
