// One client as a broker sees it: an optional PROXY header (v1 or v2), CONNECT, then what it sends.
//
// Pure over bytes. Whatever is no MQTT ends the session with `false`, never the process.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "lib/mqtt/connect.hh"
#include "tests/load/packets.hh"

namespace mqlb::load {

struct ClientCount {
  uint64_t connections = 0;
  uint64_t messages = 0;
};

// What one listening broker has seen.
struct Tally {
  uint64_t connections = 0;  // with a good CONNECT
  uint64_t proxied = 0;      // of these, behind a PROXY header
  uint64_t messages_qos0 = 0;
  uint64_t messages_qos1 = 0;
  uint64_t pings = 0;
  uint64_t subscriptions = 0;
  uint64_t disconnects = 0;
  uint64_t malformed = 0;
  std::map<std::string, ClientCount, std::less<>> clients;  // by Client ID
};

class Session {
 public:
  explicit Session(Tally& tally) : tally_(tally) {}

  // Reads `in`, appends the answers to `out`, and returns how many bytes are done with. nullopt:
  // the session is over, by DISCONNECT or because the bytes are malformed.
  [[nodiscard]] std::optional<size_t> take(base::Bytes in, Octets& out);

 private:
  enum class Stage : uint8_t { proxy, connect, open };

  [[nodiscard]] std::optional<size_t> take_proxy(base::Bytes in);
  [[nodiscard]] std::optional<size_t> take_connect(base::Bytes in, Octets& out);
  [[nodiscard]] std::optional<size_t> take_packet(base::Bytes in, Octets& out);
  [[nodiscard]] bool answer(const Packet& packet, Octets& out);
  [[nodiscard]] bool publish(const Packet& packet, Octets& out);
  std::optional<size_t> refuse();

  Tally& tally_;
  ClientCount* client_ = nullptr;  // in tally_
  Stage stage_ = Stage::proxy;
  mqtt::Version version_ = mqtt::Version::v3_1_1;
  bool proxied_ = false;
};

}  // namespace mqlb::load
