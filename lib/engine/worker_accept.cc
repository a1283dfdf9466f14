// Before the broker: cookies, the handshake's end, and the CONNECT put together.
#include <algorithm>

#include "lib/engine/reply.hh"
#include "lib/engine/worker.hh"
#include "lib/engine/worker_limits.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::engine {

using base::Drop;
using base::End;
using base::Event;

namespace {

End end_reason(mqtt::Malformed reason) {
  switch (reason) {
    case mqtt::Malformed::not_connect:
      return End::not_connect;
    case mqtt::Malformed::fixed_header_flags:
      return End::fixed_header_flags;
    case mqtt::Malformed::remaining_length:
      return End::remaining_length;
    case mqtt::Malformed::protocol_name:
      return End::protocol_name;
    case mqtt::Malformed::protocol_version:
      return End::protocol_version;
    case mqtt::Malformed::connect_flags:
      return End::connect_flags;
    case mqtt::Malformed::properties:
      return End::properties;
    case mqtt::Malformed::string_encoding:
      return End::string_encoding;
    case mqtt::Malformed::client_id:
      return End::client_id;
    case mqtt::Malformed::truncated:
      return End::field_truncated;
    case mqtt::Malformed::trailing_bytes:
      return End::trailing_bytes;
  }
  return End::not_connect;
}

}  // namespace

// A segment of no flow: a SYN, the ACK of a handshake, or none of ours.
void Worker::no_flow(wire::Packet& packet, const Frame& frame, uint16_t vip) {
  const wire::TcpView tcp = packet.tcp();
  if (tcp.has(wire::kRst)) {
    context_.output.drop(frame, Drop::unknown_flow_quiet);
  } else if (tcp.has(wire::kSyn)) {
    const config::ListenerId* listener = context_.addresses.listener(vip);
    if (listener != nullptr && offers_[*listener].asks && !tcp.has(wire::kAck)) {
      if (const auto reason = objection(*listener, packet.source())) {
        turn_away(packet, frame, *listener, *reason);
        return;
      }
    }
    answer_syn(packet, frame, vip, nullptr);
  } else if (!try_accept(packet, frame, vip)) {
    if (is_early(packet, vip)) {
      context_.output.drop(frame, Drop::early_segment);
    } else {
      reset_unknown(context_, packet, frame, Drop::unknown_flow, Event::rst_to_client);
    }
  }
}

// True if the segment may belong to a handshake of ours whose first segments were lost or are late:
// a RST would kill a good connection. Nothing is accepted on this evidence.
bool Worker::is_early(const wire::Packet& packet, uint16_t vip) {
  const wire::TcpView tcp = packet.tcp();
  const auto options = wire::parse_tcp_options(tcp.options());
  if (context_.addresses.listener(vip) == nullptr || !options) return false;
  std::optional<uint32_t> tsecr;
  if (options->timestamps) tsecr = options->timestamps->echo_reply;
  return cookies_.is_early({packet.source(), tcp.source_port()},
                           {packet.destination(), tcp.destination_port()}, tcp.seq(), tcp.ack() - 1,
                           tsecr, context_.now);
}

