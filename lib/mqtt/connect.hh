// The MQTT CONNECT packet, read as far as routing needs and checked as strictly as the
// specifications ask: MQTT 3.1 (MQIsdp), 3.1.1 (OASIS, section 3.1) and 5.0 (OASIS, section 3.1).
//
// A pure function over bytes: no state, no allocation. Views in the result point into the input.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "lib/base/bytes.hh"

namespace mqlb::mqtt {

enum class Version : uint8_t { v3_1 = 3, v3_1_1 = 4, v5_0 = 5 };

struct Connect {
  Version version = Version::v3_1_1;
  base::Bytes client_id;  // at most 65,535 bytes, may be empty
  base::Bytes user_name;  // empty when absent
  bool has_user_name = false;
  bool clean_start = false;  // Clean Session before 5.0
  uint16_t keep_alive = 0;   // seconds, 0: none
  uint32_t size = 0;         // bytes of the whole packet, fixed header included
};

// The bytes so far are the beginning of a packet that may still be good.
struct NeedMore {
  // Bytes that the whole packet has, fixed header included; 0 while its length is unknown.
  uint32_t total = 0;
};

enum class Malformed : uint8_t {
  not_connect,         // first packet is another MQTT packet type, or no MQTT at all
  fixed_header_flags,  // reserved bits of the first byte not 0
  remaining_length,    // over four bytes, not the shortest form (5.0), or too small for a CONNECT
  protocol_name,       // neither "MQTT" nor "MQIsdp"
  protocol_version,    // unknown level, or a level that does not go with the name
  connect_flags,       // reserved bit set, will QoS 3, will bits without will, password alone (3.x)
  properties,          // unknown, duplicate or cut property, or a value that is an error (5.0)
  string_encoding,     // ill-formed UTF-8 or U+0000 (MQTT-1.5.4-1, -2)
  client_id,           // empty without clean session (3.1.1); 3.1 lets any length pass
  truncated,           // a field runs past the remaining length
  trailing_bytes,      // bytes after the last field
};

// One lower-case word-with-dashes for counters and messages.
[[nodiscard]] std::string_view to_string(Malformed reason);
[[nodiscard]] std::string_view to_string(Version version);

using ConnectResult = std::variant<Connect, NeedMore, Malformed>;

// Reads a CONNECT from the beginning of `bytes`; what follows the packet is left alone. Malformed
// is reported as soon as the bytes at hand show it, and no later byte changes the answer; a Connect
// only when the whole packet is at hand.
[[nodiscard]] ConnectResult parse_connect(base::Bytes bytes);

// Why a client is not served now. Before 5.0 there is one code for all.
enum class Unavailable : uint8_t {
  server_unavailable = 0x88,
  server_busy = 0x89,
  connection_rate_exceeded = 0x9f,  // a rate is
};

// The CONNACK that says so in the client's version: return code 3, or the reason (5.0, section
// 3.2.2.2). At most kMaxConnack bytes; returns how many were written.
inline constexpr size_t kMaxConnack = 5;
size_t encode_connack_unavailable(Version version, base::MutableBytes out,
                                  Unavailable why = Unavailable::server_unavailable);

}  // namespace mqlb::mqtt
