// Frames of a host: link addresses, and the checks that do not need a connection.
#include <algorithm>

#include "tests/support/sim/host.hh"
#include "tests/support/sim/world.hh"

namespace mqlb::sim {
namespace {

constexpr unsigned kAskTries = 10;
constexpr Duration kAskInterval{200'000};
constexpr size_t kMaxWaiting = 4096;

}  // namespace

void Host::complain(Fault kind, Instant now, const std::string& text) {
  world_.violations().report(kind, now, config_.name + ": " + text);
}

bool Host::owns(const wire::IpAddress& address) const {
  const auto& all = config_.addresses;
  return std::find(all.begin(), all.end(), address) != all.end();
}

wire::IpAddress Host::next_hop(const wire::IpAddress& destination) const {
  if (!config_.gateway) return destination;
  for (const auto& own : config_.addresses) {
    if (wire::Prefix{own, config_.prefix_length}.contains(destination)) return destination;
  }
  return *config_.gateway;
}

void Host::receive(const Frame& frame, Instant now) {
  ++counters_.frames;
  if (frame.damaged) {
    ++counters_.damaged;
    return;
  }
  const base::Bytes bytes = frame.bytes;
  if (bytes.size() > config_.mtu + kEthernetHeader) {
    complain(Fault::mtu, now, "frame of " + std::to_string(bytes.size()) + " bytes");
    return;
  }
  if (is_resolution(bytes)) {
    receive_resolution(frame, now);
    return;
  }
  const uint16_t type = ether_type(bytes);
  if (type != kEtherTypeIpv4 && type != kEtherTypeIpv6) {
    ++counters_.other_frames;
    if (on_other_frame) on_other_frame(bytes);
    return;
  }
  const auto destination = wire::MacAddress::load(bytes.data());
  if (destination != config_.mac) {
    complain(Fault::mac, now, "IP packet to " + to_string(destination));
    return;
  }
  receive_ip(frame, now);
}

void Host::receive_ip(const Frame& frame, Instant now) {
  Segment s;
  const FrameFault fault = parse_segment(frame.bytes, s);
  switch (fault) {
    case FrameFault::none:
      break;
    case FrameFault::not_tcp:
      ++counters_.other_frames;
      if (on_other_frame) on_other_frame(frame.bytes);
      return;
    case FrameFault::ip_checksum:
      complain(Fault::ip_checksum, now, describe(s));
      return;
    case FrameFault::tcp_checksum:
      complain(Fault::tcp_checksum, now, describe(s));
      return;
    case FrameFault::truncated:
    case FrameFault::trailing_bytes:
    case FrameFault::ip_header:
    case FrameFault::tcp_options:
      complain(Fault::frame, now, std::string(to_string(fault)) + ": " + describe(s));
      return;
  }
  if (!owns(s.destination.address)) {
    complain(Fault::frame, now, "packet for another host: " + describe(s));
    return;
  }
  check_source_mac(s, frame.bytes, now);
  receive_segment(s, now);
}

void Host::check_source_mac(const Segment& s, base::Bytes frame, Instant now) {
  const auto source = wire::MacAddress::load(frame.data() + 6);
  const auto it = neighbours_.find(next_hop(s.source.address));
  const bool known = it != neighbours_.end() && it->second.mac;
  if (source.is_group() || source == config_.mac || (known && *it->second.mac != source)) {
    complain(Fault::mac, now,
             "source " + to_string(source) + " is not its neighbour's: " + describe(s));
  }
}

void Host::receive_resolution(const Frame& frame, Instant now) {
  const auto packet = parse_resolution(frame.bytes);
  const auto source = wire::MacAddress::load(frame.bytes.data() + 6);
  if (!packet || packet->sender_mac != source || source.is_group()) {
    complain(Fault::resolution, now, "ill-formed, from " + to_string(source));
    return;
  }
  if (!packet->request && packet->target_mac != config_.mac) {
    complain(Fault::resolution, now, "answer for " + to_string(packet->target_mac));
    return;
  }
  const auto it = neighbours_.find(packet->sender);
  if (owns(packet->sender)) {
    complain(Fault::resolution, now,
             to_string(packet->sender) + " claimed by " + to_string(source));
  } else if (it != neighbours_.end() && it->second.mac && *it->second.mac != source) {
    complain(Fault::resolution, now, to_string(packet->sender) + " moved to " + to_string(source));
  } else if (it != neighbours_.end() && !it->second.mac) {
    it->second.mac = source;
    deliver_waiting(it->second);
  } else if (packet->request && owns(packet->target) && !packet->sender.is_unspecified()) {
    neighbours_[packet->sender].mac = source;
  }
  if (!packet->request || !owns(packet->target)) return;
  ++counters_.questions;
  const Resolution answer{false, config_.mac, packet->target, packet->sender_mac, packet->sender};
  world_.send(*this, encode_resolution(answer));
}

void Host::transmit(const Segment& segment, Instant) {
  const wire::IpAddress hop = next_hop(segment.destination.address);
  Neighbour& neighbour = neighbours_[hop];
  const auto mac = neighbour.mac.value_or(wire::MacAddress{});
  auto frame = encode_segment(config_.mac, mac, segment, ip_id_++);
  if (neighbour.mac) {
    world_.send(*this, std::move(frame));
    return;
  }
  if (neighbour.waiting.size() < kMaxWaiting) neighbour.waiting.push_back(std::move(frame));
  if (neighbour.tries == 0) ask(hop);
}

void Host::ask(const wire::IpAddress& address) {
  Neighbour& neighbour = neighbours_[address];
  if (neighbour.mac) return;
  if (neighbour.tries++ >= kAskTries) {
    neighbour.tries = 0;
    neighbour.waiting.clear();
    return;
  }
  const Resolution request{true, config_.mac, config_.addresses.front(), {}, address};
  world_.send(*this, encode_resolution(request));
  world_.after(kAskInterval, [this, address] { ask(address); });
}

void Host::deliver_waiting(Neighbour& neighbour) {
  for (auto& frame : neighbour.waiting) {
    neighbour.mac->store(frame.data());
    world_.send(*this, std::move(frame));
  }
  neighbour.waiting.clear();
  neighbour.tries = 0;
}

}  // namespace mqlb::sim
