// Whom a listener lets in: its lists and its limits, for SYNs and for those who prove a cookie.
//
// Nothing is taken for a SYN, whose source proves nothing: who forges it uses up nobody's limits.
// The lists are asked again when the cookie is proved, since they may have changed.
#include <utility>

#include "lib/engine/reply.hh"
#include "lib/engine/worker.hh"

namespace mqlb::engine {

using admission::Verdict;
using base::Drop;
using base::Event;

// What stands against a client that would come now, if anything.
std::optional<Drop> Worker::objection(config::ListenerId id, const wire::IpAddress& client) const {
  const config::AdmissionEntry& rules = context_.snapshot->listeners[id].admission;
  const Gate& gate = context_.shared.gates[id];
  if (!rules.lists(client)) return Drop::source_denied;
  if (gate.is_full(rules.max_connections)) return Drop::listener_full;
  if (rules.counts_sources()) {
    const uint64_t source = context_.shared.gates.source(id, client, rules.source_bits(client));
    const Verdict verdict =
        context_.shared.gates.sources().peek(source, rules.source, context_.now);
    if (verdict == Verdict::full) return Drop::source_full;
    if (verdict == Verdict::too_fast) return Drop::source_rate;
  }
  if (gate.rate.is_over(rules.connect_rate, context_.now)) return Drop::listener_rate;
  return {};
}

// Takes what a new flow takes of its listener's limits, or nothing of any: then it says why.
std::optional<Drop> Worker::admit(FlowIndex index, const wire::IpAddress& client) {
  flow::WorkerFlowRest& rest = flows_.rest(index);
  const config::AdmissionEntry& rules = context_.snapshot->listeners[rest.listener].admission;
  Gate& gate = context_.shared.gates[rest.listener];
  if (!rules.asks) {
    (void)gate.try_add(0);
    rest.counted = true;
    return {};
  }
  if (!rules.lists(client)) return Drop::source_denied;
  // Asked first, taken last: one source that is refused must not use up what others need.
  if (gate.rate.is_over(rules.connect_rate, context_.now)) return Drop::listener_rate;
  if (!gate.try_add(rules.max_connections)) return Drop::listener_full;
  rest.counted = true;
  std::optional<Drop> reason = admit_source(rest, rules.source, client);
  if (!reason && !gate.rate.take(rules.connect_rate, context_.now)) reason = Drop::listener_rate;
  if (reason) leave(index);
  return reason;
}

std::optional<Drop> Worker::admit_source(flow::WorkerFlowRest& rest,
                                         const admission::SourceLimits& limits,
                                         const wire::IpAddress& client) {
  const config::AdmissionEntry& rules = context_.snapshot->listeners[rest.listener].admission;
  if (!rules.counts_sources()) return {};
  const uint8_t bits = rules.source_bits(client);
  Gates& gates = context_.shared.gates;
  switch (gates.sources().enter(gates.source(rest.listener, client, bits), limits, context_.now)) {
    case Verdict::counted:
      rest.source_bits = bits;
      return {};
    case Verdict::uncounted:
      context_.counters[Event::source_uncounted].add();
      return {};
    case Verdict::full:
      return Drop::source_full;
    case Verdict::too_fast:
      return Drop::source_rate;
  }
  return {};
}

wire::IpAddress Worker::client_address(FlowIndex index) {
  const wire::IpAddress& listener = context_.addresses.vip_endpoint(flows_[index].key.vip).address;
  return flows_.client_address(index, listener.is_v4());
}

// A flow that was about to end goes on: it counts again, whatever the limits are.
void Worker::return_to_count(FlowIndex index) {
  flow::WorkerFlowRest& rest = flows_.rest(index);
  if (std::exchange(rest.left_backend, false)) {
    (void)context_.shared.loads.try_add(flows_[index].backend, 0);
  }
  if (rest.counted) return;
  (void)context_.shared.gates[rest.listener].try_add(0);
  rest.counted = true;
  (void)admit_source(rest, {}, client_address(index));
}

// Gives back what admit() took, but for the rates.
void Worker::leave(FlowIndex index) {
  flow::WorkerFlowRest& rest = flows_.rest(index);
  if (!rest.counted) return;
  rest.counted = false;
  const wire::IpAddress client = client_address(index);
  Gates& gates = context_.shared.gates;
  gates[rest.listener].subtract();
  if (rest.source_bits == 0) return;
  gates.sources().leave(gates.source(rest.listener, client, rest.source_bits));
  rest.source_bits = 0;
}

// Watches who connects by this ID; false if that is too often.
bool Worker::admit_client_id(const Accepting& a, config::PoolId pool, base::Bytes client_id) {
  const flow::WorkerFlowRest& rest = flows_.rest(a.flow);
  const config::ListenerId listener = rest.listener;
  Gates& gates = context_.shared.gates;
  const admission::Rate& rate = context_.snapshot->listeners[listener].admission.client_id_rate;
  const uint64_t id = gates.client_id(pool, rest.client_id_hash);
  bool refused = false;
  if (rate.interval != 0) {
    const Verdict verdict = gates.count(id, rate, context_.now);
    if (verdict == Verdict::uncounted) context_.counters[Event::client_id_uncounted].add();
    refused = verdict == Verdict::too_fast;
  }
  if (refused) context_.objects->listeners[listener].over_client_id_rate.add();
  const auto meeting = gates.recent_ids().note(id, a.client.address, context_.now_seconds);
  if (client_ids_.note({id, listener, client_id, a.client.address, refused}, meeting,
                       context_.now_seconds)) {
    context_.counters[Event::client_id_contested].add();
  }
  return !refused;
}

// Takes the frame.
void Worker::turn_away(const wire::Packet& packet, const Frame& frame, config::ListenerId id,
                       Drop reason) {
  ListenerCounters& counters = context_.objects->listeners[id];
  const wire::IpAddress client = packet.source();
  if (reason == Drop::source_denied) {
    counters.denied.add();
    note_refused(id, client, admission::Refused::denied);
  } else if (reason == Drop::source_full || reason == Drop::source_rate) {
    counters.over_source_limit.add();
    note_refused(id, client,
                 reason == Drop::source_full ? admission::Refused::full : admission::Refused::rate);
  } else {
    counters.over_limit.add();
  }
  if (context_.snapshot->listeners[id].admission.refuse == config::Refusal::reset) {
    send_reset(context_, packet, frame, Event::rst_to_client);
  }
  context_.output.drop(frame, reason);
}

// By a SYN too, whose source proves nothing: no limit depends on what is noted here. What a
// listener refuses by limits of its own is not its source's fault.
void Worker::note_refused(config::ListenerId id, const wire::IpAddress& client,
                          admission::Refused reason) {
  const uint8_t bits = context_.snapshot->listeners[id].admission.source_bits(client);
  const uint64_t source = context_.shared.gates.source(id, client, bits);
  refused_sources_.note({source, id, client, bits, reason}, context_.now_seconds);
}

}  // namespace mqlb::engine
