// Who talks with whom: ties the client's end of a connection to the broker's end, so that the
// checks of each know the truth about the other.
//
// A client enters its conversation before it connects. A broker finds it by the address in the
// PROXY header, by the peer's address (no device that hides it), or by the Client ID.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/support/sim/checks.hh"
#include "tests/support/sim/mqtt_packets.hh"
#include "tests/support/sim/tcp_endpoint.hh"

namespace mqlb::sim {

struct ClientOutcome {
  bool established = false;
  bool succeeded = false;  // every reply that the plan waits for has come
  bool saw_end = false;    // the other end's FIN
  bool gave_up = false;    // patience was over
  bool over = false;
  CloseReason reason = CloseReason::none;
  int connack = -1;       // its code
  Buffer device_bytes;    // what came before any broker had the connection
  uint64_t received = 0;  // bytes read
  uint64_t worst_ack_regress = 0;
  Instant opened_at{};
  Instant connack_at{};
  Instant closed_at{};
};

struct BrokerOutcome {
  std::string broker;        // the last that had the connection
  unsigned attachments = 0;  // brokers that did
  bool saw_connect = false;
  bool saw_end = false;
  bool over = false;
  CloseReason reason = CloseReason::none;
  uint64_t received = 0;  // bytes read, without the PROXY header
  uint64_t worst_ack_regress = 0;
};

struct Conversation {
  wire::Endpoint client;
  wire::Endpoint listener;
  std::string client_id;
  // Filled when the ends come into being; released when both are over.
  std::shared_ptr<const Stream> client_stream;
  std::shared_ptr<const ReceiveQueue> client_received;
  std::shared_ptr<PeerTruth> client_sees = std::make_shared<PeerTruth>();
  ClientOutcome client_outcome;
  BrokerOutcome broker_outcome;

  [[nodiscard]] bool attached() const { return client_sees->stream != nullptr; }
  // A broker's endpoint takes the connection; the client's bytes begin at `header` there.
  void attach(TcpEndpoint& broker, const std::string& name, uint64_t header);
  // One that will say nothing to it, so that a device may find another: its windows and ACKs count.
  void meet(TcpEndpoint& broker, uint64_t header);
  void part();
  void release_if_over();
  // Every byte written at either end was read at the other, and both ends are over in order.
  [[nodiscard]] bool complete() const;

  uint64_t client_wrote = 0;
  uint64_t broker_wrote = 0;
};

class Ledger {
 public:
  std::shared_ptr<Conversation> open(const wire::Endpoint& client, const wire::Endpoint& listener,
                                     const std::string& client_id);
  // The latest with this address or Client ID; nullptr when there is none.
  [[nodiscard]] std::shared_ptr<Conversation> find(const wire::Endpoint& client) const;
  [[nodiscard]] std::shared_ptr<Conversation> find_id(const std::string& client_id) const;
  [[nodiscard]] const std::vector<std::shared_ptr<Conversation>>& all() const { return all_; }

 private:
  std::vector<std::shared_ptr<Conversation>> all_;
  std::unordered_map<std::string, std::shared_ptr<Conversation>> by_client_;
  std::unordered_map<std::string, std::shared_ptr<Conversation>> by_id_;
};

}  // namespace mqlb::sim
