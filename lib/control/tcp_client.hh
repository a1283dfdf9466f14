// A TCP connection that the balancer opens for itself (RFC 9293): small, for health checks. It
// sends a few kilobytes, receives in order, and closes both ways.
//
// Owner: the control thread. Segments and time come in as arguments; what it sends goes to `emit`
// during the call. Limits: no simultaneous open, no urgent data, no congestion control beyond the
// initial window of RFC 6928, which is never exceeded; segments that overtake others are asked for
// again (no SACK blocks are sent).
//
//            snd_una_      snd_nxt_      snd_max_
//   ---acked----+--in flight--+--to resend--+----not sent yet-----| FIN
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/base/seq32.hh"
#include "lib/base/time.hh"
#include "lib/wire/build.hh"
#include "lib/wire/packet.hh"

namespace mqlb::control {

enum class TcpState : uint8_t {
  syn_sent,
  established,
  fin_wait_1,
  fin_wait_2,
  closing,
  time_wait,
  close_wait,
  last_ack,
  closed,
};

enum class TcpEnd : uint8_t {
  none,
  orderly,  // both FINs acknowledged
  refused,  // RST in answer to the SYN
  reset,    // by the peer
  aborted,  // by us
};

struct TcpSetup {
  wire::Endpoint local;
  wire::Endpoint remote;
  uint16_t mtu = 1500;
  base::Seq32 iss;
  uint32_t clock_offset = 0;  // milliseconds, of our timestamps
};

class TcpClient {
 public:
  // Gets segments without link addresses; the payload is a view that ends with the call.
  using Emit = std::function<void(const wire::Segment&)>;

  static constexpr uint16_t kWindow = 16384;
  static constexpr base::Duration kTimeWait = std::chrono::seconds(2);

  TcpClient(const TcpSetup& setup, Emit emit);

  void connect(base::Instant now);
  // Any segment between the two endpoints.
  void receive(const wire::Packet& packet, base::Instant now);
  // Retransmissions and the end of TIME-WAIT; call it some hundred times a second.
  void advance(base::Instant now);

  // Goes out in one segment of its own, however small the peer's MSS is: a PROXY header. Before
  // all write().
  void write_whole(base::Bytes bytes, base::Instant now);
  void write(base::Bytes bytes, base::Instant now);
  // FIN behind what was written. Receiving goes on.
  void close(base::Instant now);
  // RST, if there is a connection.
  void abort();
  // What came since the last call.
  [[nodiscard]] std::vector<uint8_t> take_received();

  [[nodiscard]] TcpState state() const { return state_; }
  [[nodiscard]] TcpEnd end() const { return end_; }
  [[nodiscard]] bool established() const { return peer_options_.has_value(); }
  // The peer's FIN, behind everything that take_received() gave or will give.
  [[nodiscard]] bool peer_closed() const { return peer_closed_; }
  // Of its SYN-ACK, once established.
  [[nodiscard]] const std::optional<wire::TcpOptions>& peer_options() const {
    return peer_options_;
  }
  [[nodiscard]] const TcpSetup& setup() const { return setup_; }

 private:
  void in_syn_sent(wire::TcpView tcp, const wire::TcpOptions& options, base::Instant now);
  void in_connection(const wire::Packet& packet, const wire::TcpOptions& options,
                     base::Instant now);
  [[nodiscard]] bool is_acceptable(const wire::Packet& packet) const;
  void take_reset(base::Seq32 seq, base::Instant now);
  bool take_ack(wire::TcpView tcp, const wire::TcpOptions& options, base::Instant now);
  void own_fin_acknowledged(base::Instant now);
  bool take_data(const wire::Packet& packet, base::Instant now);
  void take_fin(base::Instant now);
  void enter_time_wait(base::Instant now);
  void finish(TcpEnd end);

  void send_syn(base::Instant now);
  bool send_pending(base::Instant now);
  [[nodiscard]] size_t next_size(size_t offset) const;
  void send_ack(base::Instant now);
  void challenge(base::Instant now);
  void arm(base::Instant now);
  [[nodiscard]] wire::Segment segment(uint8_t flags, base::Seq32 seq, base::Instant now) const;
  [[nodiscard]] uint32_t timestamp(base::Instant now) const {
    return base::to_milliseconds(now) + setup_.clock_offset;
  }
  [[nodiscard]] size_t own_headers() const;
  // Behind everything that there is to send, the FIN included.
  [[nodiscard]] base::Seq32 send_end() const {
    return setup_.iss + 1U + static_cast<uint32_t>(out_.size()) + (fin_queued_ ? 1U : 0U);
  }

  TcpSetup setup_;
  Emit emit_;
  TcpState state_ = TcpState::syn_sent;
  TcpEnd end_ = TcpEnd::none;
  std::optional<wire::TcpOptions> peer_options_;
  bool timestamps_ = false;
  uint8_t peer_scale_ = 0;
  uint16_t peer_mss_ = wire::kDefaultMss;

  std::vector<uint8_t> out_;  // all that was written
  size_t whole_ = 0;          // the first bytes of it go together
  bool fin_queued_ = false;
  base::Seq32 snd_una_, snd_nxt_, snd_max_;
  uint32_t send_window_ = 0;  // bytes
  uint32_t largest_window_ = 0;
  base::Duration timeout_;  // for a retransmission, before it doubles
  unsigned repeats_ = 0;
  unsigned stale_ = 0;  // answers of an old connection to our SYN
  std::optional<base::Instant> retransmit_at_;

  base::Seq32 rcv_nxt_;
  std::vector<uint8_t> in_;
  bool peer_closed_ = false;
  uint32_t ts_recent_ = 0;
  std::optional<base::Instant> challenged_at_;
  base::Instant time_wait_ends_{};
};

}  // namespace mqlb::control
