#include "tests/support/sim/mqtt_packets.hh"

namespace mqlb::sim {
namespace {

void put16(Buffer& out, size_t v) {
  out.push_back(static_cast<uint8_t>(v >> 8U));
  out.push_back(static_cast<uint8_t>(v));
}

void put_string(Buffer& out, const std::string& text) {
  put16(out, text.size());
  out.insert(out.end(), text.begin(), text.end());
}

Buffer packet(uint8_t type, uint8_t flags, const Buffer& body) {
  Buffer out;
  out.reserve(body.size() + 5);
  out.push_back(static_cast<uint8_t>(type << 4U | flags));
  size_t length = body.size();
  do {
    const size_t more = length / 128;
    out.push_back(static_cast<uint8_t>(length % 128 + (more > 0 ? 128 : 0)));
    length = more;
  } while (length > 0);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

// MQTT 5 puts properties where the others have nothing; here there are none.
void put_no_properties(Buffer& out, Level level) {
  if (level == 5) out.push_back(0);
}

std::string read_string(base::ByteReader& in) {
  const uint16_t length = in.be16();
  return std::string(base::as_text(in.take(length)));
}

}  // namespace

Buffer encode_connect(const ConnectFields& f) {
  Buffer body;
  put_string(body, f.level == 3 ? "MQIsdp" : "MQTT");
  body.push_back(f.level);
  const bool user = !f.user_name.empty();
  const bool password = user && !f.password.empty();
  body.push_back(
      static_cast<uint8_t>((user ? 0x80 : 0) | (password ? 0x40 : 0) | (f.clean ? 0x02 : 0)));
  put16(body, f.keep_alive);
  put_no_properties(body, f.level);
  put_string(body, f.client_id);
  if (user) put_string(body, f.user_name);
  if (password) put_string(body, f.password);
  return packet(kConnect, 0, body);
}

Buffer encode_connack(Level level, uint8_t code) {
  Buffer body{0, code};
  put_no_properties(body, level);
  return packet(kConnack, 0, body);
}

Buffer encode_unavailable(Level level) { return encode_connack(level, level == 5 ? 0x88 : 3); }

Buffer encode_subscribe(Level level, uint16_t id, const std::string& topic) {
  Buffer body;
  put16(body, id);
  put_no_properties(body, level);
  put_string(body, topic);
  body.push_back(1);
  return packet(kSubscribe, 2, body);
}

Buffer encode_suback(Level level, uint16_t id) {
  Buffer body;
  put16(body, id);
  put_no_properties(body, level);
  body.push_back(1);
  return packet(kSuback, 0, body);
}

Buffer encode_publish(Level level, const std::string& topic, unsigned qos, uint16_t id,
                      base::Bytes payload) {
  Buffer body;
  put_string(body, topic);
  if (qos > 0) put16(body, id);
  put_no_properties(body, level);
  body.insert(body.end(), payload.begin(), payload.end());
  return packet(kPublish, static_cast<uint8_t>(qos << 1U), body);
}

Buffer encode_ack(uint8_t type, uint16_t id) {
  Buffer body;
  put16(body, id);
  return packet(type, type == kPubrel ? 2 : 0, body);
}

Buffer encode_empty(uint8_t type) { return packet(type, 0, {}); }

std::optional<ConnectFields> parse_connect(const Packet& packet) {
  base::ByteReader in(packet.body);
  ConnectFields f;
  const std::string name = read_string(in);
  f.level = in.u8();
  const uint8_t flags = in.u8();
  f.keep_alive = in.be16();
  f.clean = (flags & 0x02) != 0;
  if (f.level == 5 && in.u8() != 0) return std::nullopt;
  f.client_id = read_string(in);
  if ((flags & 0x80) != 0) f.user_name = read_string(in);
  if ((flags & 0x40) != 0) f.password = read_string(in);
  const bool named = name == (f.level == 3 ? "MQIsdp" : "MQTT");
  if (!in.ok() || in.remaining() != 0 || !named) return std::nullopt;
  return f;
}

std::optional<PublishFields> parse_publish(Level level, const Packet& packet) {
  base::ByteReader in(packet.body);
  PublishFields f;
  f.qos = packet.flags >> 1U & 3U;
  read_string(in);
  if (f.qos > 0) f.id = in.be16();
  if (level == 5 && in.u8() != 0) return std::nullopt;
  if (!in.ok()) return std::nullopt;
  f.payload = in.remaining();
  return f;
}

void PacketReader::feed(base::Bytes bytes) {
  if (at_ > 0) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(at_));
    at_ = 0;
  }
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

std::optional<Packet> PacketReader::next() {
  const base::Bytes rest = base::Bytes(bytes_).subspan(at_);
  size_t length = 0;
  size_t used = 1;
  while (true) {
    if (broken_ || used >= rest.size()) return std::nullopt;
    const uint8_t digit = rest[used];
    length |= static_cast<size_t>(digit & 127U) << (7 * (used - 1));
    ++used;
    if ((digit & 128U) == 0) break;
    if (used > 4) {
      broken_ = true;
      return std::nullopt;
    }
  }
  if (rest.size() - used < length) return std::nullopt;
  at_ += used + length;
  return Packet{static_cast<uint8_t>(rest[0] >> 4U), static_cast<uint8_t>(rest[0] & 15U),
                rest.subspan(used, length)};
}

}  // namespace mqlb::sim
