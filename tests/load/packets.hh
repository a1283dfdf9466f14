// The few MQTT 3.1.1 packets that the load's clients send, and the cutting of a stream into packets
// (OASIS MQTT 3.1.1, chapters 2 and 3). Pure over bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hh"

namespace mqlb::load {

using Octets = std::vector<uint8_t>;

// Section 2.2.1.
enum class PacketType : uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  pingreq = 12,
  pingresp = 13,
  disconnect = 14,
};

struct Packet {
  PacketType type{};
  uint8_t flags = 0;
  base::Bytes body;  // behind the remaining length
  size_t size = 0;   // of the whole packet
};

enum class Cut : uint8_t { packet, need_more, malformed };

// The packet that `bytes` begin with, a view into them. Longer than `limit` is malformed.
[[nodiscard]] Cut cut_packet(base::Bytes bytes, size_t limit, Packet& out);

inline constexpr size_t kMaxPacket = 1 << 20;
inline constexpr Octets::value_type kPingreq[] = {0xc0, 0};
inline constexpr Octets::value_type kDisconnect[] = {0xe0, 0};

// Clean session, keep alive in seconds.
[[nodiscard]] Octets encode_connect(std::string_view client_id, uint16_t keep_alive);
// QoS 0, or 1 with a packet identifier of 0, to be set with set_packet_id().
[[nodiscard]] Octets encode_publish(std::string_view topic, size_t payload, unsigned qos);
void set_packet_id(Octets& publish, std::string_view topic, uint16_t id);

}  // namespace mqlb::load
