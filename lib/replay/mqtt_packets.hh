// MQTT control packets in a stream of bytes, and a broker's shortest honest answers to them
// (OASIS MQTT 3.1.1 and 5.0, chapter 3).
//
// Pure over bytes. Streams are hostile: what is no MQTT ends the reading, never the process.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/mqtt/connect.hh"

namespace mqlb::replay {

// MQTT section 2.1.2 (2.2.1 in 3.1.1).
enum class PacketType : uint8_t {
  connect = 1,
  connack = 2,
  publish = 3,
  puback = 4,
  pubrec = 5,
  pubrel = 6,
  pubcomp = 7,
  subscribe = 8,
  suback = 9,
  unsubscribe = 10,
  unsuback = 11,
  pingreq = 12,
  pingresp = 13,
  disconnect = 14,
  auth = 15,
};

struct MqttPacket {
  PacketType type{};
  uint8_t flags = 0;
  base::Bytes body;  // behind the remaining length
};

// The size of the packet that `bytes` begin with, fixed header included; nullopt while that cannot
// be told yet, 0 if the length is ill-formed.
[[nodiscard]] std::optional<size_t> packet_size(base::Bytes bytes);

// Cuts a stream that comes in pieces into packets.
class MqttReader {
 public:
  void feed(base::Bytes bytes) {
    if (!failed_) pending_.insert(pending_.end(), bytes.begin(), bytes.end());
  }
  // The next whole packet, a view until the next feed(); nullopt when there is none (any more).
  [[nodiscard]] std::optional<MqttPacket> next();

 private:
  std::vector<uint8_t> pending_;
  size_t read_ = 0;
  bool failed_ = false;
};

// True for what a broker sends in answer to a client's packet, one for one.
[[nodiscard]] bool is_reply(PacketType type);

// replies_up_to(stream)[i]: where in a broker's stream its reply number i ends.
[[nodiscard]] std::vector<uint32_t> reply_ends(base::Bytes stream);

// What a broker answers; empty if the packet needs no answer.
[[nodiscard]] std::vector<uint8_t> answer(const MqttPacket& packet, mqtt::Version version);

}  // namespace mqlb::replay
