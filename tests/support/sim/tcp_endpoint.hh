// One end of a TCP connection (RFC 9293), small but correct, that also checks what arrives.
//
// Time is an argument and segments go to a SegmentSink; the endpoint neither knows the network
// nor keeps a clock. The owner (Host) calls receive(), advance() at deadline(), and poll() after
// it let the application act. Not supported: simultaneous open, urgent data, ECN.
//
// Offsets count stream bytes from 0 in 64 bits; the SYN lies before offset 0, the FIN behind the
// last byte:
//
//            snd_una_     snd_nxt_     snd_max_      stream size
//   ---acked----+--in flight--+-resend---+----unsent-----+ FIN
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim/checks.hh"
#include "tests/support/sim/interval_set.hh"
#include "tests/support/sim/packet.hh"
#include "tests/support/sim/reassembly.hh"
#include "tests/support/sim/stream.hh"
#include "tests/support/sim/tcp_options.hh"

namespace mqlb::sim {

class TcpEndpoint;

enum class Phase : uint8_t { closed, syn_sent, syn_received, open, time_wait };

enum class CloseReason : uint8_t {
  none,
  normal,    // both FINs acknowledged
  aborted,   // by this end's application
  reset,     // by a RST of the other end
  refused,   // RST in answer to the SYN
  timeout,   // retransmissions or keepalives without an answer
  vanished,  // as by loss of power; nobody answers for it afterwards
  storm,     // bare ACKs without end
};

[[nodiscard]] std::string_view to_string(CloseReason reason);

class SegmentSink {
 public:
  virtual ~SegmentSink() = default;
  // The payload is a view that ends with the call.
  virtual void transmit(const Segment& segment, Instant now) = 0;
};

// The application on top. Calls may write, read, close and abort.
class App {
 public:
  virtual ~App() = default;
  virtual void on_established(TcpEndpoint&, Instant) {}
  // Payload as it arrived, in any order and repeated; before it is readable.
  virtual void on_segment(TcpEndpoint&, uint64_t /*offset*/, base::Bytes, Instant) {}
  virtual void on_readable(TcpEndpoint&, Instant) {}
  // The peer's FIN, after everything before it was read.
  virtual void on_end(TcpEndpoint&, Instant) {}
  // The last call; nothing can be sent any more, but what is readable can be read.
  virtual void on_closed(TcpEndpoint&, CloseReason, Instant) {}
  [[nodiscard]] virtual Instant deadline() const { return kNever; }
  virtual void on_timer(TcpEndpoint&, Instant) {}
};

class TcpEndpoint {
 public:
  TcpEndpoint(const wire::Endpoint& local, const wire::Endpoint& remote, const TcpOptions& options,
              SegmentSink& sink, Violations& violations, const CheckRules& rules);

  // `app` outlives the endpoint's last call.
  void set_app(App* app) { app_ = app; }
  void connect(Instant now);
  void accept(const Segment& syn, Instant now);
  void receive(const Segment& segment, Instant now);
  void advance(Instant now);
  // Tells the application what is new and sends what can be sent.
  void poll(Instant now);
  [[nodiscard]] Instant deadline() const;

  // For the application. A boundary keeps segments from running over the end of these bytes.
  enum class Boundary : uint8_t { no, yes };
  void write(base::Bytes bytes, Instant now, Boundary boundary = Boundary::no);
  void close(Instant now);  // FIN behind what was written; reading goes on
  void abort(Instant now);  // RST
  void vanish() { finish(CloseReason::vanished); }
  void read(size_t most, std::vector<uint8_t>& out) { queue_->read(most, out); }
  [[nodiscard]] size_t readable() const { return queue_->readable(); }

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] CloseReason reason() const { return reason_; }
  [[nodiscard]] bool fin_received() const { return fin_received_; }
  [[nodiscard]] bool all_acknowledged() const { return snd_una_ == send_end(); }
  [[nodiscard]] const wire::Endpoint& local() const { return local_; }
  [[nodiscard]] const wire::Endpoint& remote() const { return remote_; }
  [[nodiscard]] const TcpOptions& options() const { return options_; }
  [[nodiscard]] std::shared_ptr<const Stream> stream() const { return stream_; }
  [[nodiscard]] std::shared_ptr<const ReceiveQueue> received() const { return queue_; }
  [[nodiscard]] SegmentChecks& checks() { return checks_; }
  // A SYN that may take over this connection's addresses (RFC 9293 section 3.6.1, RFC 6191).
  [[nodiscard]] bool reusable_by(const Segment& syn) const;
  // The end of TIME-WAIT because of such a SYN.
  void give_way(Instant now);
  [[nodiscard]] bool done() const;

 private:
  // tcp_endpoint.cc: life and timers
  void negotiate(const Segment& syn);
  void finish(CloseReason reason);
  void on_retransmit_timer(Instant now);
  void on_keepalive_timer(Instant now);
  [[nodiscard]] CheckState check_state() const;

