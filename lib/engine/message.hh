// What cores say to each other. Every message is a small value that is copied through a queue; a
// worker and a proxy on one core use the same messages.
//
//   worker                                         proxy
//     | -- OpenRequest ----------------------------> |  connect to a broker
//     | <------------------- Opened or OpenFailed -- |
//     | <------------------------------- TakeBack -- |  the broker left before it said anything
//     | -- TakenBack or Release -------------------> |  then as after OpenRequest
//     | -- ClientFin ------------------------------> |  a FIN went to the broker
//     | <----------------------------- BrokerFin --- |  a FIN went to the client
//     | <------------------------- ClientFinAcked -- |
//     | <---------------------------- BrokerReset -- |
//     | -- ClientMoved ----------------------------> |  new link address
//     | -- Release --------------------------------> |  the last message about a flow
//
// A proxy's record lives from OpenRequest to OpenFailed or Release, so the worker's messages always
// find it; once it has read TakeBack the worker names the record no more, until the next Opened.
// The worker's record may be gone when the proxy's message arrives: a generation tells.
#pragma once

#include <cstdint>
#include <variant>

#include "lib/base/reason.hh"
#include "lib/base/seq32.hh"
#include "lib/flow/record.hh"
#include "lib/mqtt/connect.hh"
#include "lib/tcp/reassembly.hh"
#include "lib/tcp/syn_cookie.hh"
#include "lib/wire/address.hh"

namespace mqlb::engine {

using flow::CoreIndex;
using flow::FlowIndex;

struct WorkerRef {
  FlowIndex flow = flow::kNoFlow;
  CoreIndex core = 0;
  uint16_t generation = 0;
};

struct OpenRequest {
  WorkerRef from;
  wire::Endpoint client;
  wire::MacAddress client_mac;
  config::PortId client_side = 0;
  wire::Endpoint listener;
  config::PoolId pool = 0;
  config::KeyPolicy policy = config::KeyPolicy::client_id;
  uint64_t hash = 0;       // of what the policy says
  base::Seq32 first_byte;  // sequence number of the client's first byte
  base::Seq32 client_iss;  // our ISN toward the client
  tcp::Negotiated negotiated;
  uint16_t client_window = 0;  // as in the segment, not scaled
  uint32_t client_tsval = 0;   // latest
  uint32_t our_tsval = 0;      // latest that the client may have seen
  uint32_t clock_offset = 0;   // of our timestamp clock to the engine's milliseconds
  uint32_t acked = 0;          // bytes that the client saw acknowledged: from us, or from a broker
  bool reads_connect = true;
  mqtt::Version version = mqtt::Version::v3_1_1;
  tcp::Reassembly* held = nullptr;  // owned by the receiver; null: the worker holds the segment
  // Then, its bytes, in a frame that the worker keeps until the flow ends or it has the answer.
  // Only to be copied: a copy of a flow that ended is never used.
  base::Bytes first;
};

struct Opened {
  WorkerRef to;
  FlowIndex proxy_flow = flow::kNoFlow;
  CoreIndex proxy = 0;
  config::BackendId backend = 0;
  config::SnatId snat = 0;
  uint16_t snat_port = 0;
  splice::Translation translation;  // client to broker
  uint32_t tsecr_floor = 0;         // client space; with timestamps
};

struct OpenFailed {
  WorkerRef to;
  base::End reason = base::End::backends_failed;
};

// The request as it stands now, for a flow that waits for a broker again.
struct TakeBack {
  OpenRequest request;
  uint32_t kept = 0;  // bytes that are with the proxy
};

struct TakenBack {
  WorkerRef from;
  FlowIndex proxy_flow = flow::kNoFlow;
};

struct BrokerFin {
  WorkerRef to;
  base::Seq32 end;  // client space: the acknowledgement that covers it
};

struct ClientFinAcked {
  WorkerRef to;
};

struct BrokerReset {
  WorkerRef to;
  base::Seq32 seq;      // client space
  bool silent = false;  // the broker only stopped answering; both ends were told
};

struct ClientFin {
  FlowIndex proxy_flow = flow::kNoFlow;
  base::Seq32 end;  // broker space
};

struct ClientMoved {
  FlowIndex proxy_flow = flow::kNoFlow;
  wire::MacAddress mac;
};

struct Release {
  FlowIndex proxy_flow = flow::kNoFlow;
  bool reset_broker = false;
  bool reset_client = false;
  bool left_backend = false;  // the worker has given back the flow's place at its backend
  bool known = false;         // the numbers below mean something
  base::Seq32 client_next;    // broker space: behind the client's last byte
  base::Seq32 client_ack;     // client space: what the client acknowledged last
};

using MessageBody = std::variant<OpenRequest, Opened, OpenFailed, TakeBack, TakenBack, BrokerFin,
                                 ClientFinAcked, BrokerReset, ClientFin, ClientMoved, Release>;

struct Message {
  CoreIndex to = 0;
  MessageBody body;
};
static_assert(std::is_trivially_copyable_v<Message>);

}  // namespace mqlb::engine
