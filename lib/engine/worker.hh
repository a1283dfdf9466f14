// The client side: SYN cookies, the CONNECT, and packets from clients to brokers.
//
// Owner: one data core. Time comes in through the context; frames go out through its Output,
// messages through its sink. worker_accept.cc holds what happens before a flow is spliced,
// worker_admit.cc whom a listener lets in, worker_open.cc what happens while a broker is asked and
// when none is found, worker_retry.cc the way back from a broker that said nothing,
// worker_splice.cc the spliced state and its end.
#pragma once

#include <array>
#include <memory>

#include "lib/admission/client_id_watch.hh"
#include "lib/admission/refused_sources.hh"
#include "lib/base/result.hh"
#include "lib/base/slab.hh"
#include "lib/base/timer_wheel.hh"
#include "lib/engine/arrival.hh"
#include "lib/engine/context.hh"
#include "lib/flow/worker_table.hh"
#include "lib/mqtt/connect.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::engine {

// A client between handshake and splice.
struct Accepting : base::TimerNode {
  static constexpr size_t kMaxFrames = 16;

  FlowIndex flow = flow::kNoFlow;
  wire::Endpoint client;
  wire::MacAddress client_mac;
  wire::MacAddress told_mac;  // the one that the proxy knows
  config::PortId port = 0;
  base::Seq32 first_byte;  // client's ISN + 1
  base::Seq32 iss;         // ours
  tcp::Negotiated negotiated;
  uint32_t tsval = 0;     // the client's latest
  uint16_t window = 0;    // the client's latest, not scaled
  uint32_t acked = 0;     // bytes that we acknowledged
  uint32_t parse_at = 0;  // contiguous bytes that make another look at the CONNECT worth while
  uint32_t handed = 0;    // bytes that are with the proxy or in frames[0]; 0: CONNECT not complete
  bool reads_connect = true;  // the listener's mode is mqtt
  bool again = false;         // it was spliced to a broker that left
  base::Bytes whole;          // the CONNECT and what came with it, if it lies in frames[0]
  uint32_t tsval_floor = 0;   // what the client may have seen of that broker; with timestamps
  base::Instant deadline{};
  base::Instant ack_due{};  // zero: none
  std::unique_ptr<tcp::Reassembly> held;
  size_t frame_count = 0;
  std::array<Frame, kMaxFrames> frames;  // in the order of their arrival
  // Refusing.
  mqtt::Version version = mqtt::Version::v3_1_1;
  base::End reason = base::End::closed;
  uint8_t connack_length = 0;
  uint8_t sent = 0;
  bool client_fin = false;
  bool heard = false;  // our CONNACK and FIN are acknowledged
  bool over = false;   // all is acknowledged; kept for what the client repeats
  base::Seq32 ack;     // what our segments acknowledge
};

// Distinguishes the link addresses (MacAddress::bits()) that one client answers from.
[[nodiscard]] inline uint16_t mac_hash(uint64_t mac) {
  return static_cast<uint16_t>(mac * 0x9e3779b97f4a7c15U >> 48);
}

class alignas(base::kCacheLine) Worker {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Worker>> create(CoreContext& context,
                                                                    uint32_t max_flows,
                                                                    uint32_t max_connecting);
  ~Worker();

  // Begins the search for a packet's flow, well before process(). source: the packet's.
  void seek(Arrival& arrival, const wire::IpAddress& source) const {
    arrival.search = flows_.begin({source, arrival.packet.tcp().source_port()}, arrival.vip);
  }
  // TCP segments from clients to listener endpoints, each sought. Takes the frames.
  void process(std::span<Arrival* const> arrivals);
  void receive(const Opened& message);
  void receive(const OpenFailed& message);
  void receive(const TakeBack& message);
  void receive(const BrokerFin& message);
  void receive(const ClientFinAcked& message);
  void receive(const BrokerReset& message);

  // Closes flows of a backend, at most so many, among the records from `next` on, at most `slice`
  // of them; moves `next` and returns how many it closed.
  uint32_t close_flows(config::BackendId backend, uint32_t most, FlowIndex& next, uint32_t slice);

