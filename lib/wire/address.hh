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

  friend bool operator==(const MacAddress&, const MacAddress&) = default;
};

class IpAddress {
 public:
  constexpr IpAddress() = default;

  // From 32 bits in host order: 198.18.0.1 is 0xc6120001.
  [[nodiscard]] static IpAddress v4(uint32_t host_order);
  [[nodiscard]] static IpAddress load_v4(const uint8_t* p);
  [[nodiscard]] static IpAddress load_v6(const uint8_t* p);
  // Dotted quad or RFC 4291 text. A zone is refused.
  [[nodiscard]] static base::Result<IpAddress> parse(std::string_view text);

  [[nodiscard]] bool is_v4() const;
  [[nodiscard]] bool is_unspecified() const;  // 0.0.0.0 or ::
  [[nodiscard]] bool is_multicast_or_broadcast() const;
  // Host order; only for IPv4 addresses (others give their last 32 bits).
  [[nodiscard]] uint32_t v4_bits() const;
  void store_v4(uint8_t* p) const { std::memcpy(p, octets_.data() + 12, 4); }
  void store_v6(uint8_t* p) const { std::memcpy(p, octets_.data(), 16); }
  [[nodiscard]] const std::array<uint8_t, 16>& octets() const { return octets_; }

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<uint8_t, 16> octets_{};
};

// An address and a TCP port (host order).
struct Endpoint {
  IpAddress address;
  uint16_t port = 0;

  // "198.18.0.1:1883" or "[2001:db8::1]:1883"; port 0 is refused.
  [[nodiscard]] static base::Result<Endpoint> parse(std::string_view text);

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

[[nodiscard]] std::string to_string(const MacAddress& mac);
// RFC 5952 form for IPv6.
[[nodiscard]] std::string to_string(const IpAddress& address);
[[nodiscard]] std::string to_string(const Endpoint& endpoint);
[[nodiscard]] std::string to_string(const Prefix& prefix);

}  // namespace mqlb::wire
