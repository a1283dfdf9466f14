// A frame that came in, the packet in it, and the search for its flow.
#pragma once

#include "lib/engine/frame.hh"
#include "lib/flow/snat_ports.hh"
#include "lib/flow/worker_table.hh"

namespace mqlb::engine {

struct Arrival {
  wire::Packet packet;
  const Frame* frame = nullptr;
  uint16_t vip = 0;                  // for a worker: the listener endpoint's number (Addresses)
  flow::WorkerTable::Search search;  // for a worker
  const flow::SnatPorts::Use* port = nullptr;  // for a proxy; null: none of ours
};

// Packets of a burst that one role takes together.
inline constexpr size_t kMaxBurst = 32;

// Records are fetched while this many packets before theirs are worked on: enough to cover memory,
// few enough for the processor's miss buffers.
inline constexpr size_t kFetchAhead = 12;

}  // namespace mqlb::engine
