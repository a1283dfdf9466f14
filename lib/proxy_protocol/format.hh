// Numbers of the PROXY protocol that both the encoder and the decoder need. Sections are those of
// HAProxy's specification.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mqlb::proxy_protocol {

// Section 2.1: the longest line, CRLF included.
inline constexpr size_t kMaxLine = 107;
inline constexpr std::string_view kLineStart = "PROXY ";

// Section 2.2: signature, version and command, family, length.
inline constexpr std::array<uint8_t, 12> kSignature{0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                    0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
inline constexpr size_t kFixedPart = 16;
inline constexpr uint8_t kCommandLocal = 0x20;
inline constexpr uint8_t kCommandProxy = 0x21;
inline constexpr uint8_t kFamilyUnspec = 0x00;
inline constexpr uint8_t kFamilyTcp4 = 0x11;
inline constexpr uint8_t kFamilyTcp6 = 0x21;
inline constexpr size_t kAddressesTcp4 = 12;
inline constexpr size_t kAddressesTcp6 = 36;

inline constexpr size_t kTlvHeader = 3;
inline constexpr size_t kCrc32cSize = 4;
inline constexpr uint8_t kTlvCrc32c = 0x03;
inline constexpr uint8_t kTlvUniqueId = 0x05;

}  // namespace mqlb::proxy_protocol
