#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdio>

#include "lib/proxy_protocol/crc32c.hh"
#include "lib/proxy_protocol/format.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"

namespace mqlb::proxy_protocol {
namespace {

bool both_v4(const wire::Endpoint& a, const wire::Endpoint& b) {
  return a.address.is_v4() && b.address.is_v4();
}

void format(const wire::IpAddress& address, bool as_v4, char (&out)[INET6_ADDRSTRLEN]) {
  if (as_v4) {
    inet_ntop(AF_INET, address.octets().data() + 12, out, sizeof out);
  } else {
    // A deviation: a mapped address comes out as ::ffff:192.0.2.1. Section 2.1 speaks of
    // hexadecimal groups only, but this is what HAProxy sends and what inet_pton reads.
    inet_ntop(AF_INET6, address.octets().data(), out, sizeof out);
  }
}

void write_addresses(const wire::Endpoint& source, const wire::Endpoint& destination, bool as_v4,
                     base::ByteWriter& writer) {
  for (const auto* endpoint : {&source, &destination}) {
    const std::array<uint8_t, 16> octets = endpoint->address.octets();
    writer.bytes(base::Bytes(octets).last(as_v4 ? 4 : 16));
  }
  writer.be16(source.port);
  writer.be16(destination.port);
}

}  // namespace

size_t encode_v1(const wire::Endpoint& source, const wire::Endpoint& destination,
                 base::MutableBytes out) {
  const bool as_v4 = both_v4(source, destination);
  char from[INET6_ADDRSTRLEN];
  char to[INET6_ADDRSTRLEN];
  format(source.address, as_v4, from);
  format(destination.address, as_v4, to);
  char line[kMaxLine + 1];
  const int size =
      std::snprintf(line, sizeof line, "PROXY %s %s %s %u %u\r\n", as_v4 ? "TCP4" : "TCP6", from,
                    to, unsigned{source.port}, unsigned{destination.port});
  if (size < 0) return 0;
  base::ByteWriter writer(out);
  writer.bytes(base::as_bytes({line, static_cast<size_t>(size)}));
  return writer.ok() ? writer.size() : 0;
}

size_t encode_v2(const wire::Endpoint& source, const wire::Endpoint& destination,
                 const V2Options& options, base::MutableBytes out) {
  if (options.unique_id.size() > kMaxUniqueId) return 0;
  const bool as_v4 = both_v4(source, destination);
  size_t length = as_v4 ? kAddressesTcp4 : kAddressesTcp6;
  const size_t crc_at = kFixedPart + length + kTlvHeader;
  if (options.crc32c) length += kTlvHeader + kCrc32cSize;
  if (!options.unique_id.empty()) length += kTlvHeader + options.unique_id.size();

  base::ByteWriter writer(out);
  writer.bytes(kSignature);
  writer.u8(kCommandProxy);
  writer.u8(as_v4 ? kFamilyTcp4 : kFamilyTcp6);
  writer.be16(static_cast<uint16_t>(length));
  write_addresses(source, destination, as_v4, writer);
  if (options.crc32c) {
    writer.u8(kTlvCrc32c);
    writer.be16(kCrc32cSize);
    writer.be32(0);
  }
  if (!options.unique_id.empty()) {
    writer.u8(kTlvUniqueId);
    writer.be16(static_cast<uint16_t>(options.unique_id.size()));
    writer.bytes(options.unique_id);
  }
  if (!writer.ok()) return 0;
  if (options.crc32c) {
    // Section 2.2.3: over the whole header, with the checksum itself zero.
    const uint32_t crc = crc32c_finish(crc32c_update(kCrc32cInit, out.first(writer.size())));
    base::store_be32(out.data() + crc_at, crc);
  }
  return writer.size();
}

}  // namespace mqlb::proxy_protocol
