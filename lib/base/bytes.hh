// Bytes of the network: big-endian loads and stores, and a reader and a writer that fail closed.
//
// No ownership: spans point into somebody else's buffer. The free functions require the bytes to
// exist (the caller made the one length check); ByteReader and ByteWriter check for themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace mqlb::base {

using Bytes = std::span<const uint8_t>;
using MutableBytes = std::span<uint8_t>;

[[nodiscard]] inline uint16_t load_be16(const uint8_t* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap16(v);
}

[[nodiscard]] inline uint32_t load_be32(const uint8_t* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return __builtin_bswap32(v);
}

inline void store_be16(uint8_t* p, uint16_t v) {
  v = __builtin_bswap16(v);
  std::memcpy(p, &v, sizeof v);
}

inline void store_be32(uint8_t* p, uint32_t v) {
  v = __builtin_bswap32(v);
  std::memcpy(p, &v, sizeof v);
}

inline void store_be64(uint8_t* p, uint64_t v) {
  v = __builtin_bswap64(v);
  std::memcpy(p, &v, sizeof v);
}

[[nodiscard]] inline Bytes as_bytes(std::string_view s) {
  return {reinterpret_cast<const uint8_t*>(s.data()), s.size()};
}

[[nodiscard]] inline std::string_view as_text(Bytes b) {
  return {reinterpret_cast<const char*>(b.data()), b.size()};
}

// Reads forward. After the first read past the end every later read fails too, returns zeros or
// empty spans, and ok() is false: a sequence of reads needs one check at its end.
class ByteReader {
 public:
  explicit ByteReader(Bytes bytes) : bytes_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] size_t remaining() const { return bytes_.size() - position_; }

  uint8_t u8() {
    const Bytes b = take(1);
    return b.empty() ? uint8_t{0} : b[0];
  }
  uint16_t be16() {
    const Bytes b = take(2);
    return b.empty() ? uint16_t{0} : load_be16(b.data());
  }
  uint32_t be32() {
    const Bytes b = take(4);
    return b.empty() ? 0U : load_be32(b.data());
  }
  // The next n bytes, or an empty span and !ok() when there are fewer.
  Bytes take(size_t n) {
    if (!ok_ || n > remaining()) {
      ok_ = false;
      return {};
    }
    const Bytes b = bytes_.subspan(position_, n);
    position_ += n;
    return b;
  }

 private:
  Bytes bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

// Writes forward into a fixed buffer. A write that does not fit writes nothing, and ok() is false
// from then on.
class ByteWriter {
 public:
  explicit ByteWriter(MutableBytes bytes) : bytes_(bytes) {}

  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] size_t size() const { return position_; }

  void u8(uint8_t v) {
    if (uint8_t* p = grow(1)) *p = v;
  }
  void be16(uint16_t v) {
    if (uint8_t* p = grow(2)) store_be16(p, v);
  }
  void be32(uint32_t v) {
    if (uint8_t* p = grow(4)) store_be32(p, v);
  }
  void bytes(Bytes b) {
    if (b.empty()) return;
    if (uint8_t* p = grow(b.size())) std::memcpy(p, b.data(), b.size());
  }

 private:
  uint8_t* grow(size_t n) {
    if (!ok_ || n > bytes_.size() - position_) {
      ok_ = false;
      return nullptr;
    }
    uint8_t* p = bytes_.data() + position_;
    position_ += n;
    return p;
  }

  MutableBytes bytes_;
  size_t position_ = 0;
  bool ok_ = true;
};

}  // namespace mqlb::base
