#include "lib/proxy_protocol/proxy_protocol.hh"

#include <string>

namespace mqlb::proxy_protocol {

size_t encode_v1(const wire::Endpoint& source, const wire::Endpoint& destination,
                 base::MutableBytes out) {
  const std::string text =
      "PROXY TCP4 " + wire::to_string(source.address) + " " + wire::to_string(destination.address) +
      " " + std::to_string(source.port) + " " + std::to_string(destination.port) + "\r\n";
  base::ByteWriter w(out);
  w.bytes(base::as_bytes(text));
  return w.size();
}

size_t encode_v2(const wire::Endpoint& source, const wire::Endpoint& destination,
                 const V2Options& /*options*/, base::MutableBytes out) {
  constexpr uint8_t kHeader[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51,
                                 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00, 12};
  base::ByteWriter w(out);
  w.bytes(kHeader);
  uint8_t address[4];
  source.address.store_v4(address);
  w.bytes(address);
  destination.address.store_v4(address);
  w.bytes(address);
  w.be16(source.port);
  w.be16(destination.port);
  return w.ok() ? w.size() : 0;
}

std::optional<Header> decode(base::Bytes /*bytes*/) { return std::nullopt; }

}  // namespace mqlb::proxy_protocol