// known: a spliced flow of the same addresses, if there is one. False, and nothing is done, if the
// answer's acknowledgement could not be told from that flow's.
bool Worker::answer_syn(wire::Packet& packet, const Frame& frame, uint16_t vip,
                        const flow::WorkerFlow* known) {
  const wire::TcpView tcp = packet.tcp();
  const config::ListenerId* listener = context_.addresses.listener(vip);
  if (listener == nullptr || tcp.has(wire::kAck)) {
    const Drop reason = listener == nullptr ? Drop::no_listener : Drop::unknown_flow;
    reset_unknown(context_, packet, frame, reason, Event::rst_to_client);
    return true;
  }
  const auto options = wire::parse_tcp_options(tcp.options());
  if (!options) {
    context_.output.drop(frame, Drop::bad_tcp_header);
    return true;
  }
  const Offer& offer = offers_[*listener];
  tcp::Negotiated n;
  n.mss = options->mss.value_or(wire::kDefaultMss);
  n.has_window_scale = options->window_scale.has_value();
  n.window_scale = options->window_scale.value_or(0);
  n.sack = options->sack_permitted && offer.sack;
  n.timestamps = options->timestamps && offer.timestamps;

  wire::Segment answer;
  answer.link = {context_.shared.port_macs[frame.port], packet.ethernet().source()};
  answer.source = {packet.destination(), tcp.destination_port()};
  answer.destination = {packet.source(), tcp.source_port()};
  const tcp::Cookie cookie =
      cookies_.make(answer.destination, answer.source, tcp.seq(), n, context_.now);
  if (known != nullptr && is_near(cookie.iss + 1, known->last_ack)) return false;
  answer.flags = wire::kSyn | wire::kAck;
  answer.seq = cookie.iss;
  answer.ack = tcp.seq() + 1;
  answer.window = kSynAckWindow;
  answer.options.mss = offer.mss;
  if (n.has_window_scale) answer.options.window_scale = kWindowScale;
  answer.options.sack_permitted = n.sack;
  if (n.timestamps) {
    answer.options.timestamps = wire::Timestamps{cookie.tsval, options->timestamps->value};
  }
  // The SYN's own buffer carries the answer.
  Frame out = frame;
  out.length = static_cast<uint16_t>(wire::build_segment(answer, {out.data, out.capacity}));
  if (out.length == 0) {
    context_.output.drop(frame, Drop::no_buffer);
    return true;
  }
  context_.counters[Event::syn_answered].add();
  context_.output.transmit(frame.port, out);
  return true;
}

// Makes a flow of a segment whose acknowledgement proves our cookie, and lets it read the segment.
bool Worker::try_accept(wire::Packet& packet, const Frame& frame, uint16_t vip) {
  const wire::TcpView tcp = packet.tcp();
  const config::ListenerId* listener = context_.addresses.listener(vip);
  const auto options = wire::parse_tcp_options(tcp.options());
  if (listener == nullptr || !options) return false;
  const wire::Endpoint client{packet.source(), tcp.source_port()};
  const wire::Endpoint local{packet.destination(), tcp.destination_port()};
  std::optional<uint32_t> tsecr;
  if (options->timestamps) tsecr = options->timestamps->echo_reply;
  const base::Seq32 iss = tcp.ack() - 1;
  const auto negotiated = cookies_.check(client, local, tcp.seq() - 1, iss, tsecr, context_.now);
  if (!negotiated) return false;
  // A device that gave up leaves its kernel to repeat the CONNECT, which would take over the
  // session of its next connection. Our timestamps tell; without them nobody knows.
  constexpr auto kStale = static_cast<uint32_t>(kStaleHandshake / std::chrono::milliseconds(1));
  if (offers_[*listener].asks && tsecr && cookies_.timestamp(context_.now) - *tsecr > kStale) {
    reset_unknown(context_, packet, frame, Drop::handshake_stale, Event::rst_to_client);
    return true;
  }

  const FlowIndex index = try_add(packet, frame, vip, *listener);
  if (index == flow::kNoFlow) return true;
  Accepting& a = accepting(flows_[index]);
  a.client = client;
  a.port = frame.port;
  a.first_byte = tcp.seq();
  a.iss = iss;
  a.negotiated = *negotiated;
  a.deadline = context_.now + context_.snapshot->listeners[*listener].connect_deadline;
  arm(a);
  context_.counters[Event::cookie_accepted].add();
  ListenerCounters& counters = context_.objects->listeners[*listener];
  counters.accepted.add();
  counters.flows.add();
  if (context_.snapshot->listeners[*listener].mode == config::ListenerMode::mqtt) {
    await_connect(packet, frame, a);
    return true;
  }
  note_segment(a, packet);
  open_unread(a);
  // What came with the handshake's end waits, as all that comes before the broker answers.
  if (flows_[index].state == flow::WorkerState::opening) {
    while_opening(packet, frame, a);
  } else {
    context_.output.drop(frame, Drop::refused_flow);
  }
  return true;
}

