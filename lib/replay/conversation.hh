// Sorts the TCP segments of a capture into conversations: those of one pair of endpoints, from one
// SYN to the next.
//
// Sequence numbers are unwrapped into positions, 64 bits that do not wrap:
//
//   position   0     1 ... n      n+1      (1 << 32) + 1
//              SYN   n bytes      FIN      has the same sequence number as 1
//
// One thread. Memory in proportion to the segments.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/pcap/segment.hh"

namespace mqlb::replay {

inline constexpr size_t kNone = SIZE_MAX;
// Numbers that are further off than the largest window of RFC 7323 belong to no conversation.
inline constexpr int64_t kFarOutside = int64_t{1} << 30;

// A segment as it was captured.
struct Heard {
  pcap::Segment segment;  // its payload is kept by who reads the file
  int64_t time = 0;       // nanoseconds; never less than that of the one before it
  uint64_t record = 0;
  size_t next = kNone;       // of the same conversation
  int64_t position = 0;      // of its sequence number
  int64_t ack_position = 0;  // 0: acknowledges nothing
  uint8_t side = 0;          // 0 or 1: sent by the lower or the higher endpoint
  bool played = false;       // it became a step of a recording

  [[nodiscard]] bool syn() const { return segment.has(wire::kSyn); }
  [[nodiscard]] bool fin() const { return segment.has(wire::kFin); }
  [[nodiscard]] bool rst() const { return segment.has(wire::kRst); }
  // Of the first byte of payload; and behind its last.
  [[nodiscard]] int64_t begin() const { return position + (syn() ? 1 : 0); }
  [[nodiscard]] int64_t end() const { return begin() + length(); }
  // Bytes in the stream: those behind a RST say why (RFC 9293 section 3.5.2), and are none.
  [[nodiscard]] int64_t length() const { return rst() ? 0 : int64_t{segment.payload_length}; }
};

// The numbers that one side uses.
struct Numbers {
  bool known = false;
  base::Seq32 iss;   // without a SYN: one before the first number seen or acknowledged
  int64_t high = 1;  // behind the last that was seen

  [[nodiscard]] int64_t position_of(base::Seq32 number) const {
    return high + (number - (iss + static_cast<uint32_t>(high)));
  }
};

struct Conversation {
  size_t first = kNone;  // segments, in captured order
  size_t last = kNone;
  uint64_t segments = 0;
  uint64_t first_record = 0;
  uint64_t foreign = 0;  // segments of its endpoints that are far outside
  uint64_t first_foreign = 0;
  std::array<Numbers, 2> numbers;
  std::optional<uint8_t> client;  // the side that sent the SYN
};

class Conversations {
 public:
  // Takes a segment whose payload outlives this. If it belongs to no conversation, says why in a
  // word: "bad-flags", "same-endpoints".
  std::string_view add(const pcap::Segment& segment, int64_t time, uint64_t record);

  // Nothing is added from now on; gives back what only add() needs.
  void close() { open_.clear(); }

  [[nodiscard]] std::deque<Heard>& heard() { return heard_; }
  [[nodiscard]] const std::deque<Conversation>& all() const { return all_; }

 private:
  // Conversations of one pair of endpoints that may go on. A new SYN does not end the one before:
  // it may be forged, or a late one, and then the server does not answer it.
  static constexpr size_t kMostOpen = 4;
  struct Open {
    std::array<size_t, kMostOpen> index{};  // oldest first
    size_t count = 0;
  };
  using Pair = std::pair<wire::Endpoint, wire::Endpoint>;

  size_t begin_conversation(Open& open, std::optional<uint8_t> client);
  [[nodiscard]] size_t choose(Open& open, const Heard& h);
  void append(Conversation& conversation, Heard& h);

  std::deque<Heard> heard_;
  std::deque<Conversation> all_;
  std::map<Pair, Open> open_;  // not a hash table: whoever made the capture chose the keys
};

}  // namespace mqlb::replay
