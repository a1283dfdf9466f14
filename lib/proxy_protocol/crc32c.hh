// CRC-32C (Castagnoli, RFC 9260 appendix A): reflected polynomial 0x82f63b78, all ones in and out.
//
// A table of our own: Debian has no C library for it outside DPDK, and a header is 200 bytes.
#pragma once

#include "lib/base/bytes.hh"

namespace mqlb::proxy_protocol {

// The register, for input in pieces: begin with kCrc32cInit, finish with crc32c_finish.
inline constexpr uint32_t kCrc32cInit = 0xffffffff;
[[nodiscard]] uint32_t crc32c_update(uint32_t crc, base::Bytes bytes);
[[nodiscard]] constexpr uint32_t crc32c_finish(uint32_t crc) { return ~crc; }

}  // namespace mqlb::proxy_protocol
