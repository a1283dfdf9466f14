// Reads the fields of a packet of which perhaps only the beginning is at hand.
//
// Two ends matter. Past the end of the packet (or of its properties) a field is malformed; past
// the bytes at hand it is only not there yet. Every reader returns false in both cases, and
// refused() tells them apart. After a false the cursor is spent: return at once.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/bytes.hh"
#include "lib/mqtt/connect.hh"

namespace mqlb::mqtt {

// Whether other fields may follow: the last one has to end where the packet does, which shows as
// soon as its length is read.
enum class Place : uint8_t { inner, last };

struct VarInt {
  uint32_t value = 0;
  bool minimal = true;  // no shorter encoding exists
};

class Cursor {
 public:
  // What follows is not limited to a packet until limit() says where it ends.
  explicit Cursor(base::Bytes at_hand) : at_hand_(at_hand) {}

  [[nodiscard]] size_t position() const { return position_; }
  [[nodiscard]] bool at_end() const { return position_ == end_; }
  [[nodiscard]] std::optional<Malformed> refused() const { return refused_; }

  // The packet ends at `end`; bytes after it are not looked at.
  void limit(size_t end);
  // The next `length` bytes are properties; leave() once they are read.
  [[nodiscard]] bool enter_properties(size_t length);
  void leave_properties();

  [[nodiscard]] bool u8(uint8_t& out);
  [[nodiscard]] bool be16(uint16_t& out);
  [[nodiscard]] bool be32(uint32_t& out);
  // A Variable Byte Integer (5.0 section 1.5.5); over four bytes is refused for `reason`.
  [[nodiscard]] bool var_int(VarInt& out, Malformed reason);
  // Two bytes of length, then the bytes. What is at hand of a text is checked at once.
  [[nodiscard]] bool binary(base::Bytes& out, Place place = Place::inner);
  [[nodiscard]] bool text(base::Bytes& out, Place place = Place::inner);

  // Always false, for `return cursor.refuse(...)`.
  bool refuse(Malformed reason);

 private:
  [[nodiscard]] bool has(size_t n);
  [[nodiscard]] bool take(size_t n, base::Bytes& out);
  [[nodiscard]] bool field_length(size_t& out, Place place);

  base::Bytes at_hand_;
  size_t position_ = 0;
  size_t end_ = SIZE_MAX;
  size_t packet_end_ = SIZE_MAX;
  Malformed overrun_ = Malformed::truncated;
  std::optional<Malformed> refused_;
};

}  // namespace mqlb::mqtt
