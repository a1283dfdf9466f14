#include "tests/support/sim/proxy_header.hh"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>

namespace mqlb::sim {
namespace {

using Status = ProxyHeader::Status;

constexpr std::array<uint8_t, 12> kSignature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                             0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr size_t kV2Fixed = 16;
constexpr size_t kMaxV1 = 107;

ProxyHeader bad(std::string why) {
  ProxyHeader h;
  h.why = std::move(why);
  return h;
}

ProxyHeader cut() {
  ProxyHeader h;
  h.status = Status::cut;
  return h;
}

// CRC-32C (RFC 3720 appendix B.4), bit by bit; the checksum's own field reads as zero.
uint32_t crc32c(base::Bytes bytes, size_t hole) {
  uint32_t crc = 0xffffffffU;
  for (size_t i = 0; i < bytes.size(); ++i) {
    crc ^= i >= hole && i < hole + 4 ? 0U : bytes[i];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1U ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

std::string_view next_word(std::string_view& line) {
  const size_t space = line.find(' ');
  const std::string_view word = line.substr(0, space);
  line = space == std::string_view::npos ? std::string_view{} : line.substr(space + 1);
  return word;
}

uint16_t parse_port(std::string_view text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc{} && end == text.data() + text.size() ? port : uint16_t{0};
}

ProxyHeader parse_v1(std::string_view text) {
  const size_t end = text.find("\r\n");
  if (end == std::string_view::npos) return text.size() < kMaxV1 ? cut() : bad("no end of line");
  if (end + 2 > kMaxV1) return bad("line over 107 bytes");
  std::string_view rest = text.substr(0, end);
  next_word(rest);
  const std::string_view family = next_word(rest);
  const auto source = wire::IpAddress::parse(next_word(rest));
  const auto destination = wire::IpAddress::parse(next_word(rest));
  if (!source || !destination) return bad("v1 addresses");
  ProxyHeader h;
  h.source = {*source, parse_port(next_word(rest))};
  h.destination = {*destination, parse_port(next_word(rest))};
  // Written again it must be the same line: that is what canonical means.
  const auto six = [](const wire::IpAddress& a) {
    return a.is_v4() ? "::ffff:" + to_string(a) : to_string(a);
  };
  const bool four = family == "TCP4";
  if (!four && family != "TCP6") return bad("v1 family " + std::string(family));
  const auto host = [&](const wire::IpAddress& a) { return four ? to_string(a) : six(a); };
  const std::string again = "PROXY " + std::string(family) + " " + host(*source) + " " +
                            host(*destination) + " " + std::to_string(h.source.port) + " " +
                            std::to_string(h.destination.port);
  if (again != text.substr(0, end)) return bad("v1 line not canonical");
  h.status = Status::good;
  h.version = 1;
  h.size = end + 2;
  return h;
}

// Returns what is wrong, or nothing.
std::string parse_tlvs(base::Bytes header, size_t at, ProxyHeader& h) {
  bool has_id = false;
  while (at < header.size()) {
    if (header.size() - at < 3) return "TLV header cut";
    const uint8_t type = header[at];
    const size_t length = base::load_be16(&header[at + 1]);
    at += 3;
    if (length > header.size() - at) return "TLV runs past the header";
    switch (type) {
      case 0x03:
        if (h.has_crc32c || length != 4) return "CRC32C TLV";
        h.has_crc32c = true;
        if (base::load_be32(&header[at]) != crc32c(header, at)) return "CRC32C value";
        break;
      case 0x04:
        break;
      case 0x05:
        if (has_id || length == 0 || length > 128) return "UNIQUE_ID TLV";
        has_id = true;
        h.unique_id.assign(&header[at], &header[at] + length);
        break;
      default:
        return "TLV type " + std::to_string(type);
    }
    at += length;
  }
  return {};
}

ProxyHeader parse_v2(base::Bytes bytes) {
  if (bytes.size() < kV2Fixed) return cut();
  if (bytes[12] != 0x21) return bad("v2 version and command");
  const size_t size = kV2Fixed + base::load_be16(&bytes[14]);
  const bool four = bytes[13] == 0x11;
  if (!four && bytes[13] != 0x21) return bad("v2 family");
  const size_t addresses = four ? 12 : 36;
  if (size < kV2Fixed + addresses) return bad("v2 length below its addresses");
  if (size > bytes.size()) return cut();
  const uint8_t* p = bytes.data() + kV2Fixed;
  ProxyHeader h;
  const size_t one = four ? 4 : 16;
  const auto load = four ? wire::IpAddress::load_v4 : wire::IpAddress::load_v6;
  h.source = {load(p), base::load_be16(p + 2 * one)};
  h.destination = {load(p + one), base::load_be16(p + 2 * one + 2)};
  h.version = 2;
  h.size = size;
  h.why = parse_tlvs(bytes.first(size), kV2Fixed + addresses, h);
  h.status = h.why.empty() ? Status::good : Status::bad;
  return h;
}

}  // namespace

ProxyHeader parse_proxy_header(base::Bytes bytes) {
  constexpr std::string_view kV1 = "PROXY ";
  const std::string_view text = base::as_text(bytes);
  const size_t n1 = std::min(text.size(), kV1.size());
  if (text.substr(0, n1) == kV1.substr(0, n1)) return n1 < kV1.size() ? cut() : parse_v1(text);
  const size_t n2 = std::min(bytes.size(), kSignature.size());
  if (!std::equal(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n2), kSignature.begin())) {
    return bad("no PROXY header");
  }
  return parse_v2(bytes);
}

}  // namespace mqlb::sim
