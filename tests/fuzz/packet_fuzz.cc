// Any frame: what the check at the boundary lets pass lies in it, adds up, and can be rewritten for
// either family without a byte outside of it being touched.
#include <algorithm>

#include "lib/splice/translation.hh"
#include "lib/wire/ndp.hh"
#include "lib/wire/packet.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb;
using base::Bytes;
using fuzz::check;
using fuzz::lies_within;
using wire::HardwareChecksum;
using wire::Packet;
using wire::PacketKind;

constexpr wire::MacAddress kOwn{{2, 0, 0, 0, 0, 0x0b}};
constexpr wire::MacAddress kPeer{{2, 0, 0, 0, 0, 0x0c}};
constexpr size_t kHeadroom = wire::kIpv6Header - wire::kIpv4Header;
constexpr uint8_t kOthers = 0xc5;
const wire::ParseRules kRules{kOwn, 1500};

void check_views(const Packet& packet, Bytes frame) {
  check(packet.frame == frame.data() && packet.frame_length <= frame.size(), "begins the frame");
  if (packet.kind == PacketKind::arp) return;
  const size_t header = packet.is_v6 ? wire::kIpv6Header : wire::kIpv4Header;
  check(packet.network == packet.frame + wire::kEthernetHeader, "network header");
  check(packet.transport == packet.network + header, "transport header");
  check(packet.frame_length == wire::kEthernetHeader + header + packet.transport_length, "lengths");
  check(packet.frame_length <= wire::kEthernetHeader + kRules.mtu, "within the MTU");
  check(packet.source().is_v4() != packet.is_v6, "the source is of its family");
  check(packet.destination().is_v4() != packet.is_v6, "and the destination");
  check(packet.is_v6 == (packet.kind == PacketKind::icmpv6) || packet.kind == PacketKind::tcp,
        "each family has its ICMP");
  if (packet.kind != PacketKind::tcp) return;
  check(packet.tcp_header_length >= wire::kTcpHeader, "a whole TCP header");
  check(packet.tcp_header_length + packet.payload_length == packet.transport_length, "payload");
  check(lies_within(packet.payload(), frame), "the payload is in the frame");
  check(lies_within(packet.tcp().options(), frame), "so are the options");
  check(!packet.ethernet().destination().is_group(), "no segment is for a group");
}

// The splice into either family: the checksum stays as right or wrong as it was, and the frame only
// grows at its front.
void check_rewrite(Bytes input, HardwareChecksum checksum, bool to_v6) {
  std::vector<uint8_t> buffer(kHeadroom, kOthers);
  buffer.insert(buffer.end(), input.begin(), input.end());
  Packet packet;
  const base::MutableBytes frame(buffer.data() + kHeadroom, input.size());
  check(!wire::parse_packet(frame, kRules, checksum, packet), "the same again");
  const auto end = packet.frame + packet.frame_length;
  const std::vector<uint8_t> behind(end, buffer.data() + buffer.size());
  const wire::Endpoint source{to_v6 ? wire::all_nodes() : wire::IpAddress::v4(0xc6120164), 1024};
  const wire::Endpoint destination{to_v6 ? wire::all_nodes() : wire::IpAddress::v4(0xc612010b), 1};
  const wire::Endpoint old_source{packet.source(), packet.tcp().source_port()};
  const wire::Endpoint old_destination{packet.destination(), packet.tcp().destination_port()};
  splice::Translation t{0x89abcdef, 0xfedcba98, 0x80000001};
  t.checksum =
      splice::checksum_constant(old_source, old_destination, source, destination, t.seq, t.ack);
  t.strip_sack = packet.transport_length % 2 != 0;
  const size_t payload = packet.payload_length;
  const bool rewritten = splice::rewrite_segment(packet, t, splice::Direction::to_broker,
                                                 {source, destination, kPeer, kOwn, to_v6});
  check(std::ranges::equal(behind, Bytes(end, behind.size())), "what follows is untouched");
  if (!rewritten) return;
  check(packet.frame >= buffer.data(), "no more than the headroom");
  check(packet.frame + packet.frame_length == end, "the segment stays");
  check(packet.is_v6 == to_v6 && packet.payload_length == payload, "still the same packet");
  if (checksum == HardwareChecksum::good) return;
  const uint8_t* addresses = to_v6 ? packet.ipv6().addresses() : packet.ipv4().addresses();
  const uint64_t pseudo =
      to_v6 ? wire::pseudo_header_v6(addresses, wire::kProtocolTcp, packet.transport_length)
            : wire::pseudo_header_v4(addresses, wire::kProtocolTcp, packet.transport_length);
  check(wire::fold(pseudo + wire::sum_bytes({packet.transport, packet.transport_length})) == 0xffff,
        "the checksum is right");
}

void check_frame(Bytes input, HardwareChecksum checksum) {
  std::vector<uint8_t> frame = fuzz::copy_of(input, input.size());
  Packet packet;
  if (wire::parse_packet(frame, kRules, checksum, packet)) {
    check(std::ranges::equal(frame, input), "refused frames are not changed");
    return;
  }
  check(std::ranges::equal(frame, input), "nor are those that pass");
  check_views(packet, frame);
  for (size_t cut = 0; cut < packet.frame_length; cut += fuzz::cut_step(packet.frame_length)) {
    auto part = fuzz::copy_of(input, cut);
    check(!wire::parse_packet(part, kRules, checksum).has_value(), "a part is not a packet");
  }
  auto alone = fuzz::copy_of(input, packet.frame_length);
  check(wire::parse_packet(alone, kRules, checksum).has_value(), "nothing behind it is needed");
  if (packet.kind == PacketKind::icmpv6) {
    wire::Neighbour message;
    const size_t length = packet.frame_length - wire::kEthernetHeader;
    (void)wire::parse_neighbour({packet.network, length}, message);
  }
  if (packet.kind != PacketKind::tcp) return;
  check_rewrite(input, checksum, false);
  check_rewrite(input, checksum, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(data, size);
  check_frame(input, HardwareChecksum::unknown);
  // Few inputs have a right checksum.
  check_frame(input, HardwareChecksum::good);
  return 0;
}
