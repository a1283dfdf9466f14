#include "lib/mqtt/properties.hh"

namespace mqlb::mqtt {
namespace {

enum class Kind : uint8_t {
  unknown,
  byte,
  zero_or_one,
  two_bytes,
  two_bytes_not_zero,
  four_bytes,
  four_bytes_not_zero,
  text,
  text_pair,
  binary,
};

constexpr uint8_t kUserProperty = 0x26;
constexpr uint8_t kAuthenticationMethod = 0x15;
constexpr uint8_t kAuthenticationData = 0x16;

// Section 3.1.2.11. The values that it calls a Protocol Error are refused like a malformed packet.
Kind kind_in_connect(uint8_t id) {
  switch (id) {
    case 0x11:  // Session Expiry Interval
      return Kind::four_bytes;
    case kAuthenticationMethod:
      return Kind::text;
    case kAuthenticationData:
      return Kind::binary;
    case 0x17:  // Request Problem Information
    case 0x19:  // Request Response Information
      return Kind::zero_or_one;
    case 0x21:  // Receive Maximum
      return Kind::two_bytes_not_zero;
    case 0x22:  // Topic Alias Maximum
      return Kind::two_bytes;
    case kUserProperty:
      return Kind::text_pair;
    case 0x27:  // Maximum Packet Size
      return Kind::four_bytes_not_zero;
    default:
      return Kind::unknown;
  }
}

// Section 3.1.3.2.
Kind kind_in_will(uint8_t id) {
  switch (id) {
    case 0x01:  // Payload Format Indicator; no value of it is called an error
      return Kind::byte;
    case 0x02:  // Message Expiry Interval
    case 0x18:  // Will Delay Interval
      return Kind::four_bytes;
    case 0x03:  // Content Type
    case 0x08:  // Response Topic
      return Kind::text;
    case 0x09:  // Correlation Data
      return Kind::binary;
    case kUserProperty:
      return Kind::text_pair;
    default:
      return Kind::unknown;
  }
}

bool skip_byte(Cursor& cursor, uint8_t most) {
  uint8_t value = 0;
  if (!cursor.u8(value)) return false;
  return value <= most || cursor.refuse(Malformed::properties);
}

bool skip_two_bytes(Cursor& cursor, uint16_t least) {
  uint16_t value = 0;
  if (!cursor.be16(value)) return false;
  return value >= least || cursor.refuse(Malformed::properties);
}

bool skip_four_bytes(Cursor& cursor, uint32_t least) {
  uint32_t value = 0;
  if (!cursor.be32(value)) return false;
  return value >= least || cursor.refuse(Malformed::properties);
}

bool skip_value(Cursor& cursor, Kind kind) {
  base::Bytes value;
  switch (kind) {
    case Kind::unknown:
      return cursor.refuse(Malformed::properties);
    case Kind::byte:
      return skip_byte(cursor, 0xff);
    case Kind::zero_or_one:
      return skip_byte(cursor, 1);
    case Kind::two_bytes:
      return skip_two_bytes(cursor, 0);
    case Kind::two_bytes_not_zero:
      return skip_two_bytes(cursor, 1);
    case Kind::four_bytes:
      return skip_four_bytes(cursor, 0);
    case Kind::four_bytes_not_zero:
      return skip_four_bytes(cursor, 1);
    case Kind::text:
      return cursor.text(value);
    case Kind::text_pair:
      return cursor.text(value) && cursor.text(value);
    case Kind::binary:
      return cursor.binary(value);
  }
  return cursor.refuse(Malformed::properties);
}

}  // namespace

bool skip_properties(Cursor& cursor, PropertySet set) {
  VarInt length;
  if (!cursor.var_int(length, Malformed::properties)) return false;
  if (!length.minimal) return cursor.refuse(Malformed::properties);  // MQTT-1.5.5-1
  if (!cursor.enter_properties(length.value)) return false;
  uint64_t seen = 0;  // a bit per identifier; those we know are below 64
  const auto bit = [](uint8_t id) { return uint64_t{1} << id; };
  while (!cursor.at_end()) {
    // Identifiers are Variable Byte Integers, but all that exist take one byte.
    uint8_t id = 0;
    if (!cursor.u8(id)) return false;
    const Kind kind = set == PropertySet::will ? kind_in_will(id) : kind_in_connect(id);
    if (kind == Kind::unknown) return cursor.refuse(Malformed::properties);
    if ((seen & bit(id)) != 0 && id != kUserProperty) return cursor.refuse(Malformed::properties);
    seen |= bit(id);
    if (!skip_value(cursor, kind)) return false;
  }
  // Section 3.1.2.11.10: no data without a method.
  if ((seen & bit(kAuthenticationData)) != 0 && (seen & bit(kAuthenticationMethod)) == 0) {
    return cursor.refuse(Malformed::properties);
  }
  cursor.leave_properties();
  return true;
}

}  // namespace mqlb::mqtt
