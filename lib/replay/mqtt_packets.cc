#include "lib/replay/mqtt_packets.hh"

namespace mqlb::replay {
namespace {

constexpr size_t kMaxLengthBytes = 4;
constexpr uint8_t kNoSubscriptionExisted = 0x11;  // MQTT 5.0 section 3.11.3

void append_be16(std::vector<uint8_t>& out, uint16_t v) {
  out.push_back(static_cast<uint8_t>(v >> 8));
  out.push_back(static_cast<uint8_t>(v));
}

std::vector<uint8_t> encode(PacketType type, const std::vector<uint8_t>& body) {
  std::vector<uint8_t> out{static_cast<uint8_t>(static_cast<unsigned>(type) << 4U)};
  size_t rest = body.size();
  do {
    const auto digit = static_cast<uint8_t>(rest % 128);
    rest /= 128;
    out.push_back(rest > 0 ? static_cast<uint8_t>(digit | 0x80U) : digit);
  } while (rest > 0);
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

std::vector<uint8_t> encode_id(PacketType type, uint16_t id) {
  std::vector<uint8_t> body;
  append_be16(body, id);
  return encode(type, body);
}

// The body of SUBSCRIBE or UNSUBSCRIBE behind the packet id: one code for each topic filter.
std::vector<uint8_t> codes(const MqttPacket& packet, base::ByteReader& reader,
                           mqtt::Version version) {
  if (version == mqtt::Version::v5_0) {
    const auto properties = packet_size(packet.body.subspan(1));
    if (!properties || *properties < 2) return {};
    reader.take(*properties - 1);  // the length counts itself, but not the byte before it
  }
  std::vector<uint8_t> out;
  const bool subscribe = packet.type == PacketType::subscribe;
  while (reader.ok() && reader.remaining() > 0) {
    reader.take(reader.be16());
    const uint8_t options = subscribe ? reader.u8() : kNoSubscriptionExisted;
    if (reader.ok()) out.push_back(subscribe ? options & 3U : options);
  }
  return out;
}

std::vector<uint8_t> answer_subscription(const MqttPacket& packet, mqtt::Version version) {
  base::ByteReader reader(packet.body);
  std::vector<uint8_t> body;
  append_be16(body, reader.be16());
  if (!reader.ok()) return {};
  const std::vector<uint8_t> list = codes(packet, reader, version);
  if (version == mqtt::Version::v5_0) body.push_back(0);  // no properties
  const bool subscribe = packet.type == PacketType::subscribe;
  // UNSUBACK has a payload in 5.0 only (3.1.1 section 3.11.3).
  if (subscribe || version == mqtt::Version::v5_0)
    body.insert(body.end(), list.begin(), list.end());
  return encode(subscribe ? PacketType::suback : PacketType::unsuback, body);
}

std::vector<uint8_t> answer_publish(const MqttPacket& packet) {
  const unsigned qos = packet.flags >> 1U & 3U;
  base::ByteReader reader(packet.body);
  reader.take(reader.be16());
  const uint16_t id = qos > 0 ? reader.be16() : uint16_t{0};
  if (qos == 0 || !reader.ok()) return {};
  return encode_id(qos == 1 ? PacketType::puback : PacketType::pubrec, id);
}

}  // namespace

std::optional<size_t> packet_size(base::Bytes bytes) {
  size_t length = 0;
  for (size_t i = 0; i < kMaxLengthBytes; ++i) {
    if (i + 1 >= bytes.size()) return std::nullopt;
    length |= static_cast<size_t>(bytes[i + 1] & 0x7fU) << (7 * i);
    if ((bytes[i + 1] & 0x80U) == 0) return length + i + 2;
  }
  return 0;
}

std::optional<MqttPacket> MqttReader::next() {
  if (failed_) return std::nullopt;
  const base::Bytes rest = base::Bytes(pending_).subspan(read_);
  const auto size = packet_size(rest);
  if (size && *size == 0) failed_ = true;
  if (!size || *size == 0 || *size > rest.size()) {
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(read_));
    read_ = 0;
    return std::nullopt;
  }
  size_t header = 2;
  while ((rest[header - 1] & 0x80U) != 0) ++header;
  read_ += *size;
  return MqttPacket{static_cast<PacketType>(rest[0] >> 4U), static_cast<uint8_t>(rest[0] & 0x0fU),
                    rest.subspan(header, *size - header)};
}

bool is_reply(PacketType type) {
  switch (type) {
    case PacketType::connack:
    case PacketType::puback:
    case PacketType::pubrec:
    case PacketType::pubcomp:
    case PacketType::suback:
    case PacketType::unsuback:
    case PacketType::pingresp:
      return true;
    case PacketType::connect:
    case PacketType::publish:
    case PacketType::pubrel:
    case PacketType::subscribe:
    case PacketType::unsubscribe:
    case PacketType::pingreq:
    case PacketType::disconnect:
    case PacketType::auth:
      return false;
  }
  return false;
}

std::vector<uint32_t> reply_ends(base::Bytes stream) {
  std::vector<uint32_t> ends;
  size_t at = 0;
  while (at < stream.size()) {
    const auto size = packet_size(stream.subspan(at));
    if (!size || *size == 0 || *size > stream.size() - at) break;
    const auto type = static_cast<PacketType>(stream[at] >> 4U);
    at += *size;
    if (is_reply(type)) ends.push_back(static_cast<uint32_t>(at));
  }
  return ends;
}

std::vector<uint8_t> answer(const MqttPacket& packet, mqtt::Version version) {
  switch (packet.type) {
    case PacketType::connect:
      // Accepted, no session present; 5.0: no properties.
      return version == mqtt::Version::v5_0 ? std::vector<uint8_t>{0x20, 3, 0, 0, 0}
                                            : std::vector<uint8_t>{0x20, 2, 0, 0};
    case PacketType::subscribe:
    case PacketType::unsubscribe:
      return answer_subscription(packet, version);
    case PacketType::publish:
      return answer_publish(packet);
    case PacketType::pubrel:
      if (packet.body.size() < 2) return {};
      return encode_id(PacketType::pubcomp, base::load_be16(packet.body.data()));
    case PacketType::pubrec:
      if (packet.body.size() < 2) return {};
      return {0x62, 2, packet.body[0], packet.body[1]};
    case PacketType::pingreq:
      return encode(PacketType::pingresp, {});
    case PacketType::connack:
    case PacketType::puback:
    case PacketType::pubcomp:
    case PacketType::suback:
    case PacketType::unsuback:
    case PacketType::pingresp:
    case PacketType::disconnect:
    case PacketType::auth:
      return {};
  }
  return {};
}

}  // namespace mqlb::replay
