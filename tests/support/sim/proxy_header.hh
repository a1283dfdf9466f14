// A strict reader of PROXY protocol headers, independent from lib/proxy_protocol.
//
// Accepts what a balancer for TCP should send and nothing else: v1 TCP4 and TCP6, v2 PROXY over
// TCP with the TLVs CRC32C, NOOP and UNIQUE_ID. v1 UNKNOWN and v2 LOCAL are refused.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/wire/address.hh"

namespace mqlb::sim {

struct ProxyHeader {
  enum class Status : uint8_t { good, cut, bad };
  Status status = Status::bad;
  std::string why;  // for `bad`
  unsigned version = 0;
  wire::Endpoint source;
  wire::Endpoint destination;
  bool has_crc32c = false;
  std::vector<uint8_t> unique_id;
  size_t size = 0;
};

[[nodiscard]] ProxyHeader parse_proxy_header(base::Bytes bytes);

}  // namespace mqlb::sim
