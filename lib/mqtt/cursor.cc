#include "lib/mqtt/cursor.hh"

#include <algorithm>

#include "lib/mqtt/utf8.hh"

namespace mqlb::mqtt {

void Cursor::limit(size_t end) {
  at_hand_ = at_hand_.first(std::min(at_hand_.size(), end));
  end_ = end;
  packet_end_ = end;
}

bool Cursor::enter_properties(size_t length) {
  if (length > end_ - position_) return refuse(Malformed::truncated);
  end_ = position_ + length;
  overrun_ = Malformed::properties;
  return true;
}

void Cursor::leave_properties() {
  end_ = packet_end_;
  overrun_ = Malformed::truncated;
}

bool Cursor::u8(uint8_t& out) {
  base::Bytes b;
  if (!take(1, b)) return false;
  out = b[0];
  return true;
}

bool Cursor::be16(uint16_t& out) {
  base::Bytes b;
  if (!take(2, b)) return false;
  out = base::load_be16(b.data());
  return true;
}

bool Cursor::be32(uint32_t& out) {
  base::Bytes b;
  if (!take(4, b)) return false;
  out = base::load_be32(b.data());
  return true;
}

bool Cursor::var_int(VarInt& out, Malformed reason) {
  out = {};
  for (unsigned shift = 0; shift < 28; shift += 7) {
    uint8_t b = 0;
    if (!u8(b)) return false;
    out.value |= (b & 0x7fU) << shift;
    if (b < 0x80) {
      out.minimal = b != 0 || shift == 0;
      return true;
    }
  }
  return refuse(reason);
}

bool Cursor::binary(base::Bytes& out, Place place) {
  size_t length = 0;
  return field_length(length, place) && take(length, out);
}

bool Cursor::text(base::Bytes& out, Place place) {
  size_t length = 0;
  if (!field_length(length, place)) return false;
  const base::Bytes rest = at_hand_.subspan(position_);
  const base::Bytes here = rest.first(std::min(length, rest.size()));
  const TextEnd end = here.size() == length ? TextEnd::here : TextEnd::to_come;
  if (!is_valid_text(here, end)) return refuse(Malformed::string_encoding);
  return take(length, out);
}

bool Cursor::refuse(Malformed reason) {
  refused_ = reason;
  return false;
}

bool Cursor::has(size_t n) {
  if (n > end_ - position_) return refuse(overrun_);
  return n <= at_hand_.size() - position_;
}

bool Cursor::take(size_t n, base::Bytes& out) {
  if (!has(n)) return false;
  out = at_hand_.subspan(position_, n);
  position_ += n;
  return true;
}

bool Cursor::field_length(size_t& out, Place place) {
  uint16_t length = 0;
  if (!be16(length)) return false;
  out = length;
  if (length > end_ - position_) return refuse(overrun_);
  if (place == Place::last && length < end_ - position_) return refuse(Malformed::trailing_bytes);
  return true;
}

}  // namespace mqlb::mqtt
