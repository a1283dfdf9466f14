// A broker that accepts and then leaves without a word: the client moves on to the next one.
//
// Until its first byte a broker has said nothing that the client could build on. All that the
// client saw of it are acknowledgements, and these never cover more than what is kept here:
//
//     first_byte              +promised            +kept                       client space
//      |  acknowledged: ours   |  ours, or repeated |  the client's alone ...
//
// What lies behind, say a SUBSCRIBE that did not wait for the CONNACK, or a FIN, goes to the broker
// as it comes, and is repeated by the client if that broker leaves.
#include <algorithm>

#include "lib/engine/proxy.hh"
#include "lib/engine/worker_limits.hh"

namespace mqlb::engine {

using base::Event;
using base::Seq32;
using flow::ProxyFlow;
using flow::ProxyState;

namespace {

constexpr uint32_t kNone = base::Slab<Opening>::kNone;
// What a broker does so soon after its SYN-ACK is no answer to a client's silence.
constexpr base::Duration kAtOnce = std::chrono::seconds(1);
// A worker answers in microseconds, unless its answer was lost.
constexpr base::Duration kTakeBackPatience = std::chrono::seconds(5);

}  // namespace

// New clients come first: when all are taken, the one that waited longest for its broker's first
// byte is bound to that broker.
uint32_t Proxy::take_opening() {
  const uint32_t slot = opening_.take();
  if (slot != kNone || waiting_.oldest == kNone) return slot;
  context_.counters[Event::retry_forgone].add();
  settled(opening_[waiting_.oldest]);
  return opening_.take();
}

// The proxy's own memory: what one core takes and another gives back would move between them.
void Proxy::keep_first_bytes(Opening& o) {
  OpenRequest& request = o.request;
  o.promised = request.acked;
  if (o.held) {
    kept_bytes_ += o.held->memory();
    o.first = o.held->contiguous();
    o.owned = kept(o);
  } else if (request.first.size() <= kShortConnect) {
    uint8_t* copy = &copies_[opening_.index_of(o) * kShortConnect];
    std::ranges::copy(request.first, copy);
    o.first = {copy, request.first.size()};
  } else if (kept_bytes_ + request.first.size() > kMaxKeptBytes) {
    context_.counters[Event::retry_forgone].add();
  } else {
    o.held = std::make_unique<tcp::Reassembly>(static_cast<uint32_t>(request.first.size()));
    static_cast<void>(o.held->insert(0, request.first));
    kept_bytes_ += o.held->memory();
    o.first = o.held->contiguous();
  }
  request.first = {};
}

// Without a copy only while the client has all its bytes.
bool Proxy::can_move(const Opening& o) {
  return !o.committed && (!o.first.empty() || o.promised == 0);
}

// A RST that must be accepted (RFC 9293 section 3.10.7.4), or a FIN, with nothing before it.
bool Proxy::hangs_up(const wire::Packet& packet, const Opening& o) const {
  const wire::TcpView tcp = packet.tcp();
  if (o.committed || tcp.seq() != o.rcv_nxt || answers_fin(packet, o)) return false;
  return tcp.has(wire::kRst) || (tcp.has(wire::kFin) && packet.payload_length == 0);
}

// A broker that has read the client's FIN and ends its own side has done what it was asked: some
// say no CONNACK then.
bool Proxy::answers_fin(const wire::Packet& packet, const Opening& o) const {
  const wire::TcpView tcp = packet.tcp();
  return (flows_[o.flow].flags & flow::kPeerFin) != 0 && tcp.has(wire::kFin) &&
         tcp.has(wire::kAck) && !tcp.ack().before(o.client_fin_end);
}

// The broker's first byte, or a number beyond it, binds the client to it; the very next number does
// not, since what was lost may be a FIN. Only now are those blamed that left the same client
// without a word: had all done so, the fault could be the client's.
void Proxy::hear(const wire::Packet& packet, Opening& o) {
  const Seq32 end = packet.tcp().seq() + packet.payload_length;
  const bool speaks = end.after(o.rcv_nxt + (packet.payload_length > 0 ? 0U : 1U));
  if (o.committed || packet.tcp().has(wire::kRst)) return;
  if (!speaks) {
    o.committed = answers_fin(packet, o);
    return;
  }
  o.committed = true;
  for (size_t i = 0; o.hung_up != 0; ++i, o.hung_up >>= 1) {
    if ((o.hung_up & 1U) != 0) context_.objects->backends[o.candidates[i]].faults.add();
  }
}

// Keeps the client from giving up bytes that nobody else has. SACK blocks are no such promise (RFC
// 2018 section 8), but would make a client slow to repeat them; so they are left out. False: absorb
// the segment.
bool Proxy::hold_back_ack(wire::Packet& packet, Opening& o) {
  const wire::TcpView tcp = packet.tcp();
  if (o.committed || !tcp.has(wire::kAck) || tcp.has(wire::kRst)) return true;
  const uint32_t delta = flows_[o.flow].ack_delta;
  const int32_t acked = tcp.ack() + delta - o.request.first_byte;
  if (acked <= static_cast<int32_t>(kept(o))) {
    o.promised = std::max(o.promised, static_cast<uint32_t>(std::max(acked, 0)));
    return true;
  }
  if (!can_move(o) || o.first.empty()) {
    o.committed = true;
    return true;
  }
  if (o.promised == kept(o) && packet.segment_length() == 0) return false;
  o.promised = kept(o);
  widen_window(tcp, static_cast<uint32_t>(acked) - o.promised, o.broker_scale);
  splice::replace_ack(tcp, o.request.first_byte + o.promised - delta);
  return true;
}

// All that is ours is delivered: what remains to wait for is the broker's first byte.
void Proxy::await_word(Opening& o) {
  if (!can_move(o) || (o.held && kept_bytes_ > kMaxKeptBytes)) {
    settled(o);
    return;
  }
  if (o.waits) return;
  timers_.stop(o);
  // In mode tcp the client may have said nothing that could be answered.
  const base::Duration patience = context_.snapshot->pools[o.request.pool].answer_timeout;
  if (patience != base::Duration{} && o.request.reads_connect)
    timers_.arm(o, context_.now + patience);
  const uint32_t self = opening_.index_of(o);
  o.waits = true;
  o.newer = kNone;
  o.older = std::exchange(waiting_.newest, self);
  (o.older == kNone ? waiting_.oldest : opening_[o.older].newer) = self;
}

void Proxy::leave_waiting(Opening& o) {
  if (!o.waits) return;
  o.waits = false;
  (o.older == kNone ? waiting_.oldest : opening_[o.older].newer) = o.newer;
  (o.newer == kNone ? waiting_.newest : opening_[o.newer].older) = o.older;
}

// Leaves the broker, and asks the worker to hold the client's segments again. broker_next: what the
// broker expects, for a RST if it has not sent one. False, and nothing is done, if the client must
// stay.
bool Proxy::try_move_on(Opening& o, Seq32 broker_next, bool reset) {
  if (!can_move(o)) return false;
  ProxyFlow& f = flows_[o.flow];
  TakeBack message{o.request, kept(o)};
  OpenRequest& request = message.request;
  request.client_mac = f.client_mac;
  request.acked = o.promised;
  // The client's clock goes on from the latest that it was sent (RFC 7323 section 5).
  const uint32_t shown = o.broker_tsval + f.timestamp_delta;
  if (request.negotiated.timestamps && static_cast<int32_t>(shown - request.our_tsval) > 0) {
    request.our_tsval = shown;
  }
  if (!context_.sink.send({f.worker, message})) {
    context_.counters[Event::messages_lost].add();
    o.committed = true;
    return false;
  }
  if (reset) reset_broker(o, broker_next);
  o.request = request;
  // A client may have asked for it: some brokers answer its FIN by their own without a CONNACK, and
  // all give up on one that says nothing.
  const bool asked_for =
      (f.flags & flow::kPeerFin) != 0 || (o.first.empty() && context_.now - o.sent_at >= kAtOnce);
  if (!asked_for) o.hung_up |= static_cast<uint16_t>(1U << (o.next_candidate - 1));
  end_try(o, Event::broker_hung_up, o.snd_nxt);
  leave_waiting(o);
  o.owned = kept(o);
  o.rcv_nxt = Seq32{};
  o.broker_tsval = 0;
  f.flags &= flow::kClientV6;
  f.state = ProxyState::reopening;
  timers_.arm(o, context_.now + kTakeBackPatience);
  return true;
}

void Proxy::receive(const TakenBack& message) {
  const ProxyFlow& f = flows_[message.proxy_flow];
  if (f.state != ProxyState::reopening || f.worker != message.from.core ||
      f.worker_flow != message.from.flow || f.worker_generation != message.from.generation) {
    return;
  }
  timers_.stop(opening(f));
  try_next(opening(f));
}

}  // namespace mqlb::engine
