#include "lib/mqtt/utf8.hh"

#include <cstring>

namespace mqlb::mqtt {
namespace {

// What may follow a lead byte: the second byte's range excludes overlong forms, surrogates and
// numbers over U+10FFFF; any further byte is 80..BF.
struct Tail {
  uint8_t size;  // 0: no lead byte at all
  uint8_t low;
  uint8_t high;
};

Tail tail_of(uint8_t lead) {
  if (lead < 0xc2) return {0, 0, 0};  // a continuation, or overlong
  if (lead < 0xe0) return {1, 0x80, 0xbf};
  if (lead == 0xe0) return {2, 0xa0, 0xbf};
  if (lead == 0xed) return {2, 0x80, 0x9f};
  if (lead < 0xf0) return {2, 0x80, 0xbf};
  if (lead == 0xf0) return {3, 0x90, 0xbf};
  if (lead < 0xf4) return {3, 0x80, 0xbf};
  if (lead == 0xf4) return {3, 0x80, 0x8f};
  return {0, 0, 0};
}

constexpr size_t kWord = sizeof(uint64_t);

// True if there are eight bytes and each is 0x01 to 0x7f: most of all text.
bool begins_with_plain_word(base::Bytes bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101U;
  constexpr uint64_t kHighBits = 0x8080808080808080U;
  if (bytes.size() < kWord) return false;
  uint64_t word;
  std::memcpy(&word, bytes.data(), kWord);
  return ((word | (word - kOnes)) & kHighBits) == 0;
}

}  // namespace

bool is_valid_text(base::Bytes bytes, TextEnd end) {
  for (size_t i = 0; i < bytes.size();) {
    if (begins_with_plain_word(bytes.subspan(i))) {
      i += kWord;
      continue;
    }
    const uint8_t lead = bytes[i++];
    if (lead == 0) return false;  // MQTT-1.5.4-2; 3.1.1: MQTT-1.5.3-2
    if (lead < 0x80) continue;
    Tail tail = tail_of(lead);
    if (tail.size == 0) return false;
    for (; tail.size > 0; --tail.size) {
      if (i == bytes.size()) return end == TextEnd::to_come;
      if (bytes[i] < tail.low || bytes[i] > tail.high) return false;
      tail.low = 0x80;
      tail.high = 0xbf;
      ++i;
    }
  }
  return true;
}

}  // namespace mqlb::mqtt
