// The client's role: opens a connection to a listener, says CONNECT, does its plan, ends it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim/host.hh"
#include "tests/support/sim/ledger.hh"
#include "tests/support/sim/mqtt_packets.hh"
#include "tests/support/sim/random.hh"
#include "tests/support/sim/stream_app.hh"

namespace mqlb::sim {

enum class Ending : uint8_t {
  disconnect,   // all replies, then DISCONNECT and FIN
  end,          // all replies, then FIN
  half_close,   // FIN right behind the last byte written; replies still come
  reset,        // all replies, then RST
  reset_early,  // RST right behind the last byte written
  vanish,       // all replies, then not a word more
  wait,         // the broker ends first
};

struct ClientPlan {
  wire::Endpoint local;
  wire::Endpoint listener;
  TcpOptions tcp;
  ConnectFields connect;
  // The CONNECT is cut into pieces of these sizes, the rest is the last; each its own segment.
  std::vector<size_t> connect_pieces;
  Duration piece_gap{0};
  bool pipeline = false;  // everything right behind CONNECT, without waiting for CONNACK
  bool subscribe = false;
  size_t publish_bytes = 0;  // of payload, in packets of at most publish_packet
  size_t publish_packet = 1000;
  unsigned qos = 0;
  unsigned pings = 0;
  uint64_t expect_bulk = 0;  // bytes of payload from the broker to wait for
  Ending ending = Ending::disconnect;
  ReadPace pace;
  Duration patience{300'000'000};  // from SYN to the end, then RST
};

// Opens the connection now. The endpoint is the host's; what becomes of it is in the conversation.
std::shared_ptr<Conversation> open_client(Host& host, Ledger& ledger, const ClientPlan& plan);

// A plan drawn from everything a client may do that ends in order; TCP options as well.
[[nodiscard]] ClientPlan random_client_plan(Random& random, const std::string& client_id);

}  // namespace mqlb::sim
