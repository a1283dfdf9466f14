#include "lib/engine/icmp_error.hh"

#include <algorithm>

#include "lib/splice/translation.hh"
#include "lib/wire/build.hh"

namespace mqlb::engine {

namespace {

constexpr size_t kQuotedTcp = 8;  // all that RFC 792 promises of the quoted segment
constexpr uint32_t kLonger = wire::kIpv6Header - wire::kIpv4Header;
constexpr uint32_t kLeastMtuV6 = 1280;  // RFC 8200 section 5

// Codes of "destination unreachable" in IPv6 (RFC 4443 section 3.1).
enum UnreachableV6 : uint8_t { kNoRoute = 0, kProhibited = 1, kPortV6 = 4 };
// And in IPv4 (RFC 792, RFC 1812 section 5.2.7.1).
enum UnreachableV4 : uint8_t { kHost = 1, kProtocol = 2, kPortV4 = 3, kHostProhibited = 10 };

std::optional<IcmpHeader> unreachable_to_v6(const IcmpHeader& v4) {
  constexpr uint8_t kUnrecognisedNextHeader = 1;
  constexpr uint32_t kNextHeaderField = 6;
  switch (v4.code) {
    case 0:
    case kHost:
    case 5:
    case 6:
    case 7:
    case 8:
    case 11:
    case 12:
      return IcmpHeader{kUnreachableV6, kNoRoute, 0};
    case kProtocol:
      return IcmpHeader{kParameterProblemV6, kUnrecognisedNextHeader, kNextHeaderField};
    case kPortV4:
      return IcmpHeader{kUnreachableV6, kPortV6, 0};
    case kFragmentationNeeded:
      // A router from before RFC 1191 says no MTU.
      return IcmpHeader{kPacketTooBig, 0, std::max((v4.rest & 0xffff) + kLonger, kLeastMtuV6)};
    case 9:
    case kHostProhibited:
    case 13:
    case 15:
      return IcmpHeader{kUnreachableV6, kProhibited, 0};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<IcmpHeader> to_icmpv6(const IcmpHeader& v4) {
  if (v4.type == kUnreachable) return unreachable_to_v6(v4);
  if (v4.type == kTimeExceeded) return IcmpHeader{kTimeExceededV6, v4.code, 0};
  return std::nullopt;  // where the problem lies has no counterpart in most cases
}

std::optional<IcmpHeader> to_icmpv4(const IcmpHeader& v6) {
  switch (v6.type) {
    case kUnreachableV6:
      if (v6.code == kProhibited) return IcmpHeader{kUnreachable, kHostProhibited, 0};
      if (v6.code == kPortV6) return IcmpHeader{kUnreachable, kPortV4, 0};
      return IcmpHeader{kUnreachable, kHost, 0};
    case kPacketTooBig:
      // RFC 8201 section 4: no path has less, so it is a mistake or an attack.
      if (v6.rest < kLeastMtuV6) return std::nullopt;
      return IcmpHeader{kUnreachable, kFragmentationNeeded,
                        std::min<uint32_t>(v6.rest, 0xffff) - kLonger};
    case kTimeExceededV6:
      return IcmpHeader{kTimeExceeded, v6.code, 0};
    default:
      return std::nullopt;
  }
}

bool Quote::parse(const wire::Packet& packet) {
  network_ = packet.transport + wire::kIcmpHeader;
  const size_t available = packet.transport_length - wire::kIcmpHeader;
  const size_t header = packet.is_v6 ? wire::kIpv6Header : wire::kIpv4Header;
  if (available < header + kQuotedTcp) return false;
  tcp_ = network_ + header;
  length_ = available - header;
  if (packet.is_v6) {
    const wire::Ipv6View ip(network_);
    if (ip.version() != 6 || ip.next_header() != wire::kProtocolTcp) return false;
    full_length_ = ip.payload_length();
    source_ = ip.source();
    destination_ = ip.destination();
    return !source_.is_v4() && !destination_.is_v4();
  }
  constexpr uint8_t kVersion4NoOptions = 0x45;
  constexpr uint16_t kFragmentOffset = 0x1fff;
  const wire::Ipv4View ip(network_);
  full_length_ = std::max<size_t>(ip.total_length(), header) - header;
  source_ = ip.source();
  destination_ = ip.destination();
  return ip.version_and_length() == kVersion4NoOptions && ip.protocol() == wire::kProtocolTcp &&
         (ip.fragment() & kFragmentOffset) == 0;
}

void Quote::translate(const wire::Endpoint& new_source, const wire::Endpoint& new_destination,
                      uint32_t seq_delta) {
  constexpr size_t kChecksumEnd = 18;
  wire::TcpView t = tcp();
  if (length_ >= kChecksumEnd) {
    const base::Seq32 seq_after = t.seq() + seq_delta;
    uint64_t difference =
        splice::checksum_constant(source(), destination(), new_source, new_destination, 0, 0);
    difference += wire::field_difference(t.seq().raw(), seq_after.raw());
    t.set_checksum(wire::update_checksum(t.checksum(), difference));
  }
  t.set_source_port(new_source.port);
  t.set_destination_port(new_destination.port);
  t.set_seq(t.seq() + seq_delta);
}

size_t Quote::write(const wire::IpAddress& source, const wire::IpAddress& destination,
                    base::MutableBytes out) const {
  const size_t header = wire::ip_header_length(source);
  if (out.size() < header) return 0;
  wire::write_network_header(out.data(), source, destination, 0, full_length_);
  const size_t length = std::min(length_, out.size() - header);
  std::copy_n(tcp_, length, out.data() + header);
  return header + length;
}

}  // namespace mqlb::engine
