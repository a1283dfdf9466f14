// The broker side: opens connections to brokers, sends the PROXY header, and passes packets from
// brokers to clients.
//
// Owner: one data core. proxy_open.cc holds what happens until a broker answers, proxy_settle.cc
// what happens until the PROXY header and the bytes that are ours are acknowledged, proxy_retry.cc
// how a client moves on from a broker that said nothing, proxy_splice.cc the spliced state and its
// end.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "lib/base/huge_pages.hh"
#include "lib/base/result.hh"
#include "lib/base/slab.hh"
#include "lib/base/timer_wheel.hh"
#include "lib/engine/arrival.hh"
#include "lib/engine/context.hh"
#include "lib/engine/selection.hh"
#include "lib/flow/proxy_table.hh"
#include "lib/flow/snat_ports.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"
#include "lib/wire/build.hh"

namespace mqlb::engine {

// A broker connection that is being opened. What is ours to deliver is the PROXY header, and the
// bytes of the client that it saw acknowledged before:
//
//     iss  iss+1            iss+1+header                    +owned        broker space
//      |SYN| PROXY header ... | the client's first bytes ... | spliced ...
//                             ^ first_byte + seq_delta
//
// Until the broker's first byte it stays, with a copy of the client's first bytes, so that another
// broker can be tried.
struct Opening : base::TimerNode {
  FlowIndex flow = flow::kNoFlow;
  OpenRequest request;
  base::Bytes first;  // the client's first bytes: in `held`, or Proxy::copies_
  std::unique_ptr<tcp::Reassembly> held;
  uint32_t owned = 0;             // of them, so many are ours to deliver
  uint32_t promised = 0;          // bytes that the client may have seen acknowledged
  bool committed = false;         // no other broker will be tried
  bool waits = false;             // in Proxy::waiting_: for the broker's first byte
  uint32_t older = 0, newer = 0;  // with `waits`: neighbours there
  uint16_t hung_up = 0;           // candidates that did, by bit
  std::array<config::BackendId, Selector::kMost> candidates;
  uint8_t candidate_count = 0;
  uint8_t next_candidate = 0;
  uint8_t tries = 0;    // candidates that were asked
  bool added = false;   // candidates, in place of those that were passed over
  uint8_t repeats = 0;  // of the SYN in this try, then of the data
  uint8_t stale = 0;    // challenge ACKs answered in this try
  base::End failure = base::End::backends_failed;  // of the latest try
  base::Instant try_ends{};
  base::Instant sent_at{};  // of the latest SYN
  std::array<uint8_t, proxy_protocol::kMaxHeader> header;
  uint16_t header_length = 0;
  base::Seq32 iss;
  base::Seq32 snd_una;  // from the SYN-ACK on
  base::Seq32 snd_nxt;
  base::Seq32 rcv_nxt;             // the broker's ISN + 1, until it sends data
  uint32_t send_window = 0;        // bytes, the broker's
  uint32_t congestion_window = 0;  // bytes
  uint16_t broker_mss = 0;
  bool scaled = false;  // the broker scales windows
  uint8_t broker_scale = 0;
  uint32_t broker_tsval = 0;
  base::Duration retransmit{};
  base::Seq32 client_fin_end;  // broker space, with kPeerFin
};

class alignas(base::kCacheLine) Proxy {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Proxy>> create(CoreContext& context,
                                                                   uint32_t max_flows,
                                                                   uint32_t max_connecting);

