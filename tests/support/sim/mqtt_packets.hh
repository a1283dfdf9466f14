// As much MQTT as the simulated client and broker need: 3.1, 3.1.1 and 5.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/bytes.hh"

namespace mqlb::sim {

using Buffer = std::vector<uint8_t>;

// Packet types (first byte, upper half).
inline constexpr uint8_t kConnect = 1;
inline constexpr uint8_t kConnack = 2;
inline constexpr uint8_t kPublish = 3;
inline constexpr uint8_t kPuback = 4;
inline constexpr uint8_t kPubrec = 5;
inline constexpr uint8_t kPubrel = 6;
inline constexpr uint8_t kPubcomp = 7;
inline constexpr uint8_t kSubscribe = 8;
inline constexpr uint8_t kSuback = 9;
inline constexpr uint8_t kPingreq = 12;
inline constexpr uint8_t kPingresp = 13;
inline constexpr uint8_t kDisconnect = 14;

// Protocol levels as in CONNECT: 3 is MQTT 3.1, 4 is 3.1.1, 5 is 5.0.
using Level = uint8_t;

struct ConnectFields {
  Level level = 4;
  std::string client_id;
  std::string user_name;  // empty: none
  std::string password;   // only with a user name
  bool clean = true;
  uint16_t keep_alive = 60;
};

[[nodiscard]] Buffer encode_connect(const ConnectFields& fields);
[[nodiscard]] Buffer encode_connack(Level level, uint8_t code);
// The balancer's "server unavailable": 3, or 0x88 in MQTT 5.
[[nodiscard]] Buffer encode_unavailable(Level level);
[[nodiscard]] Buffer encode_subscribe(Level level, uint16_t id, const std::string& topic);
[[nodiscard]] Buffer encode_suback(Level level, uint16_t id);
[[nodiscard]] Buffer encode_publish(Level level, const std::string& topic, unsigned qos,
                                    uint16_t id, base::Bytes payload);
// PUBACK, PUBREC, PUBREL, PUBCOMP in their short form.
[[nodiscard]] Buffer encode_ack(uint8_t type, uint16_t id);
[[nodiscard]] Buffer encode_empty(uint8_t type);

struct Packet {
  uint8_t type = 0;
  uint8_t flags = 0;
  base::Bytes body;  // until the reader is fed again
};

[[nodiscard]] std::optional<ConnectFields> parse_connect(const Packet& packet);
struct PublishFields {
  unsigned qos = 0;
  uint16_t id = 0;
  size_t payload = 0;  // bytes
};
[[nodiscard]] std::optional<PublishFields> parse_publish(Level level, const Packet& packet);

// Cuts a byte stream into packets.
class PacketReader {
 public:
  void feed(base::Bytes bytes);
  // The next whole packet, or nothing.
  std::optional<Packet> next();
  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] size_t pending() const { return bytes_.size() - at_; }

 private:
  Buffer bytes_;
  size_t at_ = 0;
  bool broken_ = false;
};

}  // namespace mqlb::sim
