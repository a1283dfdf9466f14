#include "lib/replay/assemble.hh"

#include <algorithm>
#include <cstring>

#include "lib/mqtt/connect.hh"
#include "lib/replay/coverage.hh"

namespace mqlb::replay {
namespace {

// An acknowledgement that much beyond all that was captured is forged, and means nothing.
constexpr int64_t kMostUnseen = 16 << 20;

// What a SYN offers that nobody saw.
constexpr uint16_t kUsualMss = 1460;
constexpr uint8_t kUsualWindowScale = 7;

// Positions in one direction.
struct Extent {
  int64_t cover = 1;    // end of the bytes without a gap
  int64_t payload = 1;  // end of all bytes
  std::optional<int64_t> fin;
  int64_t acked = 0;  // the highest acknowledgement by the other side that can be true

  [[nodiscard]] bool has_gap() const {
    if (payload > cover || (fin && *fin > cover)) return true;
    // One more may be a FIN that the capture lacks.
    return acked > cover + 1;
  }
  // Behind the last position that anybody has seen or heard of.
  [[nodiscard]] int64_t end() const { return std::max({payload, fin ? *fin + 1 : 1, acked}); }
};

class Assembler {
 public:
  Assembler(const Conversation& c, std::deque<Heard>& heard) : c_(c), heard_(heard) {}

  tl::expected<Recording, std::string_view> run(const LoadOptions& options);

 private:
  // Calls visit(Heard&) for all segments, in captured order.
  template <typename Visit>
  void each(Visit visit) {
    for (size_t i = c_.first; i != kNone; i = heard_[i].next) visit(heard_[i]);
  }
  [[nodiscard]] std::optional<uint8_t> sender_of_connect();
  void measure();
  [[nodiscard]] std::string_view why_not();
  [[nodiscard]] bool assemble_stream(uint8_t side, std::vector<uint8_t>& stream);
  void describe_side(uint8_t side, Side& out);
  void measure_round_trips();
  [[nodiscard]] bool is_outside(const Heard& h) const;
  void add_steps();
  [[nodiscard]] Step make_step(const Heard& h, int64_t began) const;
  void set_sack(const Heard& h, Step& step) const;
  [[nodiscard]] uint32_t window_of(const Heard& h) const;
  [[nodiscard]] uint32_t clamp(uint8_t side, int64_t position) const;
  [[nodiscard]] Side& side(uint8_t s) { return s == client_ ? out_.client : out_.server; }
  [[nodiscard]] const Side& side(uint8_t s) const {
    return s == client_ ? out_.client : out_.server;
  }

