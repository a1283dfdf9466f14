// The broker's role: behind a PROXY header it speaks just enough MQTT, and it can misbehave.
//
// Brokers listen on a Host; each connection follows a plan made for its SYN.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tests/support/sim/host.hh"
#include "tests/support/sim/ledger.hh"
#include "tests/support/sim/mqtt_packets.hh"
#include "tests/support/sim/proxy_header.hh"
#include "tests/support/sim/stream_app.hh"

namespace mqlb::sim {

// What the broker does once the connection is open.
enum class BrokerConduct : uint8_t {
  serve,              // until the client ends
  reset_on_accept,    // RST as soon as the handshake is over: a connection limit
  end_on_accept,      // FIN as soon as the handshake is over
  end_after_connack,  // closes first: FIN behind the CONNACK and the bulk
  reset_after_connack,
  mute,  // reads, never answers
};

struct BrokerPlan {
  SynVerdict::Action on_syn = SynVerdict::Action::accept;
  Duration syn_delay{0};
  TcpOptions tcp;
  BrokerConduct conduct = BrokerConduct::serve;
  size_t bulk = 0;  // bytes of PUBLISH payload sent behind the CONNACK
  size_t bulk_packet = 1000;
  ReadPace pace;
  Duration idle_limit{120'000'000};  // nothing read for so long: RST
};

enum class ProxyExpectation : uint8_t { none, v1, v2 };

struct BrokerConfig {
  std::string name;
  wire::Endpoint address;
  ProxyExpectation proxy = ProxyExpectation::none;
  bool proxy_crc32c = false;  // v2: the TLV must be there
  bool proxy_unique_id = false;
  std::function<BrokerPlan(const Segment& syn)> plan;  // none: defaults
};

struct BrokerCounters {
  uint64_t syns = 0;
  uint64_t connections = 0;
  uint64_t connects = 0;       // CONNECT packets
  uint64_t proxy_headers = 0;  // good ones
  uint64_t publishes = 0;
  uint64_t idle_resets = 0;
};

class Broker {
 public:
  // Listens at once. Outlives the world's last event.
  Broker(Host& host, Ledger& ledger, BrokerConfig config);
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  [[nodiscard]] const BrokerConfig& config() const { return config_; }
  [[nodiscard]] BrokerCounters& counters() { return counters_; }
  [[nodiscard]] Ledger& ledger() { return ledger_; }
  [[nodiscard]] Random& random() { return random_; }

 private:
  Ledger& ledger_;
  BrokerConfig config_;
  BrokerCounters counters_;
  Random random_;
};

}  // namespace mqlb::sim
