#include "lib/mqtt/connect.hh"

#include "lib/mqtt/cursor.hh"
#include "lib/mqtt/properties.hh"

namespace mqlb::mqtt {
namespace {

// The smallest CONNECT there is: 3.1.1, with an empty Client ID.
constexpr uint32_t kMinRemainingLength = 12;

constexpr uint8_t kConnectType = 1;
constexpr uint8_t kBridgeBit = 0x80;

// The Connect Flags byte, section 3.1.2.3 of 3.1.1 and 5.0.
struct Flags {
  uint8_t bits = 0;

  [[nodiscard]] bool reserved() const { return (bits & 0x01) != 0; }
  [[nodiscard]] bool clean() const { return (bits & 0x02) != 0; }
  [[nodiscard]] bool will() const { return (bits & 0x04) != 0; }
  [[nodiscard]] unsigned will_qos() const { return (bits >> 3) & 3U; }
  [[nodiscard]] bool will_retain() const { return (bits & 0x20) != 0; }
  [[nodiscard]] bool password() const { return (bits & 0x40) != 0; }
  [[nodiscard]] bool user_name() const { return (bits & 0x80) != 0; }
};

Place last_unless(bool more) { return more ? Place::inner : Place::last; }

// Sets `size` once it is known. Whether the length had to be minimal depends on the version.
bool read_fixed_header(Cursor& cursor, uint32_t& size, bool& minimal) {
  uint8_t first = 0;
  if (!cursor.u8(first)) return false;
  if (first >> 4 != kConnectType) return cursor.refuse(Malformed::not_connect);  // MQTT-3.1.0-1
  // MQTT-2.1.3-1; 3.1.1: MQTT-2.2.2-1, -2. MQTT 3.1 only calls these bits unused: refused too, as
  // no client is known to set them.
  if ((first & 0x0f) != 0) return cursor.refuse(Malformed::fixed_header_flags);
  VarInt length;
  if (!cursor.var_int(length, Malformed::remaining_length)) return false;
  if (length.value < kMinRemainingLength) return cursor.refuse(Malformed::remaining_length);
  minimal = length.minimal;
  size = static_cast<uint32_t>(cursor.position()) + length.value;
  cursor.limit(size);
  return true;
}

// Byte by byte, so that a wrong one shows when it is there.
bool read_protocol_name(Cursor& cursor, bool& is_mqisdp) {
  uint8_t b = 0;
  if (!cursor.u8(b)) return false;
  if (b != 0) return cursor.refuse(Malformed::protocol_name);
  if (!cursor.u8(b)) return false;
  is_mqisdp = b == 6;
  const std::string_view name = is_mqisdp ? "MQIsdp" : "MQTT";
  if (b != name.size()) return cursor.refuse(Malformed::protocol_name);
  for (const char expected : name) {
    if (!cursor.u8(b)) return false;
    if (b != static_cast<uint8_t>(expected)) return cursor.refuse(Malformed::protocol_name);
  }
  return true;
}

bool read_version(Cursor& cursor, Version& version) {
  bool is_mqisdp = false;
  uint8_t level = 0;
  if (!read_protocol_name(cursor, is_mqisdp) || !cursor.u8(level)) return false;
  // A deviation: bridges of mosquitto set the high bit with 3.1 and 3.1.1 (0x83, 0x84) to tell the
  // broker what they are. MQTT-3.1.2-2 has it refused; but brokers take it, and to refuse here
  // would only keep bridges from working through the balancer.
  const bool is_bridge = (level & kBridgeBit) != 0;
  const int plain = level & ~kBridgeBit;
  if (is_mqisdp && plain == 3) {
    version = Version::v3_1;
  } else if (!is_mqisdp && plain == 4) {
    version = Version::v3_1_1;
  } else if (!is_mqisdp && plain == 5 && !is_bridge) {
    version = Version::v5_0;
  } else {
    return cursor.refuse(Malformed::protocol_version);
  }
  return true;
}

// MQTT 3.1 says less of reserved and will bits than its successors, but means the same.
bool flags_are_valid(Flags flags, Version version) {
  if (flags.reserved()) return false;  // MQTT-3.1.2-3
  // MQTT-3.1.2-11, -13; 3.1.1: MQTT-3.1.2-13, -15
  if (!flags.will() && (flags.will_qos() != 0 || flags.will_retain())) return false;
  if (flags.will_qos() == 3) return false;  // MQTT-3.1.2-12; 3.1.1: MQTT-3.1.2-14
  // 3.1.1: MQTT-3.1.2-22. MQTT 5 dropped the rule (section 3.1.2.9).
  return version == Version::v5_0 || flags.user_name() || !flags.password();
}

bool read_variable_header(Cursor& cursor, bool minimal, Connect& connect, Flags& flags) {
  if (!read_version(cursor, connect.version)) return false;
  const bool is_v5 = connect.version == Version::v5_0;
  // MQTT-1.5.5-1; earlier versions do not ask for the shortest form.
  if (is_v5 && !minimal) return cursor.refuse(Malformed::remaining_length);
  if (!cursor.u8(flags.bits)) return false;
  if (!flags_are_valid(flags, connect.version)) return cursor.refuse(Malformed::connect_flags);
  connect.clean_start = flags.clean();
  if (!cursor.be16(connect.keep_alive)) return false;
  return !is_v5 || skip_properties(cursor, PropertySet::connect);
}

// The length rules: 3.1 asks for 1 to 23 characters, but brokers take others, and so does this.
// An empty one needs a clean session in 3.1.1 (MQTT-3.1.3-7), not in 5.0 (section 3.1.3.1), where
// the broker assigns one (MQTT-3.1.3-6).
//
// A deviation: MQTT-3.1.3-8 of 3.1.1 answers CONNACK 2 first; here, as with anything malformed, the
// connection is closed without.
bool read_client_id(Cursor& cursor, Flags flags, Connect& connect) {
  const bool more = flags.will() || flags.user_name() || flags.password();
  if (!cursor.text(connect.client_id, last_unless(more))) return false;
  if (connect.version == Version::v3_1_1 && connect.client_id.empty() && !connect.clean_start) {
    return cursor.refuse(Malformed::client_id);
  }
  return true;
}

// Whether the topic is one to publish to is for the broker to judge.
bool skip_will(Cursor& cursor, Flags flags, Version version) {
  base::Bytes skipped;
  if (version == Version::v5_0 && !skip_properties(cursor, PropertySet::will)) return false;
  return cursor.text(skipped) &&
         cursor.binary(skipped, last_unless(flags.user_name() || flags.password()));
}

// In MQTT 3.1 the Remaining Length goes before these two flags (its section 3.1, "User name and
// password flags"): the packet may end where a flagged string would begin. Passwords are bytes
// since 3.1.1, and not looked at as text in 3.1 either.
bool read_user_name_and_password(Cursor& cursor, Flags flags, Connect& connect) {
  const bool may_miss = connect.version == Version::v3_1;
  if (flags.user_name() && !(may_miss && cursor.at_end())) {
    if (!cursor.text(connect.user_name, last_unless(flags.password()))) return false;
    connect.has_user_name = true;
  }
  if (flags.password() && !(may_miss && cursor.at_end())) {
    base::Bytes skipped;
    if (!cursor.binary(skipped, Place::last)) return false;
  }
  return cursor.at_end() || cursor.refuse(Malformed::trailing_bytes);
}

bool read_connect(Cursor& cursor, Connect& connect) {
  bool minimal = true;
  Flags flags;
  return read_fixed_header(cursor, connect.size, minimal) &&
         read_variable_header(cursor, minimal, connect, flags) &&
         read_client_id(cursor, flags, connect) &&
         (!flags.will() || skip_will(cursor, flags, connect.version)) &&
         read_user_name_and_password(cursor, flags, connect);
}

}  // namespace

ConnectResult parse_connect(base::Bytes bytes) {
  Cursor cursor(bytes);
  Connect connect;
  if (read_connect(cursor, connect)) return connect;
  if (cursor.refused()) return *cursor.refused();
  return NeedMore{connect.size};
}

std::string_view to_string(Malformed reason) {
  switch (reason) {
    case Malformed::not_connect:
      return "not-connect";
    case Malformed::fixed_header_flags:
      return "fixed-header-flags";
    case Malformed::remaining_length:
      return "remaining-length";
    case Malformed::protocol_name:
      return "protocol-name";
    case Malformed::protocol_version:
      return "protocol-version";
    case Malformed::connect_flags:
      return "connect-flags";
    case Malformed::properties:
      return "properties";
    case Malformed::string_encoding:
      return "string-encoding";
    case Malformed::client_id:
      return "client-id";
    case Malformed::truncated:
      return "truncated";
    case Malformed::trailing_bytes:
      return "trailing-bytes";
  }
  return "unknown";
}

std::string_view to_string(Version version) {
  switch (version) {
    case Version::v3_1:
      return "3.1";
    case Version::v3_1_1:
      return "3.1.1";
    case Version::v5_0:
      return "5.0";
  }
  return "unknown";
}

size_t encode_connack_unavailable(Version version, base::MutableBytes out, Unavailable why) {
  base::ByteWriter writer(out);
  constexpr uint8_t kConnack = 0x20;
  constexpr uint8_t kNoSessionPresent = 0;
  writer.u8(kConnack);
  if (version == Version::v5_0) {
    writer.u8(3);
    writer.u8(kNoSessionPresent);
    writer.u8(static_cast<uint8_t>(why));
    writer.u8(0);  // no properties
  } else {
    writer.u8(2);
    writer.u8(kNoSessionPresent);
    writer.u8(3);  // Server unavailable, 3.1.1 section 3.2.2.3
  }
  return writer.ok() ? writer.size() : 0;
}

}  // namespace mqlb::mqtt
