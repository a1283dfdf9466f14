// One end of a TCP connection (RFC 9293) that says what a script says, as it was said: the same
// pieces, order, repetitions and gaps, with sequence numbers that fit whoever is at the other end.
//
// A step is taken when its time has come and the player knows what the captured host knew: as much
// of the other side's, and as much of its own acknowledged. What the network loses is repeated, and
// what arrives is acknowledged at the latest after kAckDelay, even where the script does not say
// so. Without a script the owner decides what is said (say, close, abort).
//
// Offsets count from the byte behind the SYN; the FIN takes one number behind the last byte:
//
//   0        una_         max_          end of stream
//   ---acked--+--in flight--+--next steps--| FIN
//
// Time is an argument; one thread. After each call, deadline() says when to call advance().
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "lib/base/time.hh"
#include "lib/replay/script.hh"
#include "lib/wire/build.hh"

namespace mqlb::replay {

inline constexpr base::Instant kNever = base::Instant::max();
inline constexpr base::Duration kAckDelay{40'000};

// A segment that arrived, checked.
struct Incoming {
  base::Seq32 seq;
  base::Seq32 ack;
  uint8_t flags = 0;
  uint16_t window = 0;
  wire::TcpOptions options;
  base::Bytes payload;

  [[nodiscard]] bool has(uint8_t flag) const { return (flags & flag) != 0; }
};

enum class End : uint8_t {
  none,
  closed,   // both FINs are acknowledged
  aborted,  // by this side's RST
  reset,    // by the other side's RST
  refused,  // RST in answer to the SYN
  open,     // the script is over and leaves the connection open
  stalled,  // waited in vain; waits_for() says for what
};

class Player;

class PlayerHost {
 public:
  virtual ~PlayerHost() = default;
  // Link addresses are the host's to fill in. The payload ends with the call.
  virtual void transmit(Player& from, const wire::Segment& segment) = 0;
  // Bytes of the other side, in order, each once.
  virtual void on_bytes(Player& to, base::Bytes bytes, base::Instant now) = 0;
  virtual void on_peer_fin(Player&, base::Instant) {}
  // The other side has answered the SYN, or completed the handshake.
  virtual void on_established(Player&, base::Instant) {}
};

// What a scripted player takes for the other side's progress.
enum class Follow : uint8_t {
  bytes,    // the captured bytes are played: count them
  replies,  // others answer: count their replies (see reply_ends)
};

struct PlayerSetup {
  wire::Endpoint local;
  wire::Endpoint remote;
  base::Seq32 iss;
  uint32_t tsval_shift = 0;  // added to the script's timestamps
  wire::TcpOptions syn;      // offered; a passive side answers with what both have
  uint16_t mtu = 1500;
  double speed = 1;  // captured gaps are divided by it; 0: no gaps
  base::Duration patience{10'000'000};
  // How long the end of a closed connection answers a FIN whose acknowledgement was lost:
  // TIME-WAIT.
  base::Duration linger{10'000'000};
};

class Player {
 public:
  Player(const PlayerSetup& setup, PlayerHost& host);

  // script and replies (of the other side's recorded stream; for Follow::replies) outlive the
  // player. A passive player may get its script later than its connection.
  void set_script(const Script& script, Follow follow, const std::vector<uint32_t>* replies,
                  base::Instant now);
  void connect(base::Instant now);
  void accept(const Incoming& syn, base::Instant now);
  void receive(const Incoming& segment, base::Instant now);
  void advance(base::Instant now);
  [[nodiscard]] base::Instant deadline() const;

  // Without a script.
  void say(base::Bytes bytes, base::Instant now);
  void close(base::Instant now);
  // With a script too; a connection that is closed stays so.
  void abort(base::Instant now);
  // Bytes that came before what a script knows of the other side: a PROXY header.
  void set_prefix(uint32_t bytes) { prefix_ = bytes; }
  void count_reply(base::Instant now);

  [[nodiscard]] const wire::Endpoint& local() const { return setup_.local; }
  [[nodiscard]] const wire::Endpoint& remote() const { return setup_.remote; }
  [[nodiscard]] End end() const { return end_; }
  [[nodiscard]] const std::string& waits_for() const { return waits_for_; }
  // Nothing is left to do: the connection is over, and its last segments are old.
  [[nodiscard]] bool gone(base::Instant now) const;
  // Everything said is acknowledged.
  [[nodiscard]] bool idle() const { return flight_.empty(); }
  [[nodiscard]] uint32_t received() const { return rcv_; }
  [[nodiscard]] bool peer_fin() const { return peer_fin_; }
  [[nodiscard]] uint64_t played() const { return played_; }
  [[nodiscard]] uint64_t split() const { return split_; }
  [[nodiscard]] uint64_t repeated() const { return repeated_; }

 private:
  enum class Phase : uint8_t { idle, syn_sent, syn_received, open, over };
  enum class Wait : uint8_t {
    nothing,
    time,
    handshake,
    replies,
    bytes,
    fin,
    acknowledgement,
    window,
    completion,
  };
  struct Piece {
    uint32_t offset = 0;
    uint32_t length = 0;
    bool fin = false;
    [[nodiscard]] uint32_t end() const { return offset + length + (fin ? 1U : 0U); }
  };

  // player.cc: what arrives
  void agree(const wire::TcpOptions& theirs);
  void receive_handshake(const Incoming& segment, base::Instant now);
  void receive_reset(const Incoming& segment, base::Instant now);
  void receive_ack(const Incoming& segment, base::Instant now);
  void receive_data(const Incoming& segment, base::Instant now);
  void deliver(base::Bytes bytes, base::Instant now);
  void deliver_held(base::Instant now);
  void finish(End end, base::Instant now);

  // player_send.cc: what is sent
  void poll(base::Instant now);
  void play_steps(base::Instant now);
  [[nodiscard]] Wait waits(const Step& step, base::Instant now);
  [[nodiscard]] bool says_nothing_new(const Step& step) const;
  [[nodiscard]] bool has_room(const Step& step) const;
  void take_step(const Step& step, base::Instant now);
  void send_new_piece(const Piece& piece, uint8_t flags, const Step& step, base::Instant now);
  void say_more(base::Instant now);
  void check_completion(base::Instant now);
  void send_syn(base::Instant now);
  void send_piece(const Piece& piece, uint8_t flags, base::Seq32 ack,
                  std::span<const wire::SackBlock> sack, base::Instant now);
  void send_ack(base::Instant now);
  void send_reset(base::Instant now);
  void repeat_front(base::Instant now);
  void retransmit(base::Instant now);
  void start_timer(base::Instant now);
  void begin_timing(const Piece& piece, base::Instant now);
  void end_timing(base::Instant now);
  void stall(Wait wait, base::Instant now);
  [[nodiscard]] base::Seq32 ack_number() const { return irs_ + 1 + rcv_ + (peer_fin_ ? 1U : 0U); }
  [[nodiscard]] base::Seq32 step_ack(const Step& step) const;
  [[nodiscard]] std::vector<wire::SackBlock> step_sack(const Step& step, base::Seq32 ack) const;
  [[nodiscard]] bool has_received(const Step::Block& block) const;
  [[nodiscard]] uint32_t timestamp(base::Instant now) const;
  [[nodiscard]] uint16_t wire_window() const;
  [[nodiscard]] base::Instant step_time(const Step& step) const;
  [[nodiscard]] uint32_t replies_needed(uint32_t peer_bytes) const;
  void copy(uint32_t offset, uint32_t length, uint8_t* out) const;

  PlayerSetup setup_;
  PlayerHost& host_;
  const Script* script_ = nullptr;
  Follow follow_ = Follow::bytes;
  const std::vector<uint32_t>* reply_ends_ = nullptr;

  Phase phase_ = Phase::idle;
  bool active_ = false;  // opened the connection
  End end_ = End::none;
  std::string waits_for_;
  Wait wait_ = Wait::nothing;
  size_t next_ = 0;     // step
  uint32_t taken_ = 0;  // bytes of that step that are sent: it is split, and waits for room
  base::Instant opened_{};
  base::Instant started_{};   // when the script's time 0 was; moves when the player had to wait
  base::Instant progress_{};  // the last time that anything went on
  base::Instant over_at_{};

  // Sending.
  std::vector<uint8_t> said_;  // without a script
  bool closing_ = false;
  uint32_t una_ = 0;
  uint32_t max_ = 0;
  bool fin_sent_ = false;
  uint32_t peer_window_ = 0;  // bytes from una_ on
  uint32_t mss_ = 536;
  std::deque<Piece> flight_;
  unsigned duplicate_acks_ = 0;
  uint32_t recover_ = 0;  // until this offset is acknowledged, each ACK repeats the next piece
  base::Instant timer_ = kNever;
  base::Duration rto_{};  // 0: no round trip was measured
  base::Duration round_trip_{};
  base::Duration variation_{};
  base::Instant timed_since_ = kNever;
  uint32_t timed_end_ = 0;
  unsigned tries_ = 0;

  // Receiving.
  base::Seq32 irs_;
  uint32_t rcv_ = 0;
  bool peer_fin_ = false;
  std::optional<uint32_t> peer_fin_at_;
  std::map<uint32_t, std::vector<uint8_t>> held_;  // out of order
  uint32_t prefix_ = 0;
  uint32_t replies_ = 0;
  base::Seq32 last_ack_;
  base::Instant ack_due_ = kNever;
  bool ack_now_ = false;

  // Options as agreed.
  bool timestamps_ = false;
  bool sack_ = false;
  uint8_t own_scale_ = 0;
  uint8_t peer_scale_ = 0;
  uint32_t tsval_ = 0;
  uint32_t ts_recent_ = 0;
  uint32_t window_ = 64240;  // bytes offered

  uint64_t played_ = 0;
  uint64_t split_ = 0;
  uint64_t repeated_ = 0;
};

}  // namespace mqlb::replay
