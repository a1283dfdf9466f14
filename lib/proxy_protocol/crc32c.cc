#include "lib/proxy_protocol/crc32c.hh"

#include <array>

namespace mqlb::proxy_protocol {
namespace {

constexpr std::array<uint32_t, 256> make_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78U : 0U);
    table[i] = crc;
  }
  return table;
}

constexpr auto kTable = make_table();

}  // namespace

uint32_t crc32c_update(uint32_t crc, base::Bytes bytes) {
  for (const uint8_t b : bytes) crc = (crc >> 8) ^ kTable[(crc ^ b) & 0xff];
  return crc;
}

}  // namespace mqlb::proxy_protocol
