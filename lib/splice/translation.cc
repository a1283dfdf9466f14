#include "lib/splice/translation.hh"

#include <algorithm>
#include <cstring>

#include "lib/wire/checksum.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::splice {
namespace {

using wire::field_difference;

constexpr uint8_t kTtl = 64;
constexpr uint64_t kMinusOne = 0xfffe;  // modulo 65535
// NOP, NOP, timestamps, 10: how nearly all segments carry timestamps (RFC 7323 appendix A).
constexpr uint32_t kUsualTimestamps = 0x0101080a;
constexpr uint8_t kUsualTimestampsHeader = 32;

uint64_t address_sum(const wire::IpAddress& a) {
  const base::Bytes octets(a.octets());
  return wire::sum_bytes(a.is_v4() ? octets.last(4) : octets);
}

uint64_t endpoint_sum(const wire::Endpoint& e) { return address_sum(e.address) + e.port; }

// Adds to a 32-bit field anywhere in the header and returns what the checksum sum grows by. In a
// field at an odd offset the bytes of each word are swapped.
uint64_t add_to_field(uint8_t* field, uint32_t delta, bool odd) {
  const uint32_t from = base::load_be32(field);
  const uint32_t to = from + delta;
  base::store_be32(field, to);
  const uint64_t difference = field_difference(from, to);
  return odd ? __builtin_bswap16(wire::fold(difference)) : difference;
}

// Overwrites the SACK option (kind, length and blocks) with NOPs.
uint64_t strip_sack(base::MutableBytes options, const wire::TcpOptions& parsed) {
  const uint16_t before = wire::sum_bytes(options);
  std::memset(options.data() + parsed.sack_offset - 2, wire::kOptionNop,
              2 + size_t{8} * parsed.sack_blocks);
  return field_difference(before, wire::sum_bytes(options));
}

// Where the other side's clock is behind the option's kind and length: TSval, or TSecr after it.
size_t timestamp_field(Direction direction) { return direction == Direction::to_broker ? 4 : 0; }

// nullopt: malformed. Otherwise what the sum grows by.
std::optional<uint64_t> rewrite_options(base::MutableBytes options, const Translation& t,
                                        Direction direction) {
  const auto parsed = wire::parse_tcp_options(options);
  if (!parsed) return std::nullopt;
  uint64_t sum = 0;
  if (parsed->timestamps) {
    const size_t at = parsed->timestamps_offset + timestamp_field(direction);
    sum += add_to_field(options.data() + at, t.timestamp, at % 2 != 0);
  }
  if (parsed->sack_blocks == 0) return sum;
  if (t.strip_sack) return sum + strip_sack(options, *parsed);
  for (size_t i = 0; i < size_t{2} * parsed->sack_blocks; ++i) {
    const size_t at = parsed->sack_offset + 4 * i;
    sum += add_to_field(options.data() + at, t.ack, at % 2 != 0);
  }
  return sum;
}

// A window that is not zero stays not zero: zero means "stop" (RFC 9293 section 3.8.6.1).
uint16_t shift_window(uint16_t window, int shift) {
  if (shift >= 0) return static_cast<uint16_t>(std::min(uint32_t{window} << shift, 0xffffU));
  const auto smaller = static_cast<uint16_t>(window >> -shift);
  return smaller == 0 && window != 0 ? uint16_t{1} : smaller;
}

}  // namespace

uint16_t checksum_constant(const wire::Endpoint& old_source, const wire::Endpoint& old_destination,
                           const wire::Endpoint& new_source, const wire::Endpoint& new_destination,
                           uint32_t seq, uint32_t ack) {
  const uint16_t from = wire::fold(endpoint_sum(old_source) + endpoint_sum(old_destination));
  const uint64_t to = endpoint_sum(new_source) + endpoint_sum(new_destination);
  return wire::fold(to + static_cast<uint16_t>(~from) + seq + ack);
}

bool rewrite_segment(wire::Packet& packet, const Translation& t, Direction direction,
                     const Path& path) {
  wire::TcpView tcp = packet.tcp();
  uint64_t sum = t.checksum;

  const uint32_t seq = tcp.seq().raw() + t.seq;
  if (seq < t.seq) sum += kMinusOne;
  tcp.set_seq(base::Seq32(seq));
  if (tcp.has(wire::kAck)) {
    const uint32_t ack = tcp.ack().raw() + t.ack;
    if (ack < t.ack) sum += kMinusOne;
    tcp.set_ack(base::Seq32(ack));
  } else {
    sum += field_difference(t.ack, 0);  // no acknowledgement to translate
  }
  if (packet.tcp_header_length == kUsualTimestampsHeader &&
      base::load_be32(tcp.data() + wire::kTcpHeader) == kUsualTimestamps) {
    uint8_t* const timestamps = tcp.data() + wire::kTcpHeader + 4;
    sum += add_to_field(timestamps + timestamp_field(direction), t.timestamp, false);
  } else if (packet.tcp_header_length > wire::kTcpHeader) {
    const auto options = rewrite_options(tcp.options(), t, direction);
    if (!options) return false;
    sum += wire::fold(*options);
  }
  if (t.window_shift != 0 && !tcp.has(wire::kSyn)) {
    const uint16_t window = shift_window(tcp.window(), t.window_shift);
    sum += field_difference(tcp.window(), window);
    tcp.set_window(window);
  }
  tcp.set_source_port(path.source.port);
  tcp.set_destination_port(path.destination.port);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), sum));

  wire::Ipv4View ip = packet.ipv4();
  ip.set_source(path.source.address);
  ip.set_destination(path.destination.address);
  ip.set_ttl(kTtl);
  ip.update_checksum();
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_source(path.link_source);
  ethernet.set_destination(path.link_destination);
  return true;
}

void replace_ack(wire::TcpView tcp, base::Seq32 ack) {
  const uint64_t difference = field_difference(tcp.ack().raw(), ack.raw());
  tcp.set_ack(ack);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), difference));
}

void replace_window(wire::TcpView tcp, uint16_t window) {
  const uint64_t difference = field_difference(tcp.window(), window);
  tcp.set_window(window);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), difference));
}

bool raise_tsecr(const wire::Packet& packet, uint32_t floor) {
  if (packet.tcp_header_length == wire::kTcpHeader) return false;
  wire::TcpView tcp = packet.tcp();
  const auto options = wire::parse_tcp_options(tcp.options());
  if (!options || !options->timestamps) return false;
  const uint32_t missing = floor - options->timestamps->echo_reply;
  if (static_cast<int32_t>(missing) <= 0) return false;
  const size_t at = options->timestamps_offset + 4;
  const uint64_t sum = add_to_field(tcp.options().data() + at, missing, at % 2 != 0);
  tcp.set_checksum(wire::update_checksum(tcp.checksum(), sum));
  return true;
}

}  // namespace mqlb::splice
