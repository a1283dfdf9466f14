// IPv6 at the boundary, built, and turned into IPv4 and back by the splice.
#include <algorithm>

#include "lib/splice/translation.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using base::Drop;

constexpr size_t kIp = wire::kEthernetHeader;
constexpr size_t kTcp = kIp + wire::kIpv6Header;

wire::IpAddress address(std::initializer_list<uint8_t> front, uint8_t last) {
  uint8_t octets[16] = {};
  std::copy(front.begin(), front.end(), octets);
  octets[15] = last;
  return wire::IpAddress::load_v6(octets);
}
wire::Endpoint client_v6() { return {address({0x20, 0x01, 0x0d, 0xb8}, 7), 40000}; }
wire::Endpoint listener_v6() { return {address({0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0xc}, 10), 1883}; }

uint32_t segment_sum(const Octets& frame, uint8_t protocol = wire::kProtocolTcp) {
  const auto length = static_cast<uint32_t>(frame.size() - kTcp);
  return plain_sum(&frame[kTcp], length, plain_sum(&frame[kIp + 8], 32, protocol + length));
}
// Of a frame of any family.
bool sums_right(const Octets& frame) {
  return frame[kIp] >> 4 == 4 ? checksums_right(frame) : segment_sum(frame) == 0xffff;
}
void repair_v6(Octets& frame) {
  base::store_be16(&frame[kTcp + 16], 0);
  base::store_be16(&frame[kTcp + 16], plain_checksum(segment_sum(frame)));
}