  // Timers, and a slice of the sweep for idle flows.
  void advance();
  // A new snapshot is in force.
  void adopt_snapshot();
  // The same, or backends may have learnt something.
  void refresh_offers();

  [[nodiscard]] flow::WorkerTable& flows() { return flows_; }
  [[nodiscard]] uint32_t connecting() const { return accepting_.size(); }
  [[nodiscard]] const admission::ClientIdWatch& client_ids() const { return client_ids_; }
  [[nodiscard]] const admission::RefusedSources& refused_sources() const {
    return refused_sources_;
  }

 private:
  // What SYN-ACKs of a listener promise.
  struct Offer {
    uint16_t mss = wire::kDefaultMss;
    bool sack = false;
    bool timestamps = false;
    bool asks = false;  // who comes; config::AdmissionEntry
  };
  // Who is told, when a flow ends, that it does not exist any more.
  enum class Reset : uint8_t { none, broker, both };
  // Acknowledgements of one client differ by less, except over very wide windows.
  static constexpr uint32_t kUsualStep = 1U << 20;
  static bool is_near(base::Seq32 a, base::Seq32 b) {
    return static_cast<uint32_t>(a - b) + kUsualStep < 2 * kUsualStep;
  }

  Worker(CoreContext& context, flow::WorkerTable flows, uint32_t max_connecting);

  void restrict_offer(Offer& offer, const config::PoolEntry& pool) const;
  [[nodiscard]] size_t longest_ip_header(const config::ListenerEntry& listener) const;

  // worker_accept.cc
  void no_flow(wire::Packet& packet, const Frame& frame, uint16_t vip);
  bool answer_syn(wire::Packet& packet, const Frame& frame, uint16_t vip,
                  const flow::WorkerFlow* known);
  [[nodiscard]] bool is_early(const wire::Packet& packet, uint16_t vip);
  bool try_accept(wire::Packet& packet, const Frame& frame, uint16_t vip);
  FlowIndex try_add(const wire::Packet& packet, const Frame& frame, uint16_t vip,
                    config::ListenerId listener);
  void await_connect(wire::Packet& packet, const Frame& frame, Accepting& a);
  void hold_segment(wire::Packet& packet, const Frame& frame, Accepting& a);
  bool read_connect(Accepting& a, base::Bytes bytes);
  // The usual segment of a spliced flow is seen here to be one.
  bool begins_anew(wire::Packet& packet, const Frame& frame, FlowIndex index, uint16_t vip) {
    const wire::TcpView tcp = packet.tcp();
    const flow::WorkerFlow& f = flows_[index];
    const bool usual = f.state == flow::WorkerState::spliced && !tcp.has(wire::kSyn) &&
                       is_near(tcp.ack(), f.last_ack);
    return !usual && replaces(packet, frame, index, vip);
  }
  [[nodiscard]] static bool continues(const wire::Packet& packet, const flow::WorkerFlow& f);
  bool replaces(wire::Packet& packet, const Frame& frame, FlowIndex index, uint16_t vip);
  bool try_assemble(Accepting& a, uint32_t position, base::Bytes data, uint32_t most);
  void forget_held(Accepting& a);
  void acknowledge(Accepting& a);
  void arm(Accepting& a);
  void on_timer(Accepting& a);
  void note_segment(Accepting& a, const wire::Packet& packet);
  [[nodiscard]] bool try_reset(const Accepting& a, const wire::Packet& packet, const Frame& frame);

