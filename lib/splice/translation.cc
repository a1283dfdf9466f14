#include "lib/splice/translation.hh"

#include <algorithm>
#include <cstring>

#include "lib/wire/build.hh"
#include "lib/wire/checksum.hh"
#include "lib/wire/tcp_options.hh"

namespace mqlb::splice {
namespace {

using wire::field_difference;

uint64_t address_sum(const wire::IpAddress& a) {
  const std::array<uint8_t, 16> octets = a.octets();
  return wire::sum_bytes(base::Bytes(octets).last(a.is_v4() ? 4 : 16));
}

uint64_t endpoint_sum(const wire::Endpoint& e) { return address_sum(e.address) + e.port; }

// Overwrites the SACK option (kind, length and blocks) with NOPs.
uint64_t strip_sack(base::MutableBytes options, const wire::TcpOptions& parsed) {
  const uint16_t before = wire::sum_bytes(options);
  std::memset(options.data() + parsed.sack_offset - 2, wire::kOptionNop,
              2 + size_t{8} * parsed.sack_blocks);
  return field_difference(before, wire::sum_bytes(options));
}

}  // namespace

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

uint16_t shift_window(uint16_t window, int shift) {
  if (shift >= 0) return static_cast<uint16_t>(std::min(uint32_t{window} << shift, 0xffffU));
  const auto smaller = static_cast<uint16_t>(window >> -shift);
  return smaller == 0 && window != 0 ? uint16_t{1} : smaller;
}

uint16_t checksum_constant(const wire::Endpoint& old_source, const wire::Endpoint& old_destination,
                           const wire::Endpoint& new_source, const wire::Endpoint& new_destination,
                           uint32_t seq, uint32_t ack) {
  const uint16_t from = wire::fold(endpoint_sum(old_source) + endpoint_sum(old_destination));
  const uint64_t to = endpoint_sum(new_source) + endpoint_sum(new_destination);
  return wire::fold(to + static_cast<uint16_t>(~from) + seq + ack);
}

void replace_network_header(wire::Packet& packet, const Path& path) {
  const uint8_t traffic_class =
      packet.is_v6 ? packet.ipv6().traffic_class() : packet.ipv4().type_of_service();
  const bool was_v6 = packet.is_v6;
  const size_t length = path.is_v6 ? wire::kIpv6Header : wire::kIpv4Header;
  packet.network = packet.transport - length;
  packet.frame = packet.network - wire::kEthernetHeader;
  packet.frame_length =
      static_cast<uint16_t>(wire::kEthernetHeader + length + packet.transport_length);
  packet.is_v6 = path.is_v6;
  wire::write_network_header(packet.network, path.source.address, path.destination.address,
                             traffic_class, packet.transport_length);
  // A sender of IPv6 does not go below 1280 bytes, whatever it is told: what comes of these may be
  // cut (RFC 7915 section 5.1). The sequence number tells the pieces of one from those of others.
  constexpr size_t kMayBeCut = 1280 - (wire::kIpv6Header - wire::kIpv4Header);
  if (was_v6 && !path.is_v6 && length + packet.transport_length <= kMayBeCut) {
    wire::Ipv4View ip = packet.ipv4();
    ip.set_identification(static_cast<uint16_t>(packet.tcp().seq().raw()));
    ip.set_fragment(0);
    ip.update_checksum();
  }
  wire::EthernetView ethernet = packet.ethernet();
  ethernet.set_type(path.is_v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4);
  ethernet.set_source(path.link_source);
  ethernet.set_destination(path.link_destination);
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
