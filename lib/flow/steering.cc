#include "lib/flow/steering.hh"

#include "lib/base/bytes.hh"

namespace mqlb::flow {

Toeplitz::Toeplitz(std::span<const uint8_t, kKeyBytes> key) {
  // The 32 bits of the key that begin at a bit of it.
  const auto window = [key](size_t bit) {
    const uint8_t* first = key.data() + bit / 8;
    const uint64_t bits = uint64_t{base::load_be32(first)} << 8 | (bit % 8 != 0 ? first[4] : 0U);
    return static_cast<uint32_t>(bits >> (8 - bit % 8));
  };
  for (size_t byte = 0; byte < kInputBytes; ++byte) {
    for (unsigned value = 0; value < 256; ++value) {
      for (size_t bit = 0; bit < 8; ++bit) {
        if ((value & 0x80U >> bit) != 0) tables_[byte][value] ^= window(8 * byte + bit);
      }
    }
  }
}

}  // namespace mqlb::flow
