// The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//
// Sums are kept unfolded in 64 bits and in network byte order of 16-bit words as a big-endian
// machine would see them, so that a difference of header fields in host order can be added.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "lib/base/bytes.hh"

namespace mqlb::wire {

// Adding a word to itself with its halves swapped leaves, in the upper half, their sum with the
// carry brought round.
[[nodiscard]] inline uint16_t fold(uint64_t sum) {
  sum += std::rotl(sum, 32);
  auto half = static_cast<uint32_t>(sum >> 32);
  half += std::rotl(half, 16);
  return static_cast<uint16_t>(half >> 16);
}

// The ones' complement sum of the bytes, folded; an odd last byte counts as the high half of a
// word (RFC 1071 section 4.1).
[[nodiscard]] inline uint16_t sum_bytes(base::Bytes bytes) {
  const uint8_t* p = bytes.data();
  size_t n = bytes.size();
  uint64_t sum = 0;
  for (; n >= 4; n -= 4, p += 4) {
    uint32_t v;
    std::memcpy(&v, p, 4);
    sum += v;
  }
  if (n >= 2) {
    uint16_t v;
    std::memcpy(&v, p, 2);
    sum += v;
    p += 2;
    n -= 2;
  }
  if (n == 1) sum += *p;
  return __builtin_bswap16(fold(sum));  // summed in memory order of a little-endian machine
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "sum_bytes() assumes little-endian");

// The same of the 20 bytes of an IPv4 header without options.
[[nodiscard]] inline uint16_t sum_ipv4_header(const uint8_t* p) {
  uint64_t a;
  uint64_t b;
  uint32_t c;
  std::memcpy(&a, p, 8);
  std::memcpy(&b, p + 8, 8);
  std::memcpy(&c, p + 16, 4);
  const uint64_t sum = (a >> 32) + static_cast<uint32_t>(a) + (b >> 32) + static_cast<uint32_t>(b);
  return __builtin_bswap16(fold(sum + c));
}

// The sum of an IPv4 pseudo-header (RFC 9293 section 3.1) whose addresses begin at `addresses`
// (source, then destination, as in the IPv4 header).
[[nodiscard]] inline uint64_t pseudo_header_v4(const uint8_t* addresses, uint8_t protocol,
                                               uint16_t length) {
  return uint64_t{sum_bytes({addresses, 8})} + protocol + length;
}

// The same of IPv6 (RFC 8200 section 8.1), whose pseudo-header holds a 32-bit length.
[[nodiscard]] inline uint64_t pseudo_header_v6(const uint8_t* addresses, uint8_t protocol,
                                               uint32_t length) {
  return uint64_t{sum_bytes({addresses, 32})} + protocol + length;
}

// What a checksum field must hold for a sum.
[[nodiscard]] inline uint16_t checksum_of(uint64_t sum) {
  return static_cast<uint16_t>(~fold(sum));
}

// The field after the covered words grew by `difference` (a ones' complement sum, modulo 65535,
// below 2^63): RFC 1624, equation 3.
[[nodiscard]] inline uint16_t update_checksum(uint16_t field, uint64_t difference) {
  return static_cast<uint16_t>(~fold(static_cast<uint16_t>(~field) + difference));
}

// The ones' complement difference b - a of two 32-bit or 16-bit fields, as a sum to add.
[[nodiscard]] inline uint64_t field_difference(uint32_t from, uint32_t to) {
  return uint64_t{to} + static_cast<uint32_t>(~from);
}

}  // namespace mqlb::wire
