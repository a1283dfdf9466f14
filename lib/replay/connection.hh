// The two ends of a replayed connection, each a Player and what it makes of the bytes it hears.
//
// Owned by a Session.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/replay/mqtt_packets.hh"
#include "lib/replay/session.hh"

namespace mqlb::replay {

class ClientConnection final : public PlayerHost {
 public:
  ClientConnection(Session& session, size_t index, base::Instant now);

  void transmit(Player& from, const wire::Segment& segment) override;
  void on_bytes(Player& to, base::Bytes bytes, base::Instant now) override;

  // A broker's stub is about to say this.
  void expect(base::Bytes bytes);
  // Another broker takes over: what the last one said does not count.
  void forget_expected();

  [[nodiscard]] size_t index() const { return index_; }
  [[nodiscard]] Player& player() { return player_; }
  [[nodiscard]] const Recording& recording() const { return recording_; }
  [[nodiscard]] const std::shared_ptr<const Rewrite>& rewrite() const { return rewrite_; }
  [[nodiscard]] const std::string& client_id() const { return client_id_; }
  // Copies what the report says of the player.
  void report(Row& row) const;

  base::Instant scheduled = kNever;
  bool has_broker = false;
  bool counted = false;  // its end was taken note of

 private:
  void take_connack(uint8_t code);

  Session& session_;
  size_t index_;
  const Planned& planned_;
  const Recording& recording_;
  base::Instant began_;
  std::shared_ptr<const Rewrite> rewrite_;
  Script script_;
  std::string client_id_;
  Player player_;
  MqttReader replies_;
  std::vector<uint8_t> expected_;  // said by a stub, not yet arrived
};

class BrokerConnection final : public PlayerHost {
 public:
  BrokerConnection(Session& session, size_t index, size_t broker, config::PortId port,
                   const wire::LinkPair& link, const wire::Endpoint& remote);

  void transmit(Player& from, const wire::Segment& segment) override;
  void on_bytes(Player& to, base::Bytes bytes, base::Instant now) override;
  void on_peer_fin(Player& player, base::Instant now) override;
  void on_established(Player& player, base::Instant now) override;

  [[nodiscard]] Player& player() { return player_; }

  base::Instant scheduled = kNever;

 private:
  // Reads the PROXY header, if there is one, and finds the client. False: more bytes are needed.
  [[nodiscard]] bool identify_client(base::Instant now);
  void adopt(ClientConnection& client, base::Instant now);
  void take(base::Bytes bytes, base::Instant now);
  void answer_requests(base::Bytes bytes, base::Instant now);

  Session& session_;
  size_t broker_;
  config::PortId port_;
  wire::LinkPair link_;
  Conduct conduct_;
  Player player_;
  bool identified_ = false;
  std::vector<uint8_t> head_;  // until the client is known
  size_t header_size_ = 0;
  std::string header_text_;
  std::optional<wire::Endpoint> header_source_;
  std::optional<wire::Endpoint> header_destination_;
  std::optional<size_t> client_;  // planned
  std::shared_ptr<const Rewrite> rewrite_;
  std::optional<Script> client_script_;
  std::optional<Script> server_script_;
  uint32_t arrived_ = 0;
  MqttReader requests_;
  mqtt::Version version_ = mqtt::Version::v3_1_1;
};

}  // namespace mqlb::replay