  // Finds the SNAT port that a packet is for, well before process(). source: the packet's.
  void seek(Arrival& arrival, const wire::IpAddress& source, config::SnatId snat) const {
    const wire::TcpView tcp = arrival.packet.tcp();
    const uint16_t broker = context_.addresses.broker({source, tcp.source_port()});
    const size_t i = table_of(broker, snat);
    arrival.port = i < port_maps_.size() ? port_maps_[i].find(tcp.destination_port()) : nullptr;
    if (arrival.port != nullptr) __builtin_prefetch(arrival.port);
  }
  // TCP segments to our SNAT addresses, each sought. Takes the frames.
  void process(std::span<Arrival* const> arrivals);
  // The flow that sends from a SNAT address and port to a broker, or null.
  [[nodiscard]] flow::ProxyFlow* lookup(config::SnatId snat, uint16_t port,
                                        const wire::Endpoint& broker);
  // An ICMP error says that the broker cannot be reached. seq: of the segment it quotes, which must
  // be our SYN's (RFC 5927 section 4.1).
  void unreachable(flow::ProxyFlow& f, base::Seq32 seq);
  // An ICMP error says that a segment was too long for the path to the broker. False if it was not
  // one that is this proxy's own to repeat. mtu: 0 if the router did not say it.
  [[nodiscard]] bool try_shorten(flow::ProxyFlow& f, base::Seq32 seq, uint32_t mtu);

  void receive(const OpenRequest& message);
  void receive(const TakenBack& message);
  void receive(const ClientFin& message);
  void receive(const ClientMoved& message);
  void receive(const Release& message);

  void adopt_snapshot();
  void advance();

  [[nodiscard]] const flow::ProxyTable& flows() const { return flows_; }
  [[nodiscard]] uint32_t opening() const { return opening_.size(); }

  // For reports: use of one SNAT address toward one broker endpoint.
  struct PortUse {
    config::SnatId snat = 0;
    wire::Endpoint broker;
    uint32_t in_use = 0, quarantined = 0, capacity = 0;
  };
  [[nodiscard]] std::vector<PortUse> port_use();

 private:
  Proxy(CoreContext& context, flow::ProxyTable flows, uint32_t max_connecting);

  // proxy_open.cc
  void encode_header(Opening& o);
  void choose_candidates(Opening& o);
  void try_next(Opening& o);
  bool add_candidates(Opening& o);
  [[nodiscard]] std::optional<base::End> try_join(Opening& o, config::BackendId backend);
  void leave(config::BackendId backend);
  bool take_port(Opening& o, config::BackendId backend);
  bool take_port(Opening& o, config::BackendId backend, size_t first,
                 flow::SnatPorts::Choice choice);
  void choose_iss(Opening& o, const flow::SnatPorts& ports);
  void send_syn(Opening& o);
  void failed_try(Opening& o, base::Event event);
  void end_try(Opening& o, base::Event event, base::Seq32 last_seq);
  void fail(Opening& o);
  void forget(Opening& o);
  void in_syn_sent(wire::Packet& packet, const Frame& frame, Opening& o);
  void established(wire::Packet& packet, Opening& o, const wire::TcpOptions& options);
  [[nodiscard]] bool announce(Opening& o, const splice::Translation& to_broker, uint32_t floor);

  // proxy_settle.cc
  void while_settling(wire::Packet& packet, const Frame& frame, Opening& o);
  static void note_timestamps(const wire::Packet& packet, Opening& o);
  static void keep_window(wire::TcpView tcp, int32_t raised, uint8_t scale);
  static void widen_window(wire::TcpView tcp, uint32_t lowered, uint8_t scale);
  bool guard_ack(wire::Packet& packet, base::Seq32 known, uint32_t ack_delta);
  bool late_ack(wire::Packet& packet, FlowIndex index);
  void send_owned(Opening& o);
  void settled(Opening& o);
  void on_timer(Opening& o);
  void retransmit(Opening& o);
  void arm_retransmit(Opening& o);
  void acknowledge_syn(Opening& o);
  void abandon(Opening& o);
  [[nodiscard]] static uint32_t owned_length(const Opening& o) { return o.header_length + o.owned; }
  [[nodiscard]] static bool is_delivered(const Opening& o) {
    return !o.snd_una.before(owned_end(o));
  }
  [[nodiscard]] static base::Seq32 owned_end(const Opening& o) {
    return o.iss + 1U + owned_length(o);
  }
  [[nodiscard]] static bool note_ack(wire::TcpView tcp, Opening& o);
  [[nodiscard]] wire::Segment segment_to_broker(const Opening& o) const;
  void send_to_broker(const Opening& o, const wire::Segment& segment);
  void reset_broker(Opening& o, base::Seq32 seq);
  void give_back_port(flow::ProxyFlow& f, base::Seq32 last_seq);

