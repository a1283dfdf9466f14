// A broker left before it said anything: its client waits for another one.
#include "lib/engine/worker.hh"
#include "lib/engine/worker_limits.hh"

namespace mqlb::engine {

using base::End;
using base::Event;

// Nothing of the broker reached the client but acknowledgements, so to the client the connection is
// where it was before the splice.
void Worker::receive(const TakeBack& message) {
  const OpenRequest& request = message.request;
  const FlowIndex index = request.from.flow;
  flow::WorkerFlow* f = find(request.from);
  // One that ended meanwhile has sent its Release.
  if (f == nullptr || f->proxy_flow == flow::kNoFlow) return;
  return_to_count(index);  // the proxy has given back its place at the backend
  const bool left = (f->flags & flow::kReset) != 0;
  const uint32_t slot = left ? base::Slab<Accepting>::kNone : accepting_.take();
  if (slot == base::Slab<Accepting>::kNone) {
    const End reason = left ? End::client_reset : End::broker_reset;
    const Reset reset = left ? Reset::none : Reset::both;
    if (end(index, reason, reset)) return;
    f->proxy_flow = flow::kNoFlow;  // the proxy finds out by its timer
    end(index, reason, reset);
    return;
  }
  const FlowIndex proxy_flow = std::exchange(f->proxy_flow, flow::kNoFlow);
  f->flags = 0;
  f->state = flow::WorkerState::opening;
  f->accepting = slot;
  f->to_broker_low = f->to_broker_high = 0;
  f->next_seq = request.first_byte;
  f->last_ack = request.client_iss + 1;

  Accepting& a = accepting_[slot];
  a.flow = index;
  a.client = request.client;
  a.client_mac = a.told_mac = request.client_mac;
  a.port = request.client_side;
  a.first_byte = request.first_byte;
  a.iss = request.client_iss;
  a.negotiated = request.negotiated;
  a.tsval = request.client_tsval;
  a.tsval_floor = request.our_tsval;
  a.window = request.client_window;
  a.acked = request.acked;
  a.handed = message.kept;
  a.version = request.version;
  a.reads_connect = request.reads_connect;
  a.again = true;
  const config::PoolEntry& pool = context_.snapshot->pools[request.pool];
  a.deadline = context_.now + pool.connect_timeout * pool.connect_tries + kTriesMargin;
  arm(a);
  if (context_.sink.send({f->proxy, TakenBack{request.from, proxy_flow}})) return;
  context_.counters[Event::messages_lost].add();
  refuse(a, End::proxy_full);
}

}  // namespace mqlb::engine