  // worker_admit.cc
  [[nodiscard]] std::optional<base::Drop> objection(config::ListenerId id,
                                                    const wire::IpAddress& client) const;
  [[nodiscard]] std::optional<base::Drop> admit(FlowIndex index, const wire::IpAddress& client);
  [[nodiscard]] std::optional<base::Drop> admit_source(flow::WorkerFlowRest& rest,
                                                       const admission::SourceLimits& limits,
                                                       const wire::IpAddress& client);
  void return_to_count(FlowIndex index);
  [[nodiscard]] wire::IpAddress client_address(FlowIndex index);
  void leave(FlowIndex index);
  [[nodiscard]] bool admit_client_id(const Accepting& a, config::PoolId pool,
                                     base::Bytes client_id);
  void turn_away(const wire::Packet& packet, const Frame& frame, config::ListenerId id,
                 base::Drop reason);
  void note_refused(config::ListenerId id, const wire::IpAddress& client,
                    admission::Refused reason);

  // worker_open.cc
  void open(Accepting& a, const mqtt::Connect& connect);
  void open_unread(Accepting& a);
  void ask_proxy(Accepting& a, config::PoolId pool, const mqtt::Connect& connect);
  struct Key {
    config::KeyPolicy policy;
    uint64_t hash;
  };
  [[nodiscard]] static Key choose_key(const Accepting& a, const config::PoolEntry& pool,
                                      const mqtt::Connect& connect);
  void while_opening(wire::Packet& packet, const Frame& frame, Accepting& a);
  void refuse(Accepting& a, base::End reason);
  void send_connack(Accepting& a);
  void while_refusing(wire::Packet& packet, const Frame& frame, Accepting& a);
  void send_to_client(const Accepting& a, uint8_t flags, base::Seq32 seq, base::Seq32 ack,
                      base::Bytes payload);
  void drop_frames(Accepting& a);
  [[nodiscard]] bool try_hold(Accepting& a, const Frame& frame);
  void reset_client(Accepting& a, base::End reason);
  void give_back(Accepting& a);

  // worker_splice.cc
  [[nodiscard]] static bool is_usual(const wire::Packet& packet, const flow::WorkerFlow& f);
  void act(Arrival& arrival, FlowIndex index);
  void splice(wire::Packet& packet, const Frame& frame, FlowIndex index);
  void act_v6(Arrival& arrival);
  template <splice::Families families>
  void pass_on(wire::Packet& packet, const Frame& frame, flow::WorkerFlow& f, bool believed);
  template <splice::Families families>
  void send_on(wire::Packet& packet, const Frame& frame, const flow::WorkerFlow& f,
               const BackendSide& backend);
  void send_on_any(wire::Packet& packet, const Frame& frame, const flow::WorkerFlow& f,
                   const BackendSide& backend);
  [[nodiscard]] static bool is_believed(const wire::Packet& packet, const flow::WorkerFlow& f);
  void watch_ends(const wire::Packet& packet, FlowIndex index, bool believed);
  void count_progress(const wire::Packet& packet, flow::WorkerFlow& f);
  void raise_old_tsecr(const wire::Packet& packet, FlowIndex index);
  void follow_mac(const wire::Packet& packet, flow::WorkerFlow& f);
  void while_closing(wire::Packet& packet, const Frame& frame, FlowIndex index);
  void close(FlowIndex index);
  void close_if_done(FlowIndex index);
  void sweep();
  void check_idle(FlowIndex index);
  bool end(FlowIndex index, base::End reason, Reset reset);

  [[nodiscard]] flow::WorkerFlow* find(const WorkerRef& ref);
  [[nodiscard]] Accepting& accepting(const flow::WorkerFlow& f) { return accepting_[f.accepting]; }

  CoreContext& context_;
  flow::WorkerTable flows_;
  tcp::SynCookies cookies_;
  base::Slab<Accepting> accepting_;
  base::TimerWheel timers_;
  admission::ClientIdWatch client_ids_;
  admission::RefusedSources refused_sources_;
  std::array<Offer, config::kMaxListeners> offers_;
  uint64_t sweep_debt_ = 0;  // records that are due, in millionths of kSweepPeriod
  FlowIndex sweep_at_ = 0;
  base::Instant last_sweep_{};
  size_t next_proxy_ = 0;
  size_t held_frames_ = 0;  // in all Accepting::frames
  size_t held_bytes_ = 0;   // memory of all Accepting::held
};

}  // namespace mqlb::engine
