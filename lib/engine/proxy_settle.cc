// From the SYN-ACK to a settled connection: the PROXY header and the client's owned bytes are
// delivered, and nothing of that shows on the client's side.
#include <algorithm>

#include "lib/engine/proxy.hh"
#include "lib/engine/reply.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::engine {

using base::Drop;
using base::Event;
using base::Seq32;
using flow::ProxyFlow;
using flow::ProxyState;

namespace {

constexpr uint8_t kDataTries = 7;  // 200 ms doubled: about 25 s

constexpr uint32_t kSegmentsAtOnce = 10;  // answers to one event are bounded

constexpr int32_t kFarOff = 1 << 24;  // more than a broker says before it has read all that is ours

}  // namespace

// Sends what is ours, from snd_nxt on, as far as the broker's window and ours allow, and no long
// bursts: the next ACK goes on. The header
// goes alone and whole in one segment.
void Proxy::send_owned(Opening& o) {
  const Seq32 data_begin = o.iss + 1U + o.header_length;
  const uint32_t timestamps = o.request.negotiated.timestamps ? 12 : 0;
  const config::Snapshot& snapshot = *context_.snapshot;
  const config::BackendEntry& backend = snapshot.backends[flows_[o.flow].backend];
  const size_t headers = wire::ip_header_length(backend.endpoint.address) + wire::kTcpHeader;
  const size_t room = snapshot.ports[backend.port].mtu - headers;
  const auto mss = static_cast<uint32_t>(std::min<size_t>(o.broker_mss, room) - timestamps);
  const uint32_t window = std::min(o.send_window, o.congestion_window);
  wire::Segment segment = segment_to_broker(o);
  segment.flags = wire::kAck | wire::kPsh;
  for (uint32_t n = 0; n < kSegmentsAtOnce && o.snd_nxt.before(owned_end(o)); ++n) {
    const auto in_flight = static_cast<uint32_t>(o.snd_nxt - o.snd_una);
    segment.seq = o.snd_nxt;
    if (o.snd_nxt.before(data_begin)) {
      o.snd_nxt = o.iss + 1U;  // from its beginning: it is never cut
      segment.seq = o.snd_nxt;
      segment.payload = base::Bytes(o.header).first(o.header_length);
    } else {
      if (in_flight >= window) return;
      const auto from = static_cast<size_t>(o.snd_nxt - data_begin);
      const size_t size = std::min<size_t>({o.owned - from, mss, size_t{window} - in_flight});
      segment.payload = o.first.subspan(from, size);
    }
    send_to_broker(o, segment);
    o.snd_nxt += static_cast<uint32_t>(segment.payload.size());
  }
}

void Proxy::while_settling(wire::Packet& packet, const Frame& frame, Opening& o) {
  const wire::TcpView tcp = packet.tcp();
  if (tcp.has(wire::kSyn)) {
    // The broker repeats its SYN-ACK: what we sent was lost, unless it is only late.
    const bool late = is_delivered(o);
    context_.output.drop(frame, late ? Drop::absorbed_ack : Drop::handshake_consumed);
    if (!late) retransmit(o);
    acknowledge_syn(o);
    return;
  }
  if (std::abs(tcp.seq() - o.rcv_nxt) > kFarOff) {
    // Of an earlier connection from this port: a challenge ACK to our SYN that came late.
    context_.output.drop(frame, Drop::outside_window);
    return;
  }
  const FlowIndex index = o.flow;
  note_timestamps(packet, o);
  if (hangs_up(packet, o) && try_move_on(o, tcp.ack(), !tcp.has(wire::kRst))) {
    context_.output.drop(frame, Drop::handshake_consumed);
    return;
  }
  hear(packet, o);
  const bool progress = note_ack(tcp, o);
  const Seq32 known = o.request.first_byte + o.request.acked;
  if (tcp.has(wire::kAck)) {
    keep_window(tcp, known - (tcp.ack() + flows_[index].ack_delta), o.broker_scale);
  }
  const bool passes = guard_ack(packet, known, flows_[index].ack_delta) && hold_back_ack(packet, o);
  // As hold_back_ack(); and what is ours would look like a DSACK behind an ACK that was raised.
  const bool strip_sack = !o.committed || !is_delivered(o);
  // A RST that must be accepted (RFC 9293 section 3.10.7.4): nobody takes our bytes any more.
  if (tcp.has(wire::kRst) && tcp.seq() == o.rcv_nxt) {
    settled(o);
  } else if (is_delivered(o)) {
    await_word(o);
  } else {
    send_owned(o);
    if (progress) arm_retransmit(o);
  }
  if (passes) {
    splice(packet, frame, index, strip_sack);
  } else {
    context_.output.drop(frame, Drop::absorbed_ack);
  }
}

