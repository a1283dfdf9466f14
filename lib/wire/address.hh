// Addresses of links, networks and transports, in one form for IPv4 and IPv6.
//
// An IPv4 address is kept as its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2), so that
// everything that stores or compares addresses is neutral to the family.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "lib/base/result.hh"

namespace mqlb::wire {

struct MacAddress {
  std::array<uint8_t, 6> octets{};

  [[nodiscard]] static MacAddress load(const uint8_t* p) {
    MacAddress mac;
    std::memcpy(mac.octets.data(), p, 6);
    return mac;
  }
  void store(uint8_t* p) const { std::memcpy(p, octets.data(), 6); }
  [[nodiscard]] bool is_group() const { return (octets[0] & 1) != 0; }

  // The octets as a number, the first one lowest.
  [[nodiscard]] uint64_t bits() const {
    uint32_t low;
    uint16_t high;
    std::memcpy(&low, octets.data(), 4);
    std::memcpy(&high, octets.data() + 4, 2);
    return uint64_t{high} << 32 | low;
  }
  [[nodiscard]] static MacAddress from_bits(uint64_t bits) {
    MacAddress mac;
    std::memcpy(mac.octets.data(), &bits, 6);
    return mac;
  }

  friend bool operator==(const MacAddress& a, const MacAddress& b) {
    return std::memcmp(a.octets.data(), b.octets.data(), 6) == 0;
  }
};

class IpAddress {
 public:
  constexpr IpAddress() = default;

  // From 32 bits in host order: 198.18.0.1 is 0xc6120001.
  [[nodiscard]] static IpAddress v4(uint32_t host_order) {
    return mapped(__builtin_bswap32(host_order));
  }
  [[nodiscard]] static IpAddress load_v4(const uint8_t* p) {
    uint32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    return mapped(bits);
  }
  [[nodiscard]] static IpAddress load_v6(const uint8_t* p) {
    IpAddress a;
    std::memcpy(&a.high_, p, 8);
    std::memcpy(&a.low_, p + 8, 8);
    return a;
  }
  // Dotted quad or RFC 4291 text. A zone is refused.
  [[nodiscard]] static base::Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const { return high_ == 0 && static_cast<uint32_t>(low_) == kMapped; }
  [[nodiscard]] bool is_link_local_v6() const { return (high_ & 0xc0ff) == 0x80fe; }  // fe80::/10
  [[nodiscard]] bool is_unspecified() const {  // 0.0.0.0 or ::
    return high_ == 0 && (low_ == 0 || low_ == kMapped);
  }
  [[nodiscard]] bool is_multicast_or_broadcast() const {
    if (!is_v4()) return (high_ & 0xff) == 0xff;
    return v4_bits() >= 0xe0000000U && (v4_bits() < 0xf0000000U || v4_bits() == 0xffffffffU);
  }
  // Host order; only for IPv4 addresses (others give their last 32 bits).
  [[nodiscard]] uint32_t v4_bits() const {
    return __builtin_bswap32(static_cast<uint32_t>(low_ >> 32));
  }
  void store_v4(uint8_t* p) const {
    const auto bits = static_cast<uint32_t>(low_ >> 32);
    std::memcpy(p, &bits, 4);
  }
  void store_v6(uint8_t* p) const {
    std::memcpy(p, &high_, 8);
    std::memcpy(p + 8, &low_, 8);
  }
  [[nodiscard]] std::array<uint8_t, 16> octets() const {
    std::array<uint8_t, 16> out;
    store_v6(out.data());
    return out;
  }
  // For tables of one process: not the same on every machine. Its upper bits are the good ones.
  [[nodiscard]] uint64_t hash(uint16_t with = 0) const {
    return (high_ * 0xd6e8feb86659fd93U + low_ + with) * 0x9e3779b97f4a7c15U;
  }

  friend bool operator==(const IpAddress&, const IpAddress&) = default;
  friend auto operator<=>(const IpAddress& a, const IpAddress& b) {
    return a.octets() <=> b.octets();
  }

 private:
  static constexpr uint32_t kMapped = 0xffff0000;  // 0, 0, 0xff, 0xff in memory

  [[nodiscard]] static IpAddress mapped(uint32_t bits_in_memory_order) {
    IpAddress a;
    a.low_ = uint64_t{bits_in_memory_order} << 32 | kMapped;
    return a;
  }

  // The octets as they lie in memory: words, so that an address stays in registers.
  uint64_t high_ = 0;
  uint64_t low_ = 0;
};
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "IpAddress keeps octets in words");

// An address and a TCP port (host order).
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;

  // "198.18.0.1:1883" or "[2001:db8::1]:1883"; port 0 is refused.
  [[nodiscard]] static base::Result<Endpoint> parse(std::string_view text);

  // As IpAddress::hash().
  [[nodiscard]] uint64_t hash() const { return address.hash(port); }

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// A network: an address and a prefix length in its own family (0-32 or 0-128).
struct Prefix {
  IpAddress address;
  uint8_t length = 0;

  // "198.18.0.1/24"; host bits are kept, as an interface address needs them.
  [[nodiscard]] static base::Result<Prefix> parse(std::string_view text);
  [[nodiscard]] bool contains(const IpAddress& other) const;

  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

// The same prefix with its host bits cleared.
[[nodiscard]] Prefix network_of(const Prefix& prefix);

[[nodiscard]] std::string to_string(const MacAddress& mac);
// RFC 5952 form for IPv6.
[[nodiscard]] std::string to_string(const IpAddress& address);
[[nodiscard]] std::string to_string(const Endpoint& endpoint);
[[nodiscard]] std::string to_string(const Prefix& prefix);

}  // namespace mqlb::wire
