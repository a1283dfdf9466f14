// UTF-8 as MQTT asks for it (5.0 section 1.5.4, 3.1.1 section 1.5.3): well-formed by Unicode's
// table 3-7, so neither overlong forms, surrogates nor anything over U+10FFFF, and no U+0000.
#pragma once

#include "lib/base/bytes.hh"

namespace mqlb::mqtt {

enum class TextEnd : uint8_t {
  here,     // `bytes` is the whole string
  to_come,  // `bytes` is its beginning, and may stop inside a character
};

[[nodiscard]] bool is_valid_text(base::Bytes bytes, TextEnd end);

}  // namespace mqlb::mqtt