Octets build(const wire::Endpoint& source, const wire::Endpoint& destination, size_t payload) {
  Octets bytes(payload);
  for (size_t i = 0; i < payload; ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  wire::Segment s;
  s.link = {kMacA, kMacB};
  s.source = source;
  s.destination = destination;
  s.seq = base::Seq32(0xfffffff0);
  s.ack = base::Seq32(0x80000001);
  s.window = 500;
  s.options.timestamps = wire::Timestamps{0x01020304, 0xfffefdfc};
  s.payload = bytes;
  Octets frame(wire::kMaxSegmentHeaders + payload);
  frame.resize(wire::build_segment(s, frame));
  return frame;
}
Octets good() { return build(client_v6(), listener_v6(), 25); }

void test_built_is_parsed(void**) {
  for (const size_t payload : {size_t{0}, size_t{1}, size_t{25}, size_t{1428}}) {
    Octets frame = build(client_v6(), listener_v6(), payload);
    assert_int_equal(frame.size(), kTcp + 32 + payload);
    assert_true(sums_right(frame));
    frame.resize(frame.size() + 6);  // padding is not part of it
    const auto packet = parse(frame);
    assert_true(packet.has_value());
    assert_true(packet->is_v6);
    assert_true(packet->source() == client_v6().address);
    assert_true(packet->destination() == listener_v6().address);
    assert_int_equal(packet->tcp().source_port(), 40000);
    assert_int_equal(packet->payload_length, payload);
    assert_int_equal(packet->frame_length, kTcp + 32 + payload);
  }
  assert_int_equal(build(client_v6(), listener_endpoint(), 0).size(), 0);
  assert_int_equal(build(client_endpoint(), listener_v6(), 0).size(), 0);
}

struct Row {
  const char* what;
  void (*change)(Octets&);
  Drop expected;
};

template <uint8_t Next>
void set_next_header(Octets& f) {
  f[kIp + 6] = Next;
}
template <size_t At, uint8_t... Values>
void set(Octets& f) {
  size_t at = At;
  ((f[at++] = Values), ...);
}
void mapped(Octets& f, size_t at) {
  std::fill_n(f.begin() + static_cast<ptrdiff_t>(at), 10, uint8_t{0});
  f[at + 10] = f[at + 11] = 0xff;
}
void clear_source(Octets& f) { std::fill_n(f.begin() + kIp + 8, 16, uint8_t{0}); }

const Row kRefused[] = {
    {"half a header", [](Octets& f) { f.resize(kIp + 39); }, Drop::truncated_frame},
    {"payload cut", [](Octets& f) { f.resize(f.size() - 1); }, Drop::truncated_frame},
    {"version 4", [](Octets& f) { f[kIp] = 0x45; }, Drop::bad_ip_header},
    {"payload length too long", [](Octets& f) { ++f[kIp + 5]; }, Drop::truncated_frame},
    {"no payload", [](Octets& f) { f[kIp + 5] = 0; }, Drop::truncated_frame},
    {"over the MTU", [](Octets& f) { f = build(client_v6(), listener_v6(), 1429); },
     Drop::over_mtu},
    {"hop by hop", set_next_header<0>, Drop::ipv6_extension},
    {"routing", set_next_header<43>, Drop::ipv6_extension},
    {"ESP", set_next_header<50>, Drop::ipv6_extension},
    {"authentication", set_next_header<51>, Drop::ipv6_extension},
    {"no next header is no extension", set_next_header<59>, Drop::unknown_protocol},
    {"destination options", set_next_header<60>, Drop::ipv6_extension},
    {"mobility", set_next_header<135>, Drop::ipv6_extension},
    {"fragment", set_next_header<44>, Drop::ip_fragment},
    {"UDP", set_next_header<17>, Drop::unknown_protocol},
    {"ICMP of IPv4", set_next_header<1>, Drop::unknown_protocol},
    {"ICMPv6 checksum", set_next_header<58>, Drop::bad_icmp},
    {"source unspecified", clear_source, Drop::bad_source_address},
    {"source loopback", [](Octets& f) { clear_source(f), f[kIp + 23] = 1; },
     Drop::bad_source_address},
    {"source of a group", set<kIp + 8, 0xff, 0x02>, Drop::bad_source_address},
    {"source mapped", [](Octets& f) { mapped(f, kIp + 8); }, Drop::bad_source_address},
    {"destination mapped", [](Octets& f) { mapped(f, kIp + 24); }, Drop::foreign_address},
    {"TCP to a group", set<kIp + 24, 0xff, 0x02>, Drop::ipv6_group},
    {"our address in a group's frame", set<0, 0x33, 0x33>, Drop::foreign_mac},
    {"another station", set<5, 0x99>, Drop::foreign_mac},
    {"TCP checksum", [](Octets& f) { ++f[kTcp + 40]; }, Drop::bad_tcp_checksum},
    {"TCP header of 16", [](Octets& f) { f[kTcp + 12] = 0x40, repair_v6(f); },
     Drop::bad_tcp_header},
    {"TCP header past the segment",
     [](Octets& f) {
       f = build(client_v6(), listener_v6(), 0);
       f[kTcp + 12] = 0xf0;
       repair_v6(f);
     },
     Drop::bad_tcp_header},
    {"port 0", [](Octets& f) { base::store_be16(&f[kTcp], 0), repair_v6(f); },
     Drop::bad_tcp_header},
    {"SYN and FIN", [](Octets& f) { f[kTcp + 13] = 3, repair_v6(f); }, Drop::bad_tcp_flags},
};

void test_refusals(void**) {
  for (const Row& row : kRefused) {
    Octets frame = good();
    row.change(frame);
    frame.shrink_to_fit();  // so that a read behind the end is seen
    const auto packet = parse(frame);
    if (packet || packet.error() != row.expected) {
      fail_msg("%s: %s", row.what,
               packet ? "accepted" : std::to_string(static_cast<int>(packet.error())).c_str());
    }
  }
  // A good checksum by the card is believed.
  Octets frame = good();
  ++frame[kTcp + 40];
  assert_true(parse(frame, wire::HardwareChecksum::good).has_value());
}

// Room before the frame as a buffer has it, and guards around.
struct Buffer {
  static constexpr size_t kBefore = 20;
  static constexpr uint8_t kGuard = 0xa5;
  Octets octets;
  explicit Buffer(const Octets& frame) : octets(kBefore + 8, kGuard) {
    octets.insert(octets.end(), frame.begin(), frame.end());
    octets.resize(octets.size() + 8, kGuard);
  }
  [[nodiscard]] base::MutableBytes frame(size_t length) {
    return base::MutableBytes(octets).subspan(kBefore + 8, length);
  }
  [[nodiscard]] bool guards_hold() const {
    const auto is_guard = [](uint8_t octet) { return octet == kGuard; };
    return std::all_of(octets.begin(), octets.begin() + 8, is_guard) &&
           std::all_of(octets.end() - 8, octets.end(), is_guard);
  }
};

void test_families_of_the_splice(void**) {
  const wire::Endpoint snat4{wire::IpAddress::v4(0xc6120164), 1024};
  const wire::Endpoint broker4{wire::IpAddress::v4(0xc612010b), 8883};
  const wire::Endpoint snat6{address({0x20, 0x01, 0x0d, 0xb8, 1}, 100), 1024};
  const wire::Endpoint broker6{address({0x20, 0x01, 0x0d, 0xb8, 1}, 11), 8883};
  for (const bool from_v6 : {false, true}) {
    for (const bool to_v6 : {false, true}) {
      for (const size_t payload : {size_t{0}, size_t{333}}) {
        const wire::Endpoint source = from_v6 ? client_v6() : client_endpoint();
        const wire::Endpoint listener = from_v6 ? listener_v6() : listener_endpoint();
        const wire::Endpoint& snat = to_v6 ? snat6 : snat4;
        const wire::Endpoint& broker = to_v6 ? broker6 : broker4;
        Octets original = build(source, listener, payload);
        // A traffic class with "congestion experienced", and a flow label.
        if (from_v6) {
          base::store_be32(&original[kIp], 0x60000000U | 0x2bU << 20 | 0x12345);
        } else {
          original[kIp + 1] = 0x2b;
          repair_ip(original);
        }
        Buffer buffer(original);
        auto packet = wire::parse_packet(buffer.frame(original.size()), {kMacB, 1500},
                                         wire::HardwareChecksum::unknown);
        assert_true(packet.has_value());
        splice::Translation t{0x1000, 0x90000000, 77, 0, 0, false};
        t.checksum = splice::checksum_constant(source, listener, snat, broker, t.seq, t.ack);
        assert_true(splice::rewrite_segment(*packet, t, splice::Direction::to_broker,
                                            {snat, broker, kMacB, kMacA, to_v6}));
        const size_t grown = (to_v6 ? size_t{20} : 0) - (from_v6 ? size_t{20} : 0);
        assert_int_equal(packet->frame_length, original.size() + grown);
        const Octets sent(packet->frame, packet->frame + packet->frame_length);
        assert_true(buffer.guards_hold());
        assert_true(sums_right(sent));
        Octets again = sent;
        const auto received =
            wire::parse_packet(again, {kMacA, 1500}, wire::HardwareChecksum::unknown);
        assert_true(received.has_value());
        assert_int_equal(received->is_v6, to_v6);
        assert_true(received->source() == snat.address);
        assert_true(received->destination() == broker.address);
        assert_int_equal(received->tcp().seq().raw(), 0xfffffff0U + 0x1000);
        assert_int_equal(received->tcp().ack().raw(), 0x80000001U + 0x90000000U);
        assert_int_equal(received->payload_length, payload);
        const uint8_t* was = original.data() + original.size() - payload;
        if (payload > 0) assert_memory_equal(received->payload().data(), was, payload);
        const uint8_t class_now =
            to_v6 ? received->ipv6().traffic_class() : received->ipv4().type_of_service();
        if (from_v6 || to_v6) assert_int_equal(class_now, 0x2b);
        assert_int_equal(to_v6 ? received->ipv6().hop_limit() : received->ipv4().ttl(), 64);
      }
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_built_is_parsed),
      cmocka_unit_test(test_refusals),
      cmocka_unit_test(test_families_of_the_splice),
  };
  return cmocka_run_group_tests_name("ipv6", tests, nullptr, nullptr);
}