// True if the broker took something that it had not.
bool Proxy::note_ack(wire::TcpView tcp, Opening& o) {
  const Seq32 ack = tcp.ack();
  if (!tcp.has(wire::kAck) || ack.before(o.snd_una)) return false;
  o.send_window = uint32_t{tcp.window()} << o.broker_scale;
  if (ack == o.snd_una) return false;
  o.congestion_window += static_cast<uint32_t>(ack - o.snd_una);
  o.snd_una = ack;
  if (o.snd_nxt.before(ack)) o.snd_nxt = ack;
  o.repeats = 0;
  return true;
}

// The client's own segments may have passed ours, and what the broker echoes is the latest that it
// took: it would refuse anything older (RFC 7323 section 5).
void Proxy::note_timestamps(const wire::Packet& packet, Opening& o) {
  if (!o.request.negotiated.timestamps) return;
  const auto options = wire::parse_tcp_options(packet.tcp().options());
  if (!options || !options->timestamps) return;
  const auto raise = [](uint32_t& value, uint32_t to) {
    if (static_cast<int32_t>(to - value) > 0) value = to;
  };
  raise(o.broker_tsval, options->timestamps->value);
  raise(o.request.client_tsval, options->timestamps->echo_reply);
}

// An acknowledgement that is raised by so many bytes must not carry the window further with it.
void Proxy::keep_window(wire::TcpView tcp, int32_t raised, uint8_t scale) {
  if (raised <= 0 || tcp.window() == 0) return;
  const uint32_t units = ((static_cast<uint32_t>(raised) - 1) >> scale) + 1;
  const uint32_t left = tcp.window() > units ? tcp.window() - units : 1;
  splice::replace_window(tcp, static_cast<uint16_t>(left));
}

// One that is lowered by so many must not take the window back (RFC 9293 section 3.8.6).
void Proxy::widen_window(wire::TcpView tcp, uint32_t lowered, uint8_t scale) {
  const uint32_t window = tcp.window() + (lowered >> scale);
  splice::replace_window(tcp, static_cast<uint16_t>(std::min(window, 0xffffU)));
}

// The client knows nothing of the PROXY header, and saw our acknowledgement of its owned bytes, up
// to `known` (client space). An ACK up to there says nothing new to it, and one below looks like an
// attack or a duplicate (RFC 5961 section 5): absorbed, or raised if the segment carries something.
// False: absorb it.
bool Proxy::guard_ack(wire::Packet& packet, Seq32 known, uint32_t ack_delta) {
  wire::TcpView tcp = packet.tcp();
  if (!tcp.has(wire::kAck)) return true;
  const Seq32 ack = tcp.ack() + ack_delta;
  if (ack.after(known)) return true;
  if (packet.segment_length() == 0 && !tcp.has(wire::kRst)) return false;
  if (ack.before(known)) splice::replace_ack(tcp, known - ack_delta);
  return true;
}

// The same for a settled flow, where only an ACK that was overtaken can be so old. False: absorb
// it.
bool Proxy::late_ack(wire::Packet& packet, FlowIndex index) {
  constexpr int32_t kLongPast = 1 << 20;
  constexpr uint32_t kLongestDelay = 60;  // seconds that a segment may be under way
  ProxyFlow& f = flows_[index];
  const flow::Guard& guard = flows_.guard(index);
  const Seq32 known = guard.known_ack;
  const int32_t beyond = packet.tcp().ack() + f.ack_delta - known;
  const bool is_old = context_.now_seconds - guard.since > kLongestDelay;
  if (is_old || (packet.tcp().has(wire::kAck) && beyond > kLongPast)) {
    f.flags &= static_cast<uint8_t>(~flow::kGuard);
  }
  if (beyond == 0) return true;
  // At most the broker's own scale, so the window rather ends too early.
  if (packet.tcp().has(wire::kAck)) {
    keep_window(packet.tcp(), -beyond, static_cast<uint8_t>(std::max<int8_t>(f.window_shift, 0)));
  }
  return guard_ack(packet, known, f.ack_delta);
}

void Proxy::settled(Opening& o) {
  ProxyFlow& f = flows_[o.flow];
  f.state = ProxyState::spliced;
  f.client_fin_end = o.client_fin_end.raw();
  f.flags |= flow::kGuard;
  flows_.guard(o.flow) = {o.request.first_byte + o.request.acked, context_.now_seconds};
  forget(o);
}

