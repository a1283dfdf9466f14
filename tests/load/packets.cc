#include "tests/load/packets.hh"

#include <algorithm>

namespace mqlb::load {
namespace {

// Section 2.2.3: seven bits a byte, least significant first.
void put_length(Octets& out, size_t length) {
  do {
    const auto low = static_cast<uint8_t>(length & 0x7f);
    length >>= 7;
    out.push_back(static_cast<uint8_t>(length > 0 ? low | 0x80 : low));
  } while (length > 0);
}

void put_text(Octets& out, std::string_view text) {
  out.push_back(static_cast<uint8_t>(text.size() >> 8));
  out.push_back(static_cast<uint8_t>(text.size()));
  const base::Bytes bytes = base::as_bytes(text);
  out.insert(out.end(), bytes.begin(), bytes.end());
}

Octets packet(uint8_t first, const Octets& body) {
  Octets out{first};
  put_length(out, body.size());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace

Cut cut_packet(base::Bytes bytes, size_t limit, Packet& out) {
  size_t length = 0;
  size_t i = 1;
  for (unsigned shift = 0;; shift += 7, ++i) {
    if (shift > 21) return Cut::malformed;
    if (i >= bytes.size()) return Cut::need_more;
    length |= size_t{bytes[i] & 0x7fU} << shift;
    if ((bytes[i] & 0x80) == 0) break;
  }
  const size_t head = i + 1;
  if (length > limit) return Cut::malformed;
  if (bytes.size() - head < length) return Cut::need_more;
  out = {static_cast<PacketType>(bytes[0] >> 4), static_cast<uint8_t>(bytes[0] & 0x0f),
         bytes.subspan(head, length), head + length};
  return Cut::packet;
}

Octets encode_connect(std::string_view client_id, uint16_t keep_alive) {
  constexpr uint8_t kLevel = 4;
  constexpr uint8_t kCleanSession = 2;
  Octets body;
  put_text(body, "MQTT");
  body.push_back(kLevel);
  body.push_back(kCleanSession);
  body.push_back(static_cast<uint8_t>(keep_alive >> 8));
  body.push_back(static_cast<uint8_t>(keep_alive));
  put_text(body, client_id);
  return packet(0x10, body);
}

Octets encode_publish(std::string_view topic, size_t payload, unsigned qos) {
  Octets body;
  put_text(body, topic);
  if (qos > 0) body.insert(body.end(), 2, 0);
  body.insert(body.end(), payload, uint8_t{'x'});
  return packet(static_cast<uint8_t>(0x30 | qos << 1), body);
}

void set_packet_id(Octets& publish, std::string_view topic, uint16_t id) {
  const auto last = std::find_if(publish.begin() + 1, publish.end(),
                                 [](uint8_t octet) { return (octet & 0x80) == 0; });
  const auto at = static_cast<size_t>(last - publish.begin()) + 1 + 2 + topic.size();
  base::store_be16(publish.data() + at, id);
}

}  // namespace mqlb::load