  // tcp_receive.cc
  void receive_syn_sent(const Segment& s, Instant now);
  void receive_open(const Segment& s, Instant now);
  bool accept_timestamps(const Segment& s, int64_t from);
  bool accept_sequence(const Segment& s, int64_t from);
  void receive_reset(const Segment& s, int64_t from, Instant now);
  bool receive_ack(const Segment& s, int64_t from, Instant now);
  void take_new_ack(const Segment& s, uint64_t ack, Instant now);
  void take_duplicate_ack();
  void take_sack(const Segment& s);
  void take_window(const Segment& s, int64_t from, uint64_t ack);
  void receive_data(const Segment& s, int64_t from, Instant now);
  void receive_fin(int64_t at, Instant now);
  void check_finished(Instant now);
  void sample_rtt(const Segment& s, uint64_t ack, Instant now);
  void enter_recovery();

  // tcp_send.cc
  void output(Instant now);
  void send_syn(Instant now);
  void send_new(Instant now);
  void send_holes(Instant now);
  [[nodiscard]] bool may_send(uint64_t length, uint64_t usable, bool last) const;
  uint64_t send_at(uint64_t offset, uint64_t most, Instant now);
  void send_probe(Instant now);
  void send_ack(Instant now);
  void send_reset(base::Seq32 seq, bool with_ack, Instant now);
  void emit(Segment& s, Instant now);
  void add_sack(Segment& s);
  void arm_timers(Instant now);
  [[nodiscard]] uint16_t advance_window();
  [[nodiscard]] size_t sack_room() const;
  [[nodiscard]] uint64_t segment_size() const;
  [[nodiscard]] uint64_t boundary_after(uint64_t offset) const;
  [[nodiscard]] Duration timeout() const;
  [[nodiscard]] uint64_t flight() const;

  [[nodiscard]] uint64_t send_end() const { return stream_->size() + (fin_queued_ ? 1 : 0); }
  [[nodiscard]] uint64_t rcv_next() const { return queue_->next() + (fin_received_ ? 1 : 0); }
  [[nodiscard]] base::Seq32 snd_seq(uint64_t offset) const {
    return options_.iss + 1 + static_cast<uint32_t>(offset);
  }
  [[nodiscard]] base::Seq32 rcv_seq(uint64_t offset) const {
    return irs_ + 1 + static_cast<uint32_t>(offset);
  }
  [[nodiscard]] uint32_t timestamp(Instant now) const {
    return base::to_milliseconds(now) + options_.timestamp_offset;
  }

  wire::Endpoint local_;
  wire::Endpoint remote_;
  TcpOptions options_;
  SegmentSink& sink_;
  SegmentChecks checks_;
  App* app_ = nullptr;
  Phase phase_ = Phase::closed;
  CloseReason reason_ = CloseReason::none;
  bool passive_ = false;
  bool told_established_ = false;
  bool told_end_ = false;
  bool told_closed_ = false;
  bool dispatching_ = false;

  // Negotiated.
  bool timestamps_ = false;
  bool sack_ = false;
  uint8_t snd_shift_ = 0;
  uint8_t rcv_shift_ = 0;
  uint16_t peer_mss_ = 536;

  // Sending.
  std::shared_ptr<Stream> stream_ = std::make_shared<Stream>();
  std::vector<uint64_t> boundaries_;  // ascending
  uint64_t snd_una_ = 0;
  uint64_t snd_nxt_ = 0;
  uint64_t snd_max_ = 0;
  uint64_t snd_right_ = 0;           // right edge of the peer's window
  uint64_t snd_furthest_right_ = 0;  // rounding by the scale lets the edge go back a little
  uint64_t max_window_ = 0;
  int64_t wl1_ = -1;  // offset of the segment that last set the window, and its ACK
  uint64_t wl2_ = 0;
  bool fin_queued_ = false;
  bool fin_sent_ = false;
  bool sent_fin_first_ = false;
  IntervalSet sacked_;
  uint64_t cwnd_ = 0;
  uint64_t ssthresh_ = 1U << 30U;
  unsigned dup_acks_ = 0;
  bool recovering_ = false;
  uint64_t recover_ = 0;      // snd_max_ when recovery began
  uint64_t hole_ = 0;         // next byte to look at for a hole
  unsigned hole_credit_ = 0;  // segments that recovery may resend now
  unsigned retries_ = 0;      // doublings of the timeout
  unsigned unanswered_ = 0;   // timeouts since anything acceptable arrived
  Duration rto_;
  Duration srtt_{0};
  Duration rttvar_{0};
  uint64_t timed_ = 0;  // offset whose ACK gives a round-trip time; 0: none (Karn's rule)
  Instant timed_at_{};
  Instant retransmit_at_ = kNever;
  Instant keepalive_at_ = kNever;
  unsigned keepalive_sent_ = 0;

  // Receiving.
  std::shared_ptr<ReceiveQueue> queue_ = std::make_shared<ReceiveQueue>();
  base::Seq32 irs_;
  uint32_t ts_recent_ = 0;
  uint64_t last_ack_sent_ = 0;
  bool fin_received_ = false;
  bool ack_now_ = false;
  unsigned unacked_segments_ = 0;
  Instant ack_at_ = kNever;
  Instant time_wait_until_ = kNever;
  std::array<uint64_t, kMaxSackBlocks> recent_{};  // newest first: offsets that arrived early
};

}  // namespace mqlb::sim