void Proxy::on_timer(Opening& o) {
  if (flows_[o.flow].state == ProxyState::syn_sent) {
    if (context_.now >= o.try_ends) {
      failed_try(o, Event::broker_unanswered);
      return;
    }
    wire::MacAddress mac;
    const config::BackendEntry& backend = context_.snapshot->backends[flows_[o.flow].backend];
    if (o.sent_at != base::Instant{} && context_.shared.neighbours.lookup(backend.next_hop, mac)) {
      ++o.repeats;
    }
    send_syn(o);
    return;
  }
  if (flows_[o.flow].state == ProxyState::reopening) {
    fail(o);  // the worker's answer was lost; it has a timer of its own
    return;
  }
  if (is_delivered(o)) {
    // Nothing was said for as long as the pool allows.
    if (!try_move_on(o, o.snd_una, true)) settled(o);
    return;
  }
  // Once its time is over, a broker that does not take what is ours is as good as one that is down.
  if (context_.now >= o.try_ends && try_move_on(o, o.snd_una, true)) return;
  if (++o.repeats > kDataTries) {
    abandon(o);
    return;
  }
  o.congestion_window = o.broker_mss;
  retransmit(o);
  arm_retransmit(o);
}

void Proxy::arm_retransmit(Opening& o) {
  const base::Instant at = context_.now + o.retransmit * (1 << o.repeats);
  timers_.arm(o, context_.now < o.try_ends ? std::min(at, o.try_ends) : at);
}

// Where nothing is ours, and the client may say nothing before the broker does, nobody else would
// complete the handshake.
void Proxy::acknowledge_syn(Opening& o) {
  if (o.request.reads_connect || owned_length(o) > 0) return;
  wire::Segment ack = segment_to_broker(o);
  ack.flags = wire::kAck;
  ack.seq = o.snd_nxt;
  send_to_broker(o, ack);
}

// RFC 1191, RFC 8201. Only what makes segments shorter has them repeated, so errors, forged ones
// too, cost a few segments at the most.
bool Proxy::try_shorten(ProxyFlow& f, Seq32 seq, uint32_t mtu) {
  constexpr uint32_t kLeastMtuV4 = 576;  // RFC 1191 section 7: what a path that says nothing takes
  constexpr uint32_t kLeastMtuV6 = 1280;
  if (f.state != ProxyState::settling) return false;
  Opening& o = opening(f);
  if (seq.before(o.snd_una) || !seq.before(owned_end(o))) return false;
  const wire::IpAddress& broker = context_.addresses.broker_endpoint(f.broker).address;
  const uint32_t least = broker.is_v4() ? kLeastMtuV4 : kLeastMtuV6;
  const uint32_t headers = static_cast<uint32_t>(wire::ip_header_length(broker)) + wire::kTcpHeader;
  const auto mss = static_cast<uint16_t>(std::max(mtu, least) - headers);
  if (mss < o.broker_mss) {
    o.broker_mss = mss;
    retransmit(o);
  }
  return true;
}

// Goes back to the first byte that is not acknowledged.
void Proxy::retransmit(Opening& o) {
  context_.counters[Event::header_again].add();
  o.snd_nxt = o.snd_una;
  if (o.send_window == 0) o.send_window = 1;  // probes a closed window
  send_owned(o);
}

// The broker answered the SYN and then nothing more. The client gets a RST and comes again.
void Proxy::abandon(Opening& o) {
  const ProxyFlow& f = flows_[o.flow];
  reset_broker(o, o.snd_nxt);
  if (!context_.sink.send({f.worker, BrokerReset{worker_of(f), {}, true}})) {
    context_.counters[Event::messages_lost].add();
  }
  wire::Segment rst;
  rst.link = {context_.shared.port_macs[f.client_side], f.client_mac};
  rst.source = context_.addresses.vip_endpoint(f.vip);
  rst.destination = o.request.client;
  rst.flags = wire::kRst | wire::kAck;
  rst.seq = o.request.client_iss + 1U;
  rst.ack = o.request.first_byte + o.request.acked;
  send_segment(context_, f.client_side, rst);
  context_.counters[Event::rst_to_client].add();
  settled(o);
}

void Proxy::reset_broker(Opening& o, Seq32 seq) {
  wire::Segment rst = segment_to_broker(o);
  rst.options = {};
  rst.flags = wire::kRst;
  rst.seq = seq;
  rst.window = 0;
  send_to_broker(o, rst);
  context_.counters[Event::rst_to_broker].add();
}

}  // namespace mqlb::engine