// A flow for a client that proved its address, if there is room and the listener lets it in; else
// it takes the frame. Room comes first, so that what the limits take is never for nothing.
FlowIndex Worker::try_add(const wire::Packet& packet, const Frame& frame, uint16_t vip,
                          config::ListenerId listener) {
  const uint32_t slot = accepting_.take();
  if (slot == base::Slab<Accepting>::kNone) {
    context_.output.drop(frame, Drop::connecting_full);
    return flow::kNoFlow;
  }
  const wire::Endpoint client{packet.source(), packet.tcp().source_port()};
  const FlowIndex index = flows_.add(client, vip);
  if (index == flow::kNoFlow) {
    accepting_.give_back(slot);
    context_.output.drop(frame, Drop::flow_table_full);
    return flow::kNoFlow;
  }
  flows_.rest(index).listener = listener;
  if (const auto reason = admit(index, client.address)) {
    flows_.remove(index);
    accepting_.give_back(slot);
    turn_away(packet, frame, listener, *reason);
    return flow::kNoFlow;
  }
  flow::WorkerFlow& f = flows_[index];
  f.state = flow::WorkerState::await_connect;
  f.accepting = slot;
  f.last_seen = context_.now_seconds;
  accepting_[slot].flow = index;
  return index;
}

// What every later segment to this client depends on.
void Worker::note_segment(Accepting& a, const wire::Packet& packet) {
  a.client_mac = packet.ethernet().source();
  a.window = packet.tcp().window();
  if (!a.negotiated.timestamps) return;
  const auto options = wire::parse_tcp_options(packet.tcp().options());
  if (!options || !options->timestamps) return;
  const uint32_t value = options->timestamps->value;
  if (a.tsval == 0 || static_cast<int32_t>(value - a.tsval) > 0) a.tsval = value;
}

void Worker::await_connect(wire::Packet& packet, const Frame& frame, Accepting& a) {
  const wire::TcpView tcp = packet.tcp();
  const int32_t offset = tcp.seq() - a.first_byte;
  if (tcp.has(wire::kRst)) {
    if (try_reset(a, packet, frame)) end(a.flow, End::client_left, Reset::none);
    return;
  }
  // We sent nothing but the SYN-ACK, so only its acknowledgement is acceptable.
  if (tcp.has(wire::kSyn) || tcp.ack() != a.iss + 1 || offset < -kOldestOffset ||
      offset > static_cast<int32_t>(kMaxOffset)) {
    context_.output.drop(frame, Drop::outside_window);
    return;
  }
  note_segment(a, packet);
  hold_segment(packet, frame, a);
}

// RFC 5961 section 3.2, before the splice: true if a RST has the number that comes next, as far as
// we know it. One elsewhere in the window is challenged: a client that is gone answers with the
// number that it is told. Takes the frame.
bool Worker::try_reset(const Accepting& a, const wire::Packet& packet, const Frame& frame) {
  const uint32_t offset = static_cast<uint32_t>(packet.tcp().seq() - a.first_byte);
  const size_t read = a.held ? a.held->contiguous().size() : a.handed;
  bool exact = offset == a.acked || offset == read;
  for (size_t i = 0; i < a.frame_count && !exact; ++i) {
    const wire::ParseRules rules{context_.shared.port_macs[a.frames[i].port], 0xffff};
    const auto held = wire::parse_packet(a.frames[i].bytes(), rules, wire::HardwareChecksum::good);
    exact = held->segment_end() == packet.tcp().seq();
  }
  context_.output.drop(frame, exact ? Drop::handshake_consumed : Drop::outside_window);
  if (!exact && offset - a.acked <= kSynAckWindow) {
    send_to_client(a, wire::kAck, a.iss + 1, a.first_byte + a.acked, {});
  }
  return exact;
}

