#include <algorithm>
#include <charconv>

#include "lib/proxy_protocol/crc32c.hh"
#include "lib/proxy_protocol/format.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"

namespace mqlb::proxy_protocol {
namespace {

using std::string_view;

// Cuts the text before the first space off `rest`, and the space. False without a space.
bool take_word(string_view& rest, string_view& word) {
  const size_t space = rest.find(' ');
  if (space == string_view::npos) return false;
  word = rest.substr(0, space);
  rest.remove_prefix(space + 1);
  return true;
}

// Section 2.1: a decimal number from 0 to 65535 without leading zeros.
bool parse_port(string_view text, uint16_t& out) {
  if (text.empty() || (text.size() > 1 && text.front() == '0')) return false;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, out);
  return error == std::errc{} && stop == end;
}

bool parse_address(string_view text, bool is_v6, wire::IpAddress& out) {
  if ((text.find(':') != string_view::npos) != is_v6) return false;
  const auto address = wire::IpAddress::parse(text);
  if (!address) return false;
  out = *address;
  return true;
}

std::optional<Header> decode_v1(base::Bytes bytes) {
  const string_view text = base::as_text(bytes.first(std::min(bytes.size(), kMaxLine)));
  const size_t end = text.find("\r\n");
  if (end == string_view::npos) return std::nullopt;
  Header header{.version = 1, .source = {}, .destination = {}, .size = end + 2};
  string_view rest = text.substr(kLineStart.size(), end - kLineStart.size());
  // What follows UNKNOWN up to the end of the line has no meaning.
  if (rest == "UNKNOWN" || rest.starts_with("UNKNOWN ")) {
    header.local = true;
    return header;
  }
  string_view family, source, destination, port;
  if (!take_word(rest, family) || !take_word(rest, source) || !take_word(rest, destination) ||
      !take_word(rest, port)) {
    return std::nullopt;
  }
  if (family != "TCP4" && family != "TCP6") return std::nullopt;
  const bool is_v6 = family == "TCP6";
  if (!parse_address(source, is_v6, header.source.address) ||
      !parse_address(destination, is_v6, header.destination.address) ||
      !parse_port(port, header.source.port) || !parse_port(rest, header.destination.port)) {
    return std::nullopt;
  }
  return header;
}

bool crc_is_right(base::Bytes header, size_t crc_at) {
  constexpr uint8_t kZeros[kCrc32cSize] = {};
  uint32_t crc = crc32c_update(kCrc32cInit, header.first(crc_at));
  crc = crc32c_update(crc, kZeros);
  crc = crc32c_update(crc, header.subspan(crc_at + kCrc32cSize));
  return crc32c_finish(crc) == base::load_be32(header.data() + crc_at);
}

// `reader` stands at the first TLV and ends with the header. A second checksum or unique id would
// leave it open which one counts. Unknown types are passed over, as section 2.2 asks.
bool read_tlvs(base::Bytes whole, base::ByteReader& reader, Header& header) {
  bool has_unique_id = false;
  while (reader.remaining() > 0) {
    const uint8_t type = reader.u8();
    const uint16_t length = reader.be16();
    const size_t value_at = reader.position();
    const base::Bytes value = reader.take(length);
    if (!reader.ok()) return false;
    if (type == kTlvCrc32c) {
      if (header.has_crc32c || length != kCrc32cSize || !crc_is_right(whole, value_at)) {
        return false;
      }
      header.has_crc32c = true;
    } else if (type == kTlvUniqueId) {
      if (has_unique_id || length > kMaxUniqueId) return false;
      has_unique_id = true;
      header.unique_id = value;
    }
  }
  return true;
}

bool read_addresses(base::ByteReader& reader, bool is_v6, Header& header) {
  const base::Bytes source = reader.take(is_v6 ? 16 : 4);
  const base::Bytes destination = reader.take(is_v6 ? 16 : 4);
  header.source.port = reader.be16();
  header.destination.port = reader.be16();
  if (!reader.ok()) return false;
  const auto load = is_v6 ? wire::IpAddress::load_v6 : wire::IpAddress::load_v4;
  header.source.address = load(source.data());
  header.destination.address = load(destination.data());
  return true;
}

std::optional<Header> decode_v2(base::Bytes bytes) {
  base::ByteReader fixed(bytes);
  fixed.take(kSignature.size());
  const uint8_t command = fixed.u8();
  const uint8_t family = fixed.u8();
  const size_t size = kFixedPart + fixed.be16();
  if (!fixed.ok() || size > bytes.size()) return std::nullopt;
  const base::Bytes whole = bytes.first(size);
  base::ByteReader reader(whole);
  reader.take(kFixedPart);
  Header header{.version = 2, .source = {}, .destination = {}, .size = size};
  if (command == kCommandLocal) {
    // Section 2.2: everything behind the command is discarded, the family too.
    header.local = true;
    return header;
  }
  if (command != kCommandProxy) return std::nullopt;
  if (family == kFamilyUnspec) {
    // No addresses, and no saying where TLVs would begin.
    header.local = true;
    return header;
  }
  if (family != kFamilyTcp4 && family != kFamilyTcp6) return std::nullopt;
  if (!read_addresses(reader, family == kFamilyTcp6, header)) return std::nullopt;
  if (!read_tlvs(whole, reader, header)) return std::nullopt;
  return header;
}

}  // namespace

std::optional<Header> decode(base::Bytes bytes) {
  const string_view text = base::as_text(bytes);
  if (text.starts_with(base::as_text(kSignature))) return decode_v2(bytes);
  if (text.starts_with(kLineStart)) return decode_v1(bytes);
  return std::nullopt;
}

}  // namespace mqlb::proxy_protocol