  const Conversation& c_;
  std::deque<Heard>& heard_;
  uint8_t client_ = 0;
  std::array<Extent, 2> extent_;
  std::array<int64_t, 2> round_trip_{};  // nanoseconds from the place of the capture and back
  Recording out_;
};

// The first payload of a side may be the beginning of a CONNECT.
bool looks_like_connect(base::Bytes payload) {
  return !std::holds_alternative<mqtt::Malformed>(mqtt::parse_connect(payload));
}

std::optional<uint8_t> Assembler::sender_of_connect() {
  std::array<bool, 2> spoke{};
  std::optional<uint8_t> sender;
  each([&](const Heard& h) {
    if (h.length() == 0 || spoke[h.side]) return;
    spoke[h.side] = true;
    if (!sender && looks_like_connect(h.segment.payload)) sender = h.side;
  });
  return sender;
}

void Assembler::measure() {
  std::array<Coverage, 2> coverage;
  std::array<int64_t, 2> last_fin{};
  std::vector<Range> ignored;
  each([&](const Heard& h) {
    Extent& extent = extent_[h.side];
    if (h.fin()) last_fin[h.side] = std::max(last_fin[h.side], h.end());
    if (h.length() == 0) return;
    extent.payload = std::max(extent.payload, h.end());
    ignored.clear();
    coverage[h.side].add({std::max(h.begin(), int64_t{1}), h.end()}, ignored);
  });
  for (const size_t s : {0U, 1U}) {
    extent_[s].cover = coverage[s].end_of_cover(1);
    // A FIN with bytes behind it is none.
    if (last_fin[s] >= extent_[s].payload) extent_[s].fin = last_fin[s];
  }
  std::array<int64_t, 2> seen{extent_[0].end(), extent_[1].end()};
  each([&](const Heard& h) {
    const auto peer = static_cast<uint8_t>(1 - h.side);
    if (h.ack_position > seen[peer] + kMostUnseen) return;
    extent_[peer].acked = std::max(extent_[peer].acked, h.ack_position);
  });
}

// Empty if it can be played.
std::string_view Assembler::why_not() {
  if (extent_[client_].payload == 1) return "unanswered";
  bool snapped = false;
  each([&](const Heard& h) { snapped |= h.segment.payload.size() < h.segment.payload_length; });
  if (snapped) return "snapped";
  for (const Extent& extent : extent_) {
    if (extent.payload - 1 > int64_t{kMaxStream}) return "too-large";
  }
  return extent_[client_].has_gap() ? "client-gap" : "";
}

// False if two segments say different things of one byte. The first counts. Of a single byte that
// repeats another nothing is asked: keepalive probes may hold garbage (RFC 9293 section 3.8.4).
bool Assembler::assemble_stream(uint8_t s, std::vector<uint8_t>& stream) {
  Coverage coverage;
  std::vector<Range> added;
  const int64_t end = extent_[s].cover;
  stream.resize(static_cast<size_t>(end - 1));
  bool consistent = true;
  each([&](const Heard& h) {
    const Range part{std::max(h.begin(), int64_t{1}), std::min(h.end(), end)};
    if (h.side != s || h.length() == 0 || part.begin >= part.end) return;
    added.clear();
    coverage.add(part, added);
    const uint8_t* payload = h.segment.payload.data();
    for (const Range& r : added) {
      std::memcpy(&stream[static_cast<size_t>(r.begin - 1)], payload + (r.begin - h.begin()),
                  static_cast<size_t>(r.end - r.begin));
    }
    if (h.length() == 1) return;
    consistent &= std::memcmp(&stream[static_cast<size_t>(part.begin - 1)],
                              payload + (part.begin - h.begin()),
                              static_cast<size_t>(part.end - part.begin)) == 0;
  });
  return consistent;
}

void Assembler::describe_side(uint8_t s, Side& out) {
  out.iss = c_.numbers[s].iss;
  out.has_fin = extent_[s].fin.has_value();
  std::optional<wire::Timestamps> timestamps;
  each([&](const Heard& h) {
    if (h.side != s) return;
    if (h.syn() && !out.has_syn) {
      out.has_syn = true;
      out.syn = h.segment.options;
    }
    if (!timestamps) timestamps = h.segment.options.timestamps;
  });
  if (out.has_syn) return;
  out.syn.mss = kUsualMss;
  out.syn.window_scale = kUsualWindowScale;
  out.syn.sack_permitted = true;
  out.syn.timestamps = timestamps;
}

// The client's: from a SYN-ACK to the first segment that acknowledges it. The server's: from a SYN
// to the SYN-ACK. The last before, where there are several.
void Assembler::measure_round_trips() {
  std::optional<int64_t> syn;
  std::optional<int64_t> syn_ack;
  bool answered = false;
  bool acknowledged = false;
  each([&](const Heard& h) {
    const bool from_client = h.side == client_;
    if (h.syn() && from_client) syn = h.time;
    if (h.syn() && !from_client) {
      if (!answered && syn) round_trip_[h.side] = h.time - *syn;
      answered = true;
      syn_ack = h.time;
    }
    if (!h.syn() && from_client && h.ack_position >= 1 && !acknowledged) {
      if (syn_ack) round_trip_[h.side] = h.time - *syn_ack;
      acknowledged = true;
    }
  });
}

// Beyond all that was sent, as far as anybody knows; or below the first byte, where only a
// keepalive probe has something to say.
bool Assembler::is_outside(const Heard& h) const {
  if (h.position > extent_[h.side].end()) return true;
  return h.position < 0 && h.end() <= 1;
}

// The offset of a position, within the stream.
uint32_t Assembler::clamp(uint8_t s, int64_t position) const {
  const auto size = static_cast<int64_t>(side(s).stream.size());
  return static_cast<uint32_t>(std::clamp(position - 1, int64_t{0}, size));
}

// RFC 7323 section 2.2: the scale holds if both SYNs have one, and not for the SYNs themselves.
uint32_t Assembler::window_of(const Heard& h) const {
  const Side& client = out_.client;
  const Side& server = out_.server;
  const bool scaled = client.has_syn && server.has_syn && client.syn.window_scale &&
                      server.syn.window_scale && !h.syn();
  return uint32_t{h.segment.window} << (scaled ? *side(h.side).syn.window_scale : 0);
}

void Assembler::set_sack(const Heard& h, Step& step) const {
  const auto peer = static_cast<uint8_t>(1 - h.side);
  const auto size = static_cast<int64_t>(side(peer).stream.size());
  if (h.ack_position == 0) return;
  for (size_t i = 0; i < h.segment.sack_blocks; ++i) {
    const int64_t left = h.ack_position + (h.segment.sack[i].left - h.segment.ack) - 1;
    const int64_t right = h.ack_position + (h.segment.sack[i].right - h.segment.ack) - 1;
    if (left < 0 || left >= right || right > size) continue;
    step.sack[step.sack_blocks++] = {static_cast<uint32_t>(left), static_cast<uint32_t>(right)};
  }
}

Step Assembler::make_step(const Heard& h, int64_t began) const {
  Step step;
  step.at = base::Duration((h.time - began) / 1000);
  step.flags = h.segment.flags;
  step.offset = clamp(h.side, h.begin());
  step.length = h.length() == 0 ? 0 : clamp(h.side, h.end()) - step.offset;
  // A FIN is where its side's stream ends, or nowhere.
  if (h.fin() && extent_[h.side].fin != h.end()) {
    step.flags = static_cast<uint8_t>(step.flags & ~wire::kFin);
  }
  step.window = window_of(h);
  if (h.segment.options.timestamps) step.tsval = h.segment.options.timestamps->value;
  set_sack(h, step);
  return step;
}

// An acknowledgement that passed the place of the capture less than a round trip to a side ago
// cannot have reached that side and shown in what it sends: Step::acked leaves it out.
void Assembler::add_steps() {
  struct Sent {                                     // acknowledgements of one side
    std::vector<std::pair<int64_t, int64_t>> acks;  // time, position; rising
    size_t arrived = 0;                             // at the other side
  };
  std::array<Sent, 2> sent;
  const int64_t began = heard_[c_.first].time;
  each([&](Heard& h) {
    if (is_outside(h)) return;
    h.played = true;
    const auto peer = static_cast<uint8_t>(1 - h.side);
    auto& acks = sent[h.side].acks;
    const int64_t before = acks.empty() ? 0 : acks.back().second;
    if (h.ack_position > before && h.ack_position <= extent_[peer].acked) {
      acks.emplace_back(h.time, h.ack_position);
    }
    Step step = make_step(h, began);
    const int64_t own = acks.empty() ? 0 : acks.back().second;
    step.peer_bytes = clamp(peer, own);
    step.peer_fin = extent_[peer].fin && own > *extent_[peer].fin;
    Sent& from_peer = sent[peer];
    while (from_peer.arrived < from_peer.acks.size() &&
           h.time - from_peer.acks[from_peer.arrived].first >= round_trip_[h.side]) {
      ++from_peer.arrived;
    }
    if (from_peer.arrived > 0) {
      step.acked = clamp(h.side, from_peer.acks[from_peer.arrived - 1].second);
    }
    side(h.side).steps.push_back(step);
  });
}

bool is_served(uint16_t port, const std::vector<uint16_t>& ports) {
  return ports.empty() || std::ranges::find(ports, port) != ports.end();
}

tl::expected<Recording, std::string_view> Assembler::run(const LoadOptions& options) {
  const Ends ends = ends_of(c_, heard_);
  const auto client = c_.client ? c_.client : sender_of_connect();
  const bool reversed = client && !c_.client && *client != heard_[c_.first].side;
  const wire::Endpoint& server = reversed ? ends.client : ends.server;
  // Of a conversation without a client either end may be the server.
  if (!is_served(server.port, options.ports) &&
      (client || !is_served(ends.client.port, options.ports))) {
    return tl::unexpected<std::string_view>("other-port");
  }
  if (!client) return tl::unexpected<std::string_view>("midstream");
  client_ = *client;
  measure();
  if (const auto why = why_not(); !why.empty()) return tl::unexpected(why);
  const auto server_side = static_cast<uint8_t>(1 - client_);
  out_.client.endpoint = reversed ? ends.server : ends.client;
  out_.server.endpoint = server;
  if (!assemble_stream(client_, out_.client.stream) ||
      !assemble_stream(server_side, out_.server.stream)) {
    return tl::unexpected<std::string_view>("inconsistent");
  }
  describe_side(client_, out_.client);
  describe_side(server_side, out_.server);
  if (extent_[server_side].has_gap()) {
    out_.server_gap = static_cast<uint32_t>(out_.server.stream.size());
  }
  measure_round_trips();
  add_steps();
  return std::move(out_);
}

}  // namespace

Ends ends_of(const Conversation& conversation, const std::deque<Heard>& heard) {
  const Heard& h = heard[conversation.first];
  if (!conversation.client || *conversation.client == h.side) {
    return {h.segment.source, h.segment.destination};
  }
  return {h.segment.destination, h.segment.source};
}

tl::expected<Recording, std::string_view> assemble(const Conversation& conversation,
                                                   std::deque<Heard>& heard,
                                                   const LoadOptions& options) {
  return Assembler(conversation, heard).run(options);
}

}  // namespace mqlb::replay