// Reads a segment's bytes into the CONNECT. A CONNECT that lies whole in its first segment stays in
// that frame, unacknowledged; else its bytes are put together in memory.
void Worker::hold_segment(wire::Packet& packet, const Frame& frame, Accepting& a) {
  const int32_t offset = packet.tcp().seq() - a.first_byte;
  base::Bytes data = packet.payload();
  const bool fin = packet.tcp().has(wire::kFin);
  if (a.held == nullptr && offset == 0 && !data.empty()) {
    const mqtt::ConnectResult result = mqtt::parse_connect(data);
    if (std::holds_alternative<mqtt::Connect>(result) && try_hold(a, frame)) {
      a.handed = static_cast<uint32_t>(data.size());
      a.whole = data;
      read_connect(a, data);
      return;
    }
  }
  const int32_t behind = packet.segment_end() - (a.first_byte + a.acked);
  if (a.acked > 0 && behind <= 0 && offset < static_cast<int32_t>(a.acked)) {
    // A repetition or a keepalive probe: the client missed what we said (RFC 9293 section
    // 3.10.7.4).
    acknowledge(a);
    context_.output.drop(frame, Drop::handshake_consumed);
    return;
  }
  if (offset < 0) data = data.subspan(std::min(static_cast<size_t>(-offset), data.size()));
  const uint32_t position = offset < 0 ? 0 : static_cast<uint32_t>(offset);
  const base::Seq32 fin_at = packet.tcp().seq() + packet.payload_length;
  if (!data.empty()) {
    const uint32_t most =
        context_.snapshot->listeners[flows_.rest(a.flow).listener].max_connect_bytes + kPipelined;
    if (!try_assemble(a, position, data, most)) {
      context_.output.drop(frame, Drop::held_full);
      return;
    }
  }
  context_.output.drop(frame, Drop::handshake_consumed);
  const base::Bytes bytes = a.held ? a.held->contiguous() : base::Bytes{};
  if (bytes.size() >= a.parse_at && !data.empty() && !read_connect(a, bytes)) return;
  const auto length = static_cast<uint32_t>(bytes.size());
  if (fin && fin_at == a.first_byte + length) {
    reset_client(a, End::client_left);
    return;
  }
  // The client may be waiting for an acknowledgement before it sends more (Nagle, or its first
  // window is used up). Until then the bytes stay its own.
  if (length - a.acked >= kAckAtOnce) {
    acknowledge(a);
  } else if (length > a.acked && a.ack_due == base::Instant{}) {
    a.ack_due = context_.now + kAckDelay;
    arm(a);
  }
}

// False if the segment is beyond what we offered, or memory is short; the client sends it again.
bool Worker::try_assemble(Accepting& a, uint32_t position, base::Bytes data, uint32_t most) {
  if (a.held == nullptr) a.held = std::make_unique<tcp::Reassembly>(most);
  const size_t contiguous = a.held->contiguous().size();
  if (position > contiguous + kSynAckWindow || held_bytes_ > kMaxHeldBytes) return false;
  const size_t before = a.held->memory();
  const bool taken = a.held->insert(position, data);
  held_bytes_ += a.held->memory() - before;
  return taken;
}

void Worker::forget_held(Accepting& a) {
  if (a.held) held_bytes_ -= a.held->memory();
  a.held.reset();
}

// True if more bytes are needed. Otherwise the flow has moved on and `a` may be gone.
bool Worker::read_connect(Accepting& a, base::Bytes bytes) {
  const mqtt::ConnectResult result = mqtt::parse_connect(bytes);
  const uint32_t most =
      context_.snapshot->listeners[flows_.rest(a.flow).listener].max_connect_bytes;
  if (const auto* malformed = std::get_if<mqtt::Malformed>(&result)) {
    reset_client(a, end_reason(*malformed));
    return false;
  }
  if (const auto* more = std::get_if<mqtt::NeedMore>(&result)) {
    if (more->total <= most) {
      // Each parse begins at the first byte: not again for every byte that comes.
      const auto doubled = static_cast<uint32_t>(std::max<size_t>(16, 2 * bytes.size()));
      a.parse_at = more->total == 0 ? 0 : std::min(more->total, doubled);
      return true;
    }
    reset_client(a, End::connect_too_long);
    return false;
  }
  const auto& connect = std::get<mqtt::Connect>(result);
  if (connect.size > most) {
    reset_client(a, End::connect_too_long);
    return false;
  }
  a.handed = static_cast<uint32_t>(bytes.size());
  context_.counters[Event::connect_parsed].add();
  if (a.acked > 0) context_.counters[Event::connect_owned].add();
  open(a, connect);
  return false;
}

