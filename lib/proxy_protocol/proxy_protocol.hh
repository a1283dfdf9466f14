// The PROXY protocol, versions 1 and 2 (HAProxy's specification), as a sender, and a strict reader
// for tests and tools.
//
// Pure functions over bytes. Mixed families are sent as IPv6 with the IPv4 side mapped.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lib/base/bytes.hh"
#include "lib/wire/address.hh"

namespace mqlb::proxy_protocol {

inline constexpr size_t kMaxUniqueId = 128;
// v1 line, or v2 with IPv6, CRC32C and the longest UNIQUE_ID.
inline constexpr size_t kMaxHeader = 16 + 36 + 7 + 3 + kMaxUniqueId;

struct V2Options {
  bool crc32c = false;      // TLV 0x03
  base::Bytes unique_id{};  // TLV 0x05; empty: none; at most kMaxUniqueId bytes
};

// Both return the bytes written, or 0 when `out` is too small (kMaxHeader always suffices) or the
// unique id too long.
size_t encode_v1(const wire::Endpoint& source, const wire::Endpoint& destination,
                 base::MutableBytes out);
size_t encode_v2(const wire::Endpoint& source, const wire::Endpoint& destination,
                 const V2Options& options, base::MutableBytes out);

struct Header {
  uint8_t version = 0;
  bool local = false;  // v2 LOCAL or UNSPEC, or v1 UNKNOWN: no addresses
  wire::Endpoint source;
  wire::Endpoint destination;
  bool has_crc32c = false;
  base::Bytes unique_id{};
  size_t size = 0;  // bytes of the header
};

// Strict: anything the specification does not allow, a wrong CRC32C included, is nullopt; so are a
// header that is not complete in `bytes`, and datagrams and Unix sockets, which carry no MQTT. What
// follows the header is left alone.
[[nodiscard]] std::optional<Header> decode(base::Bytes bytes);

}  // namespace mqlb::proxy_protocol