  // proxy_retry.cc
  uint32_t take_opening();
  void keep_first_bytes(Opening& o);
  [[nodiscard]] static uint32_t kept(const Opening& o) {
    return static_cast<uint32_t>(o.first.size());
  }
  [[nodiscard]] static bool can_move(const Opening& o);
  [[nodiscard]] bool hangs_up(const wire::Packet& packet, const Opening& o) const;
  [[nodiscard]] bool answers_fin(const wire::Packet& packet, const Opening& o) const;
  void hear(const wire::Packet& packet, Opening& o);
  bool hold_back_ack(wire::Packet& packet, Opening& o);
  void await_word(Opening& o);
  void leave_waiting(Opening& o);
  bool try_move_on(Opening& o, base::Seq32 broker_next, bool reset);

  // proxy_splice.cc
  void fetch(const Arrival& arrival) const {
    if (arrival.port != nullptr && arrival.port->taken()) {
      __builtin_prefetch(&flows_[arrival.port->flow()], 1);
    }
  }
  [[nodiscard]] static bool is_usual(const wire::Packet& packet, const flow::ProxyFlow& f);
  void act(wire::Packet& packet, const Frame& frame, FlowIndex index);
  void splice(wire::Packet& packet, const Frame& frame, FlowIndex index, bool strip_sack = false);
  template <splice::Families families>
  void pass_on(wire::Packet& packet, const Frame& frame, const flow::ProxyFlow& f, bool strip_sack);
  [[nodiscard]] bool sacks_known(const wire::Packet& packet, FlowIndex index);
  void make_ports(uint16_t broker, config::SnatId snat);
  void take_stray(const Arrival& arrival);
  void watch_ends(const wire::Packet& packet, flow::ProxyFlow& f);
  void reset_at(const flow::ProxyFlow& f, base::Seq32 seq);
  void reset_client(const flow::ProxyFlow& f, const Release& message);
  [[nodiscard]] static size_t table_of(uint16_t broker, config::SnatId snat) {
    return size_t{broker} * config::kMaxSnats + snat;
  }
  [[nodiscard]] flow::SnatPorts* ports(uint16_t broker, config::SnatId snat) const {
    const size_t i = table_of(broker, snat);
    return i < ports_.size() ? ports_[i].ports.get() : nullptr;
  }
  [[nodiscard]] Opening& opening(const flow::ProxyFlow& f) { return opening_[f.opening]; }
  [[nodiscard]] WorkerRef worker_of(const flow::ProxyFlow& f) const {
    return {f.worker_flow, f.worker, f.worker_generation};
  }

  CoreContext& context_;
  flow::ProxyTable flows_;
  base::Slab<Opening> opening_;
  base::TimerWheel timers_;
  struct {
    uint32_t oldest = base::Slab<Opening>::kNone;
    uint32_t newest = base::Slab<Opening>::kNone;
  } waiting_;              // Openings that only wait for the broker's first byte
  size_t kept_bytes_ = 0;  // memory of all Opening::held
  static constexpr size_t kShortConnect = 256;
  std::unique_ptr<uint8_t[]> copies_;  // by opening, of CONNECTs that are as short as most
  base::HugePages port_memory_;
  struct PortTable {
    wire::IpAddress address;       // what the SNAT id meant when the table was made
    uint16_t first = 0, last = 0;  // ports
    std::unique_ptr<flow::SnatPorts> ports;
  };
  std::vector<PortTable> ports_;                 // by table_of()
  std::vector<flow::SnatPorts::Map> port_maps_;  // theirs, empty where there is no table
  std::vector<Turns> turns_;                     // by pool
  uint64_t opened_ = 0;                          // for UNIQUE_ID
  size_t next_snat_ = 0;
  TokenBucket check_bucket_;
};

}  // namespace mqlb::engine
