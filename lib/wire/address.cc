#include "lib/wire/address.hh"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "lib/base/bytes.hh"

namespace mqlb::wire {
namespace {

template <typename Integer>
bool parse_integer(std::string_view text, Integer& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

std::string quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

}  // namespace

base::Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string terminated(text);
  uint8_t bytes[16];
  // inet_pton would stop at an inner NUL and accept what is before it.
  if (text.find('\0') != std::string_view::npos) {
    return base::fail("an address holds no NUL character");
  }
  if (inet_pton(AF_INET, terminated.c_str(), bytes) == 1) return load_v4(bytes);
  if (inet_pton(AF_INET6, terminated.c_str(), bytes) == 1) return load_v6(bytes);
  return base::fail(quoted(text) + " is not an IPv4 or IPv6 address");
}

base::Result<Endpoint> Endpoint::parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return base::fail(quoted(text) + " is not ADDRESS:PORT");
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  auto address = IpAddress::parse(host);
  if (!address) return tl::unexpected(address.error());
  if (bracketed == address->is_v4()) {
    return base::fail(quoted(text) + ": brackets go around an IPv6 address and only there");
  }
  uint16_t port = 0;
  if (!parse_integer(text.substr(colon + 1), port) || port == 0) {
    return base::fail(quoted(text) + ": the port is a number from 1 to 65535");
  }
  return Endpoint{*address, port};
}

base::Result<Prefix> Prefix::parse(std::string_view text) {
  const size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) return base::fail(quoted(text) + " is not ADDRESS/LENGTH");
  auto address = IpAddress::parse(text.substr(0, slash));
  if (!address) return tl::unexpected(address.error());
  const unsigned most = address->is_v4() ? 32 : 128;
  uint8_t length = 0;
  if (!parse_integer(text.substr(slash + 1), length) || length > most) {
    return base::fail(quoted(text) + ": the length is a number from 0 to " + std::to_string(most));
  }
  return Prefix{*address, length};
}

bool Prefix::contains(const IpAddress& other) const {
  if (address.is_v4() != other.is_v4()) return false;
  const unsigned bits = length + (address.is_v4() ? 96U : 0U);
  const unsigned whole = bits / 8;
  const auto a = address.octets();
  const auto b = other.octets();
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff00U >> (bits % 8));
  return ((a[whole] ^ b[whole]) & mask) == 0;
}

Prefix network_of(const Prefix& prefix) {
  std::array<uint8_t, 16> octets = prefix.address.octets();
  const unsigned bits = prefix.length + (prefix.address.is_v4() ? 96U : 0U);
  for (unsigned i = 0; i < octets.size(); ++i) {
    const unsigned kept = std::clamp(bits, i * 8, i * 8 + 8) - i * 8;
    octets[i] = static_cast<uint8_t>(octets[i] & (0xff00U >> kept));
  }
  return {IpAddress::load_v6(octets.data()), prefix.length};
}

std::string to_string(const MacAddress& mac) {
  char text[18];
  const auto& o = mac.octets;
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", o[0], o[1], o[2], o[3], o[4],
                o[5]);
  return text;
}

std::string to_string(const IpAddress& address) {
  char text[INET6_ADDRSTRLEN];
  if (address.is_v4()) {
    inet_ntop(AF_INET, address.octets().data() + 12, text, sizeof text);
  } else {
    inet_ntop(AF_INET6, address.octets().data(), text, sizeof text);
  }
  return text;
}

std::string to_string(const Endpoint& endpoint) {
  const std::string host = to_string(endpoint.address);
  const std::string port = std::to_string(endpoint.port);
  return endpoint.address.is_v4() ? host + ":" + port : "[" + host + "]:" + port;
}

std::string to_string(const Prefix& prefix) {
  return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

}  // namespace mqlb::wire
