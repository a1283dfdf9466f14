// Flow records: one cache line per side, each written by the one core that owns it.
//
// The worker's line serves packets from the client, the proxy's line packets from the broker. They
// lie in different tables and refer to each other by index. A worker's record outlives the proxy's
// until it says so; messages to the worker carry its generation, so that one about a flow that is
// gone is recognised.
#pragma once

#include <bit>
#include <cstdint>

#include "lib/base/cache_line.hh"
#include "lib/base/seq32.hh"
#include "lib/config/snapshot.hh"
#include "lib/splice/translation.hh"
#include "lib/wire/address.hh"

namespace mqlb::flow {

using FlowIndex = uint32_t;
inline constexpr FlowIndex kNoFlow = 0xffffffff;

// Index of a data core among the cores of the daemon.
using CoreIndex = uint8_t;

// What a worker knows a client's connection by. Of an IPv6 address it has only a hash: the address
// itself is in WorkerTable.
struct ClientKey {
  uint32_t address = 0;
  uint16_t port = 0;
  uint16_t vip = 0;  // which listener address and port (engine::Addresses)

  [[nodiscard]] uint64_t bits() const { return std::bit_cast<uint64_t>(*this); }
  friend bool operator==(const ClientKey& a, const ClientKey& b) { return a.bits() == b.bits(); }
};
static_assert(sizeof(ClientKey) == 8);

enum class WorkerState : uint8_t {
  free,
  await_connect,  // handshake done, CONNECT not complete
  opening,        // a proxy is connecting to a broker
  spliced,
  closing,   // both FINs acknowledged, or a RST went by: kept for stragglers
  refusing,  // CONNACK "unavailable" and FIN sent, waiting for the client to acknowledge
};

enum WorkerFlag : uint8_t {
  kClientFin = 0x01,       // the client's FIN was seen; next_seq is behind it
  kClientFinAcked = 0x02,  // and the broker acknowledged it
  kBrokerFin = 0x04,       // the broker's FIN was seen; broker_fin_end is behind it
  kBrokerFinAcked = 0x08,  // and the client acknowledged it
  kStripSack = 0x10,
  kOldTsecr = 0x20,  // the client may still echo a TSval from before the splice
  kReset = 0x40,     // closing because of the client's RST
  kBrokerReset = 0x80,
};

// Owned by a worker. Sequence numbers are in client space.
struct alignas(base::kCacheLine) WorkerFlow {
  ClientKey key;
  WorkerState state = WorkerState::free;
  uint8_t flags = 0;
  int8_t window_shift = 0;
  CoreIndex proxy = 0;
  config::BackendId backend = 0;
  config::SnatId snat = 0;
  uint16_t snat_port = 0;
  uint16_t client_mac_hash = 0;
  uint32_t seq_delta = 0;  // client to broker
  uint32_t ack_delta = 0;
  uint32_t timestamp_delta = 0;  // added to TSecr
  uint16_t checksum = 0;
  uint8_t to_broker_high = 0;  // bytes sent to and acknowledged by the client, 40 bits each
  uint8_t to_client_high = 0;
  uint32_t last_seen = 0;  // seconds
  base::Seq32 next_seq;    // behind the furthest byte that the client sent
  base::Seq32 last_ack;    // the furthest that the client acknowledged
  union {
    uint32_t accepting = 0;   // index of the Accepting object, before the splice
    uint32_t broker_fin_end;  // with kBrokerFin
  };
  FlowIndex proxy_flow = kNoFlow;
  uint32_t to_broker_low = 0;
  uint32_t to_client_low = 0;

  void count_to_broker(uint32_t n) {
    to_broker_low += n;
    if (to_broker_low < n) ++to_broker_high;
  }
  void count_to_client(uint32_t n) {
    to_client_low += n;
    if (to_client_low < n) ++to_client_high;
  }
  [[nodiscard]] uint64_t to_broker() const {
    return uint64_t{to_broker_high} << 32 | to_broker_low;
  }
  [[nodiscard]] uint64_t to_client() const {
    return uint64_t{to_client_high} << 32 | to_client_low;
  }
};
static_assert(sizeof(WorkerFlow) == 64);

// What packets of a settled flow do not need, in a table of its own.
struct WorkerFlowRest {
  uint64_t client_id_hash = 0;
  // With kOldTsecr: our clock at the splice; the broker sent no timestamp before (client space).
  uint32_t tsecr_floor = 0;
  config::ListenerId listener = 0;
  uint16_t generation = 0;    // counts the flows that had this index
  uint16_t idle_timeout = 0;  // units of kIdleUnit seconds
  // With kOldTsecr: since when (seconds) the client echoes nothing older; 0: it still may.
  uint16_t fresh_since = 0;
  bool counted = false;       // among the connections of its listener
  uint8_t source_bits = 0;    // of the client's address that it is counted under; 0: it is not
  bool left_backend = false;  // not among the connections of its backend any more
};
inline constexpr uint32_t kIdleUnit = 4;
static_assert(sizeof(WorkerFlowRest) == 24);

enum class ProxyState : uint8_t {
  free,
  syn_sent,
  settling,   // PROXY header or owned bytes not acknowledged yet, or nothing heard of the broker
  reopening,  // without a broker, until the worker has taken the client back
  spliced,
};

enum ProxyFlag : uint8_t {
  kPeerFin = 0x01,       // the client's FIN was forwarded; client_fin_end is behind it
  kPeerFinAcked = 0x02,  // and the broker acknowledged it
  kOwnFin = 0x04,        // the broker's FIN was seen
  kGuard = 0x08,         // see ProxyTable::guard()
  kClientV6 = 0x10,      // by which family the client is reached, and the broker
  kBrokerV6 = 0x20,
};

// Owned by a proxy. Sequence numbers are in broker space.
struct alignas(base::kCacheLine) ProxyFlow {
  wire::IpAddress client;
  uint16_t client_port = 0;
  wire::MacAddress client_mac;
  ProxyState state = ProxyState::free;
  uint8_t flags = 0;
  int8_t window_shift = 0;
  config::PortId client_side = 0;  // the port that the client is reached by
  uint16_t vip = 0;
  uint16_t broker = 0;  // which broker address and port (engine::Brokers)
  config::SnatId snat = 0;
  uint16_t snat_port = 0;
  config::BackendId backend = 0;
  uint16_t worker_generation = 0;
  uint32_t seq_delta = 0;  // broker to client
  uint32_t ack_delta = 0;
  uint32_t timestamp_delta = 0;  // added to TSval
  uint16_t checksum = 0;
  CoreIndex worker = 0;
  union {
    uint32_t opening = 0;     // index of the Opening object, before the splice has settled
    uint32_t client_fin_end;  // with kPeerFin
  };
  FlowIndex worker_flow = kNoFlow;
};
static_assert(sizeof(ProxyFlow) == 64);

}  // namespace mqlb::flow
