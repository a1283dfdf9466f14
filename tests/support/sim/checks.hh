// What every arriving segment must satisfy, judged before the endpoint acts on it.
//
// Two sources of judgement: what this endpoint itself sent and was told, and (when known) the
// truth about the peer at the far end, which a middlebox may only translate, not invent.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/sim/packet.hh"
#include "tests/support/sim/reassembly.hh"
#include "tests/support/sim/stream.hh"
#include "tests/support/sim/violations.hh"

namespace mqlb::sim {

// One set per World; set by the test before connections are opened.
struct CheckRules {
  // By how much a frame may overtake another between two hosts: the jitter of the links on the
  // way and of the device between them. World fills it from its links.
  Duration max_reorder{0};
  // How long a frame may take between two hosts: delays of the links and of the device. World
  // fills in the links' part and adds some for the device.
  Duration max_transit{0};
  // TSecr must be a TSval that was sent, not only lie between the first and the last.
  bool exact_echo = false;
  // DSACK (RFC 2883): a first block at or below the cumulative ACK is right.
  bool allow_dsack = false;
  // A SYN may draw an ACK of an old connection (RFC 5961 section 4); else it is a violation.
  bool challenge_on_syn = false;
  // Bytes from the beginning of the client's stream that the device may acknowledge itself.
  uint64_t device_may_acknowledge = 0;
  // A window up to this is right even if the far peer's is smaller: the device's own SYN-ACK.
  uint32_t device_window = 0;
};

// The far peer as it really is. Offsets here and there differ when the device puts bytes of its
// own in front of a stream (the PROXY header).
struct PeerTruth {
  std::shared_ptr<const Stream> stream;          // what the peer writes
  uint64_t stream_begins = 0;                    // its first byte's offset in what arrives here
  std::shared_ptr<const ReceiveQueue> received;  // what has arrived there
  // At a peer that was left; what it said may still be on its way.
  std::shared_ptr<const ReceiveQueue> received_before;
  uint64_t received_begins = 0;  // where this end's first byte lies in it
};

// The endpoint's state before the segment; stream offsets as in TcpEndpoint.
struct CheckState {
  bool syn_sent = false;  // no SYN of the peer yet
  base::Seq32 iss;
  base::Seq32 irs;
  uint64_t snd_una = 0;
  uint64_t snd_max = 0;
  uint64_t written = 0;  // bytes of this end's stream; an acknowledged FIN lies one further
  uint64_t rcv_next = 0;
  uint64_t rcv_right = 0;
  bool offered_scale = false;
  bool offered_sack = false;
  bool offered_timestamps = false;
  bool timestamps = false;  // negotiated
  bool sack = false;        // negotiated
  uint8_t snd_shift = 0;
  uint16_t mss = 0;        // announced by this end
  uint32_t ts_recent = 0;  // TS.Recent (RFC 7323 section 4.3)
};

class SegmentChecks {
 public:
  SegmentChecks(Violations& violations, const CheckRules& rules, std::string name)
      : violations_(violations), rules_(rules), name_(std::move(name)) {}

  void set_truth(std::shared_ptr<const PeerTruth> truth) { truth_ = std::move(truth); }
  [[nodiscard]] const PeerTruth* truth() const { return truth_.get(); }
  // This end sent a segment with this TSval.
  void note_sent(uint32_t tsval);
  // The SYN that opened this end.
  void note_syn(const Segment& syn, Instant now);
  void check(const Segment& segment, const CheckState& state, Instant now);
  // Again when bytes become readable: by then the truth may be known that was not at arrival.
  void check_data(uint64_t offset, base::Bytes bytes, Instant now);
  void report(Fault kind, Instant now, const std::string& text);

  // So many ACKs without progress that the connection is best ended.
  [[nodiscard]] bool storm() const { return idle_acks_ >= kMaxIdleAcks; }
  // By how many bytes an ACK went back at most, reordering included.
  [[nodiscard]] uint64_t worst_ack_regress() const { return worst_ack_regress_; }

 private:
  // Bare ACKs in a row that change nothing. A sender of many segments draws one duplicate ACK for
  // each that arrives early, so this stays above a window's worth of them.
  static constexpr unsigned kMaxIdleAcks = 1000;

  // The highest value seen, and the one that every later-sent frame must have reached.
  struct Floor {
    bool known = false;
    int64_t highest = 0;
    int64_t floor = 0;
    bool has_floor = false;
    std::deque<std::pair<Instant, int64_t>> rises{};

    // Returns by how much the value is below the floor.
    int64_t note(int64_t value, Instant now, Duration age);
  };

  void check_options(const Segment& s, const CheckState& state, Instant now);
  void check_ack(const Segment& s, const CheckState& state, Instant now);
  void check_ack_truth(const Segment& s, const CheckState& state, uint64_t ack, Instant now);
  void check_staleness(const Segment& s, const CheckState& state, uint64_t ack, Instant now);
  void check_sack(const Segment& s, const CheckState& state, Instant now);
  [[nodiscard]] bool comes_again(const Segment& s, const CheckState& state) const;
  void check_timestamps(const Segment& s, const CheckState& state, Instant now);
  void check_window(const Segment& s, const CheckState& state, Instant now);
  void check_sequence(const Segment& s, const CheckState& state, Instant now);
  void check_storm(const Segment& s, const CheckState& state, Instant now);
  void complain(Fault kind, Instant now, const Segment& s, const std::string& text);

  Violations& violations_;
  const CheckRules& rules_;
  std::string name_;
  std::shared_ptr<const PeerTruth> truth_;
  std::vector<uint32_t> sent_tsvals_;
  Floor ack_floor_;
  Floor tsval_floor_;
  Floor true_ack_floor_;     // what the peer had received, and so must have been told of
  Floor true_window_floor_;  // how far the peer allows
  std::shared_ptr<const ReceiveQueue> floors_of_;  // whose
  uint64_t worst_ack_regress_ = 0;
  int64_t furthest_ = 0;  // sequence offset behind the furthest segment so far
  unsigned idle_acks_ = 0;
  Instant last_idle_ack_{};
  uint16_t last_window_ = 0;
};

}  // namespace mqlb::sim