// True if the numbers lie within what the flow has exchanged: a late segment of its own. After a
// RST nothing of its own is expected.
bool Worker::continues(const wire::Packet& packet, const flow::WorkerFlow& f) {
  if ((f.flags & (flow::kReset | flow::kBrokerReset)) != 0) return false;
  const int32_t sent = f.next_seq - packet.tcp().seq();
  const int32_t acked = f.last_ack - packet.tcp().ack();
  return sent >= 0 && static_cast<uint64_t>(sent) <= f.to_broker() + 2 && acked >= 0 &&
         static_cast<uint64_t>(acked) <= f.to_client() + 2;
}

// A new connection of a client whose old one we still know, say after a loss of power. Its SYN is
// answered by a cookie, which a client that never sent it ignores; only the ACK of the cookie
// proves it, and ends the old connection. The broker's challenge (RFC 5961 section 4) does the same
// at more cost, unless the broker is gone as well; so it is asked only when our cookie would not
// do.
bool Worker::replaces(wire::Packet& packet, const Frame& frame, FlowIndex index, uint16_t vip) {
  const wire::TcpView tcp = packet.tcp();
  const flow::WorkerFlow& f = flows_[index];
  if (tcp.has(wire::kSyn) && !tcp.has(wire::kAck)) {
    return answer_syn(packet, frame, vip, f.state == flow::WorkerState::spliced ? &f : nullptr);
  }
  if ((tcp.flags() & (wire::kSyn | wire::kRst)) != 0) return false;
  const bool connecting = f.state == flow::WorkerState::await_connect ||
                          f.state == flow::WorkerState::opening ||
                          f.state == flow::WorkerState::refusing;
  if (connecting ? tcp.ack() == accepting(f).iss + 1 : continues(packet, f)) return false;
  const auto options = wire::parse_tcp_options(tcp.options());
  if (!options || context_.addresses.listener(vip) == nullptr) return false;
  std::optional<uint32_t> tsecr;
  if (options->timestamps) tsecr = options->timestamps->echo_reply;
  if (!cookies_.check({packet.source(), tcp.source_port()},
                      {packet.destination(), tcp.destination_port()}, tcp.seq() - 1, tcp.ack() - 1,
                      tsecr, context_.now)) {
    return false;
  }
  constexpr uint8_t kBoth = flow::kClientFinAcked | flow::kBrokerFinAcked;
  const bool over = (f.flags & kBoth) == kBoth;
  if (!end(index, End::replaced, over ? Reset::none : Reset::broker)) return false;
  return try_accept(packet, frame, vip);
}

void Worker::acknowledge(Accepting& a) {
  const size_t length = a.held ? a.held->contiguous().size() : 0;
  a.acked = std::max(a.acked, static_cast<uint32_t>(length));
  a.ack_due = base::Instant{};
  send_to_client(a, wire::kAck, a.iss + 1, a.first_byte + a.acked, {});
}

void Worker::arm(Accepting& a) {
  const bool ack = a.ack_due != base::Instant{};
  timers_.arm(a, ack ? std::min(a.ack_due, a.deadline) : a.deadline);
}

void Worker::on_timer(Accepting& a) {
  const flow::WorkerState state = flows_[a.flow].state;
  if (state == flow::WorkerState::await_connect) {
    if (context_.now >= a.deadline) {
      reset_client(a, End::connect_timeout);
      return;
    }
    if (a.ack_due != base::Instant{}) acknowledge(a);
    arm(a);
  } else if ((flows_[a.flow].flags & flow::kReset) != 0 && state == flow::WorkerState::opening) {
    end(a.flow, End::client_left, Reset::broker);
  } else if (state == flow::WorkerState::opening) {
    // The proxy did not answer within all its tries: its queue was full, or it is gone.
    refuse(a, End::backends_failed);
  } else if (a.over) {
    end(a.flow, a.reason, Reset::none);
  } else if (!a.heard && a.sent < kConnackTries) {
    send_connack(a);
  } else {
    reset_client(a, a.reason);
  }
}

}  // namespace mqlb::engine
