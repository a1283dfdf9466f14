#include "lib/replay/conversation.hh"

#include <algorithm>

namespace mqlb::replay {
namespace {

// Control bits that RFC 9293 knows: a SYN without FIN or RST, or an ACK or a RST.
bool flags_make_sense(uint8_t flags) {
  if ((flags & wire::kSyn) != 0) return (flags & (wire::kFin | wire::kRst)) == 0;
  return (flags & (wire::kAck | wire::kRst)) != 0;
}

bool is_first_syn(const Heard& h) { return h.syn() && !h.segment.has(wire::kAck); }

int64_t outside(const Numbers& numbers, base::Seq32 number) {
  const int64_t position = numbers.position_of(number);
  return std::max({int64_t{0}, -position, position - numbers.high});
}

// How far a segment's numbers are from those of a conversation.
int64_t distance(const Conversation& c, const Heard& h) {
  const Numbers& own = c.numbers[h.side];
  const Numbers& peer = c.numbers[1 - h.side];
  if (h.syn() && own.known && h.segment.seq != own.iss) return INT64_MAX;
  if (h.syn() && !is_first_syn(h) && peer.known && outside(peer, h.segment.ack) != 0) {
    return INT64_MAX;
  }
  if (own.known) return outside(own, h.segment.seq);
  if (peer.known && h.segment.has(wire::kAck)) return outside(peer, h.segment.ack);
  return 0;
}

bool begins(const Conversation& c, const Heard& syn) {
  return c.client == syn.side && c.numbers[syn.side].iss == syn.segment.seq;
}

}  // namespace

std::string_view Conversations::add(const pcap::Segment& segment, int64_t time, uint64_t record) {
  Heard& h = heard_.emplace_back();
  h.segment = segment;
  h.time = time;
  h.record = record;
  if (!flags_make_sense(segment.flags)) return "bad-flags";
  if (segment.source == segment.destination) return "same-endpoints";
  h.side = segment.source < segment.destination ? 0 : 1;
  const Pair pair = std::minmax(segment.source, segment.destination);
  Open& open = open_[pair];
  Conversation& conversation = all_[choose(open, h)];
  if (distance(conversation, h) > kFarOutside) {
    if (conversation.foreign++ == 0) conversation.first_foreign = record;
  } else {
    append(conversation, h);
  }
  return {};
}

size_t Conversations::choose(Open& open, const Heard& h) {
  if (is_first_syn(h)) {
    for (size_t i = open.count; i-- > 0;) {
      if (begins(all_[open.index[i]], h)) return open.index[i];
    }
    return begin_conversation(open, h.side);
  }
  if (open.count == 0) return begin_conversation(open, std::nullopt);
  // The nearest; among equals the newest.
  const auto end = open.index.begin() + static_cast<std::ptrdiff_t>(open.count);
  const auto nearest = std::min_element(
      std::make_reverse_iterator(end), open.index.rend(),
      [&](size_t a, size_t b) { return distance(all_[a], h) < distance(all_[b], h); });
  return *nearest;
}

size_t Conversations::begin_conversation(Open& open, std::optional<uint8_t> client) {
  if (open.count == kMostOpen) {
    // The oldest that is only a SYN makes room, else the oldest.
    auto* const end = open.index.end();
    auto* leaves =
        std::find_if(open.index.begin(), end, [&](size_t i) { return all_[i].segments <= 1; });
    if (leaves == end) leaves = open.index.begin();
    std::move(leaves + 1, end, leaves);
    --open.count;
  }
  open.index[open.count++] = all_.size();
  all_.emplace_back().client = client;
  return all_.size() - 1;
}

void Conversations::append(Conversation& c, Heard& h) {
  Numbers& own = c.numbers[h.side];
  Numbers& peer = c.numbers[1 - h.side];
  // A RST to nothing has made-up numbers (RFC 9293 section 3.10.7.1).
  if (!own.known && !h.rst()) own = {true, h.syn() ? h.segment.seq : h.segment.seq - 1, 1};
  if (!peer.known && !h.rst() && h.segment.has(wire::kAck)) peer = {true, h.segment.ack - 1, 1};
  h.position = own.known ? own.position_of(h.segment.seq) : 1;
  if (h.segment.has(wire::kAck) && peer.known) h.ack_position = peer.position_of(h.segment.ack);
  if (h.length() > 0 || h.fin()) own.high = std::max(own.high, h.end() + (h.fin() ? 1 : 0));

  const auto index = static_cast<size_t>(heard_.size() - 1);
  if (c.last == kNone) {
    c.first = index;
    c.first_record = h.record;
  } else {
    Heard& before = heard_[c.last];
    before.next = index;
    h.time = std::max(h.time, before.time);  // clocks of captures go back at times
  }
  c.last = index;
  ++c.segments;
}

}  // namespace mqlb::replay
