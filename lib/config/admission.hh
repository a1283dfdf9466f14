// Whom a listener lets in: what the operator says of it, and the form that data cores read.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/admission/prefix_set.hh"
#include "lib/admission/source_table.hh"
#include "lib/base/result.hh"

namespace mqlb::config {

// New connections per second, of which `burst` may come at once.
struct RateLimit {
  uint32_t rate = 0;   // 0: no limit
  uint32_t burst = 0;  // 0: as many as come in a second

  friend bool operator==(const RateLimit&, const RateLimit&) = default;
};

// What a client meets that is turned away before its CONNECT was read. silent: nothing, so that its
// TCP tries again after a while.
enum class Refusal : uint8_t { silent, reset };

struct Admission {
  uint32_t max_connections = 0;  // of the listener at once; 0: any number
  RateLimit connect_rate;        // of the listener
  // A source is an address, or all with the same first bits.
  uint32_t source_connections = 0;  // 0: any number
  RateLimit source_rate;
  uint8_t source_v4_bits = 32;
  uint8_t source_v6_bits = 64;  // what one subscriber has
  // One Client ID may connect so often in a period; 0: any number of times.
  uint32_t client_id_connects = 0;
  std::chrono::seconds client_id_period{60};
  Refusal refuse = Refusal::silent;
  std::vector<wire::Prefix> allow{};  // empty: everybody
  std::vector<wire::Prefix> deny{};   // goes before `allow`

  friend bool operator==(const Admission&, const Admission&) = default;
};

struct AdmissionEntry {
  uint32_t max_connections = 0;
  admission::Rate connect_rate;
  admission::SourceLimits source;
  uint8_t source_v4_bits = 32;
  uint8_t source_v6_bits = 64;
  admission::Rate client_id_rate;
  Refusal refuse = Refusal::silent;
  admission::PrefixSet allow;
  admission::PrefixSet deny;
  bool asks = false;  // something above but the Client ID's rate may turn a client away

  [[nodiscard]] bool lists(const wire::IpAddress& client) const {
    return !deny.contains(client) && (allow.empty() || allow.contains(client));
  }
  [[nodiscard]] bool counts_sources() const {
    return source.connections != 0 || source.rate.interval != 0;
  }
  // How many bits of an address say which source it is.
  [[nodiscard]] uint8_t source_bits(const wire::IpAddress& client) const {
    return client.is_v4() ? source_v4_bits : source_v6_bits;
  }
};

[[nodiscard]] std::string_view to_string(Refusal refusal);

// owner: how messages name the listener.
[[nodiscard]] base::Result<void> validate_admission(const Admission& admission,
                                                    const std::string& owner);
[[nodiscard]] AdmissionEntry compile_admission(const Admission& admission);

}  // namespace mqlb::config
