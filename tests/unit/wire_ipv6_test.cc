// IPv6 at the boundary: what the check refuses and why, what it shows of the rest, and the segments
// that are built. Offsets: network header 14, its addresses 22 and 38, segment 54.
#include <random>

#include "lib/wire/build.hh"
#include "lib/wire/packet.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using base::Drop;
using wire::HardwareChecksum;

const Octets kFiveBytes{1, 2, 3, 4, 5};

Octets good_frame() { return make_frame_v6({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, kFiveBytes); }

void repair_icmp(Octets& frame) {
  base::store_be16(&frame[56], 0);
  base::store_be16(&frame[56], plain_checksum(transport_sum(frame)));
}

// An echo request of 21 bytes.
Octets icmp_frame() {
  Octets frame = good_frame();
  frame.resize(54 + 21);
  base::store_be16(&frame[18], 21);
  frame[20] = wire::kProtocolIcmpv6;
  frame[54] = 128;
  frame[55] = 0;
  repair_icmp(frame);
  return frame;
}

void set_source(Octets& f, const char* text) { wire::IpAddress::parse(text)->store_v6(&f[22]); }
void set_destination(Octets& f, const char* text) {
  wire::IpAddress::parse(text)->store_v6(&f[38]);
}
void set_group_mac(Octets& f) {
  const Octets group{0x33, 0x33, 0, 0, 0, 1};
  std::copy(group.begin(), group.end(), f.begin());
}

enum class Repair { none, tcp, icmp };

struct Row {
  const char* what;
  Octets (*make)();
  void (*change)(Octets&);
  Repair repair;
  Drop expected;
};

const Row kRefusedHeaders[] = {
    {"foreign MAC", good_frame, [](Octets& f) { f[5] ^= 1; }, Repair::none, Drop::foreign_mac},
    {"ICMP to a foreign MAC", icmp_frame, [](Octets& f) { f[5] ^= 1; }, Repair::none,
     Drop::foreign_mac},
    {"in a group frame", good_frame, set_group_mac, Repair::none, Drop::foreign_mac},
    {"in a broadcast", good_frame, [](Octets& f) { std::fill_n(f.begin(), 6, uint8_t{0xff}); },
     Repair::none, Drop::foreign_mac},
    {"ICMP for a host in a group frame", icmp_frame, set_group_mac, Repair::none,
     Drop::foreign_mac},
    {"IPv6 called IPv4", good_frame, [](Octets& f) { f[12] = 8, f[13] = 0; }, Repair::none,
     Drop::bad_ip_header},
    {"version 4", good_frame, [](Octets& f) { f[14] = 0x45; }, Repair::none, Drop::bad_ip_header},
    {"version 0", good_frame, [](Octets& f) { f[14] = 0; }, Repair::none, Drop::bad_ip_header},
    {"version 7", good_frame, [](Octets& f) { f[14] = 0x70; }, Repair::none, Drop::bad_ip_header},
    {"version 14", good_frame, [](Octets& f) { f[14] = 0xe0; }, Repair::none, Drop::bad_ip_header},
    {"payload length one too many", good_frame, [](Octets& f) { ++f[19]; }, Repair::none,
     Drop::truncated_frame},
    {"payload length 65535", good_frame, [](Octets& f) { base::store_be16(&f[18], 0xffff); },
     Repair::none, Drop::truncated_frame},
    {"payload length one too few", good_frame, [](Octets& f) { --f[19]; }, Repair::none,
     Drop::bad_tcp_checksum},
    {"payload length 19", good_frame, [](Octets& f) { f[19] = 19; }, Repair::none,
     Drop::truncated_frame},
    {"payload length 0", good_frame, [](Octets& f) { f[19] = 0; }, Repair::none,
     Drop::truncated_frame},
    {"payload length 0, as jumbograms have", good_frame, [](Octets& f) { f[19] = 0, f[20] = 0; },
     Repair::none, Drop::ipv6_extension},
    {"over the MTU", [] { return make_frame_v6({}, Octets(1441)); }, [](Octets&) {}, Repair::none,
     Drop::over_mtu},
    {"TCP to all nodes", good_frame, [](Octets& f) { set_destination(f, "ff02::1"); }, Repair::tcp,
     Drop::ipv6_group},
    {"the same in their frame", good_frame,
     [](Octets& f) { set_destination(f, "ff02::1"), set_group_mac(f); }, Repair::tcp,
     Drop::ipv6_group},
};

const Row kRefusedAddresses[] = {
    {"from ::", good_frame, [](Octets& f) { set_source(f, "::"); }, Repair::tcp,
     Drop::bad_source_address},
    {"from ::1", good_frame, [](Octets& f) { set_source(f, "::1"); }, Repair::tcp,
     Drop::bad_source_address},
    {"from a group of the link", good_frame, [](Octets& f) { set_source(f, "ff02::1"); },
     Repair::tcp, Drop::bad_source_address},
    {"from a group of the world", good_frame, [](Octets& f) { set_source(f, "ff0e::1234"); },
     Repair::tcp, Drop::bad_source_address},
    {"from an IPv4 address", good_frame, [](Octets& f) { set_source(f, "::ffff:198.18.0.7"); },
     Repair::tcp, Drop::bad_source_address},
    {"from IPv4's 0.0.0.0", good_frame, [](Octets& f) { set_source(f, "::ffff:0.0.0.0"); },
     Repair::tcp, Drop::bad_source_address},
    {"to an IPv4 address", good_frame, [](Octets& f) { set_destination(f, "::ffff:198.18.0.10"); },
     Repair::tcp, Drop::foreign_address},
    {"ICMP from ::1", icmp_frame, [](Octets& f) { set_source(f, "::1"); }, Repair::icmp,
     Drop::bad_source_address},
    {"ICMP from a group", icmp_frame, [](Octets& f) { set_source(f, "ff02::1"); }, Repair::icmp,
     Drop::bad_source_address},
    {"ICMP from an IPv4 address", icmp_frame, [](Octets& f) { set_source(f, "::ffff:198.18.0.7"); },
     Repair::icmp, Drop::bad_source_address},
    {"ICMP from IPv4's 0.0.0.0", icmp_frame, [](Octets& f) { set_source(f, "::ffff:0.0.0.0"); },
     Repair::icmp, Drop::bad_source_address},
    {"ICMP to an IPv4 address", icmp_frame,
     [](Octets& f) { set_destination(f, "::ffff:198.18.0.10"); }, Repair::icmp,
     Drop::foreign_address},
};

const Row kRefusedSegments[] = {
    {"header of 16", good_frame, [](Octets& f) { f[66] = 0x40; }, Repair::tcp,
     Drop::bad_tcp_header},
    {"header beyond the packet", good_frame, [](Octets& f) { f[66] = 0xf0; }, Repair::tcp,
     Drop::bad_tcp_header},
    {"source port 0", good_frame, [](Octets& f) { f[54] = f[55] = 0; }, Repair::tcp,
     Drop::bad_tcp_header},
    {"destination port 0", good_frame, [](Octets& f) { f[56] = f[57] = 0; }, Repair::tcp,
     Drop::bad_tcp_header},
    {"checksum", good_frame, [](Octets& f) { f[71] ^= 1; }, Repair::none, Drop::bad_tcp_checksum},
    {"no checksum", good_frame, [](Octets& f) { f[70] = f[71] = 0; }, Repair::none,
     Drop::bad_tcp_checksum},
    {"payload", good_frame, [](Octets& f) { f.back() ^= 1; }, Repair::none, Drop::bad_tcp_checksum},
    {"no flags", good_frame, [](Octets& f) { f[67] = 0; }, Repair::tcp, Drop::bad_tcp_flags},
    {"FIN alone", good_frame, [](Octets& f) { f[67] = wire::kFin; }, Repair::tcp,
     Drop::bad_tcp_flags},
    {"SYN and FIN", good_frame, [](Octets& f) { f[67] = 3; }, Repair::tcp, Drop::bad_tcp_flags},
    {"all flags", good_frame, [](Octets& f) { f[67] = 0xff; }, Repair::tcp, Drop::bad_tcp_flags},
    {"ICMP checksum", icmp_frame, [](Octets& f) { f[57] ^= 1; }, Repair::none, Drop::bad_icmp},
    {"ICMP without checksum", icmp_frame, [](Octets& f) { f[56] = f[57] = 0; }, Repair::none,
     Drop::bad_icmp},
    // Unlike ICMP's, its checksum covers the addresses (RFC 4443 section 2.3).
    {"ICMP from another", icmp_frame, [](Octets& f) { f[37] ^= 1; }, Repair::none, Drop::bad_icmp},
    {"7 bytes of ICMP", icmp_frame, [](Octets& f) { f[19] = 7; }, Repair::icmp, Drop::bad_icmp},
    {"no byte of ICMP", icmp_frame, [](Octets& f) { f[19] = 0; }, Repair::none, Drop::bad_icmp},
};

template <size_t N>
void check_refused(const Row (&rows)[N]) {
  for (const Row& row : rows) {
    Octets frame = row.make();
    assert_true(parse(frame).has_value() || frame.size() > 1514);
    row.change(frame);
    if (row.repair == Repair::tcp) repair_tcp(frame);
    if (row.repair == Repair::icmp) repair_icmp(frame);
    const auto packet = parse(frame);
    if (packet || packet.error() != row.expected) {
      fail_msg("%s: %s", row.what,
               packet ? "accepted" : base::kDropTexts[size_t(packet.error())].name.data());
    }
  }
}

void test_headers_refused(void**) { check_refused(kRefusedHeaders); }
void test_addresses_refused(void**) { check_refused(kRefusedAddresses); }
void test_segments_refused(void**) { check_refused(kRefusedSegments); }

// As the numbers are assigned (IANA, "IPv6 Extension Header Types").
void test_next_headers(void**) {
  for (unsigned next = 0; next < 256; ++next) {
    Octets frame = good_frame();
    frame[20] = static_cast<uint8_t>(next);
    Drop expected = Drop::unknown_protocol;
    switch (next) {
      case 6:
        continue;
      case 0:    // hop-by-hop options
      case 43:   // routing
      case 50:   // encapsulating security payload
      case 51:   // authentication
      case 60:   // destination options
      case 135:  // mobility
      case 139:  // host identity
      case 140:  // shim6
        expected = Drop::ipv6_extension;
        break;
      case 44:
        expected = Drop::ip_fragment;
        break;
      case 58:
        expected = Drop::bad_icmp;  // a TCP checksum is elsewhere
        break;
      default:
        break;  // 1 and 4, too: ICMP of IPv4, and a tunnel
    }
    const auto packet = parse(frame);
    if (packet || packet.error() != expected) fail_msg("next header %u", next);
  }
}

// Each length in a buffer of its own, so that a sanitizer sees a read behind the end.
void test_truncated(void**) {
  for (const auto make : {good_frame, icmp_frame}) {
    const Octets whole = make();
    for (size_t n = 0; n < whole.size(); ++n) {
      Octets cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(n));
      const auto packet = parse(cut);
      assert_false(packet.has_value());
      assert_int_equal(packet.error(), Drop::truncated_frame);
    }
  }
}

void test_views(void**) {
  Octets frame = good_frame();
  frame[14] = 0x6b, frame[15] = 0xb5, frame[16] = 0x43, frame[17] = 0x21;  // class and flow label
  frame[21] = 7;
  const auto packet = parse(frame);
  assert_true(packet.has_value());
  assert_true(packet->kind == wire::PacketKind::tcp && packet->is_v6);
  assert_int_equal(packet->frame_length, 14 + 40 + 32 + 5);
  assert_int_equal(packet->transport_length, 32 + 5);
  assert_int_equal(packet->tcp_header_length, 32);
  assert_ptr_equal(packet->transport, &frame[54]);
  assert_true(packet->source() == client_endpoint_v6().address);
  assert_true(packet->destination() == listener_endpoint_v6().address);
  assert_int_equal(packet->ipv6().traffic_class(), 0xbb);
  assert_int_equal(packet->ipv6().hop_limit(), 7);
  assert_int_equal(packet->payload().size(), 5);
  assert_memory_equal(packet->payload().data(), kFiveBytes.data(), 5);
  assert_int_equal(packet->segment_end().raw(), 1005);
}

// A Packet that was another's before: nothing of that one is left.
void test_views_used_again(void**) {
  wire::Packet packet;
  Octets six = good_frame();
  Octets four = make_frame({}, kFiveBytes);
  const wire::ParseRules rules{kMacB, 1500};
  for (int round = 0; round < 2; ++round) {
    assert_false(wire::parse_packet(six, rules, HardwareChecksum::unknown, packet).has_value());
    assert_true(packet.is_v6 && packet.source() == client_endpoint_v6().address);
    assert_false(wire::parse_packet(four, rules, HardwareChecksum::unknown, packet).has_value());
    assert_true(!packet.is_v6 && packet.source() == client_endpoint().address);
    assert_int_equal(packet.frame_length, 59);
  }
}

// Some drivers leave the frame check sequence.
void test_padding_is_not_payload(void**) {
  for (size_t padding = 0; padding < 50; ++padding) {
    Octets frame = make_frame_v6({}, {}, wire::kAck);
    frame.insert(frame.end(), padding, 0xee);
    const auto packet = parse(frame);
    assert_true(packet.has_value());
    assert_int_equal(packet->payload_length, 0);
    assert_int_equal(packet->frame_length, 74);
  }
}

void test_longest_packet(void**) {
  Octets frame = make_frame_v6({}, Octets(1440));
  const auto packet = parse(frame);
  assert_true(packet.has_value());
  assert_int_equal(packet->frame_length, 1514);
}

void test_hardware_checksum(void**) {
  Octets frame = good_frame();
  frame[71] ^= 1;
  assert_true(parse(frame, HardwareChecksum::good).has_value());
  frame[67] = 0;
  assert_int_equal(parse(frame, HardwareChecksum::good).error(), Drop::bad_tcp_flags);
  // Cards that know TCP's need not know ICMP's.
  Octets icmp = icmp_frame();
  icmp[57] ^= 1;
  assert_int_equal(parse(icmp, HardwareChecksum::good).error(), Drop::bad_icmp);
}

// ICMPv6 goes to groups, and from nobody who looks for a duplicate of its address; also to a group
// in a frame of ours (RFC 6085).
void test_icmp(void**) {
  const struct {
    const char *source, *destination;
    bool group_frame;
  } rows[] = {
      {"2001:db8::7", "2001:db8::a", false}, {"fe80::7", "fe80::a", false},
      {"fe80::7", "ff02::1", true},          {"2001:db8::7", "ff02::1:ff00:a", true},
      {"::", "ff02::1:ff00:a", true},        {"::", "ff02::1:ff00:a", false},
  };
  for (const auto& row : rows) {
    Octets frame = icmp_frame();
    set_source(frame, row.source);
    set_destination(frame, row.destination);
    if (row.group_frame) set_group_mac(frame);
    repair_icmp(frame);
    frame.push_back(0xee);
    const auto packet = parse(frame);
    if (!packet) fail_msg("from %s to %s: refused", row.source, row.destination);
    assert_true(packet->kind == wire::PacketKind::icmpv6 && packet->is_v6);
    assert_int_equal(packet->transport_length, 21);
    assert_int_equal(packet->frame_length, 54 + 21);
  }
}

// What no checksum covers: traffic class, flow label and hop limit. All else must add up.
void test_flipped_bits(void**) {
  const Octets good = good_frame();
  for (size_t bit = 14 * 8; bit < good.size() * 8; ++bit) {
    Octets frame = good;
    frame[bit / 8] ^= static_cast<uint8_t>(0x80U >> (bit % 8));
    const size_t in_header = bit - 14 * 8;
    const bool uncovered = (in_header >= 4 && in_header < 32) || bit / 8 == 21;
    assert_int_equal(parse(frame).has_value(), uncovered);
  }
}

// No byte may make the parser read where it must not.
void test_random_bytes(void**) {
  std::mt19937 random(21);
  const Octets seeds[] = {good_frame(), icmp_frame()};
  size_t accepted = 0;
  for (int round = 0; round < 40000; ++round) {
    Octets frame = seeds[random() % 2];
    frame.resize(random() % 4 == 0 ? random() % (frame.size() + 1) : frame.size());
    for (size_t changes = random() % 4; changes > 0 && frame.size() > 12; --changes) {
      frame[12 + random() % (frame.size() - 12)] = static_cast<uint8_t>(random());
    }
    const auto packet = parse(frame, HardwareChecksum::good);
    if (!packet || !packet->is_v6) continue;
    ++accepted;
    assert_true(packet->frame_length <= frame.size());
    assert_int_equal(packet->transport_length + 54, packet->frame_length);
    assert_false(packet->source().is_v4() || packet->destination().is_v4());
    if (packet->kind != wire::PacketKind::tcp) continue;
    assert_int_equal(packet->tcp_header_length + packet->payload_length, packet->transport_length);
  }
  assert_true(accepted > 1000);
}

struct BuildRow {
  uint8_t flags;
  bool mss, scale, sack, timestamps;
  size_t payload;
};

void check_built(const BuildRow& row) {
  Octets payload(row.payload);
  for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>(i * 7);
  wire::Segment s;
  s.link = {kMacA, kMacB};
  s.source = client_endpoint_v6();
  s.destination = listener_endpoint_v6();
  s.seq = base::Seq32(0xfffffff0);
  s.ack = base::Seq32(0x80000001);
  s.flags = row.flags;
  s.window = 0xfedc;
  if (row.mss) s.options.mss = 1440;
  if (row.scale) s.options.window_scale = 7;
  s.options.sack_permitted = row.sack;
  if (row.timestamps) s.options.timestamps = wire::Timestamps{0x01020304, 0xfffefdfc};
  s.payload = payload;
  Octets frame(wire::kMaxSegmentHeaders + payload.size(), 0xee);
  frame.resize(wire::build_segment(s, frame));
  assert_true(frame.size() >= 74 + payload.size());
  assert_true(checksums_right(frame));
  const uint8_t front[] = {2, 0, 0, 0, 0, 0x0b, 2, 0, 0, 0, 0, 0x0a, 0x86, 0xdd, 0x60, 0, 0, 0};
  assert_memory_equal(frame.data(), front, sizeof front);
  assert_int_equal(base::load_be16(&frame[18]), frame.size() - 54);
  assert_int_equal(frame[20], 6);
  assert_int_equal(frame[21], 64);
  assert_memory_equal(&frame[22], s.source.address.octets().data(), 16);
  assert_memory_equal(&frame[38], s.destination.address.octets().data(), 16);
  assert_int_equal(base::load_be16(&frame[72]), 0);  // urgent pointer

  const auto packet = parse(frame);
  assert_true(packet.has_value());
  assert_int_equal(packet->tcp().flags(), row.flags);
  assert_int_equal(packet->tcp().source_port(), s.source.port);
  assert_int_equal(packet->tcp().destination_port(), s.destination.port);
  assert_int_equal(packet->tcp().seq().raw(), s.seq.raw());
  assert_int_equal(packet->tcp().ack().raw(), (row.flags & wire::kAck) != 0 ? s.ack.raw() : 0);
  assert_int_equal(packet->tcp().window(), s.window);
  assert_int_equal(packet->payload_length, row.payload);
  if (row.payload > 0) assert_memory_equal(packet->payload().data(), payload.data(), row.payload);
  const auto options = wire::parse_tcp_options(packet->tcp().options());
  assert_true(options.has_value());
  assert_int_equal(options->mss.value_or(0), row.mss ? 1440 : 0);
  assert_int_equal(options->timestamps.has_value(), row.timestamps);
  // Room for one byte less is none, and is not written to.
  Octets small(frame.size() - 1, 0xee);
  assert_int_equal(wire::build_segment(s, small), 0);
  assert_true(small == Octets(frame.size() - 1, 0xee));
}

void test_built_segments_parse_back(void**) {
  const BuildRow rows[] = {
      {wire::kSyn, true, true, true, true, 0},       {wire::kSyn | wire::kAck, true, true, 0, 0, 0},
      {wire::kAck, false, false, false, false, 0},   {wire::kAck, false, false, false, true, 1},
      {wire::kAck | wire::kFin, 0, 0, 0, true, 333}, {wire::kRst, false, false, false, false, 0},
      {wire::kAck | wire::kPsh, 0, 0, 0, 0, 1440},   {wire::kAck, 0, 0, 0, true, 1428},
  };
  for (const BuildRow& row : rows) check_built(row);
}

// The checksum over each of the values that its sum can have, both zeros among them.
void test_every_checksum(void**) {
  wire::Segment s;
  s.link = {kMacA, kMacB};
  s.source = client_endpoint_v6();
  s.destination = listener_endpoint_v6();
  Octets frame(wire::kMaxSegmentHeaders);
  for (uint32_t window = 0; window < 0x10000; ++window) {
    s.window = static_cast<uint16_t>(window);
    frame.resize(wire::kMaxSegmentHeaders);
    frame.resize(wire::build_segment(s, frame));
    assert_int_equal(base::load_be16(&frame[70]), full_tcp_checksum(frame));
  }
}

void test_traffic_class(void**) {
  for (unsigned traffic_class = 0; traffic_class < 256; ++traffic_class) {
    Octets header(wire::kIpv6Header);
    wire::write_network_header(header.data(), client_endpoint_v6().address,
                               listener_endpoint_v6().address, static_cast<uint8_t>(traffic_class),
                               20);
    assert_int_equal(base::load_be32(header.data()), 0x60000000U | traffic_class << 20);
    assert_int_equal(wire::Ipv6View(header.data()).traffic_class(), traffic_class);
  }
}

void test_mixed_families(void**) {
  const wire::Endpoint ends[] = {client_endpoint(), client_endpoint_v6()};
  for (const wire::Endpoint& source : ends) {
    for (const wire::Endpoint& destination : ends) {
      wire::Segment s;
      s.source = source;
      s.destination = destination;
      Octets frame(wire::kMaxSegmentHeaders);
      const bool same = source.address.is_v4() == destination.address.is_v4();
      const size_t expected = source.address.is_v4() ? 54 : 74;
      assert_int_equal(wire::build_segment(s, frame), same ? expected : 0);
    }
  }
  wire::Segment s;
  s.source = client_endpoint_v6();
  s.destination = listener_endpoint_v6();
  const Octets payload(65535 - 74 + 1);
  s.payload = payload;
  Octets frame(200000);
  assert_int_equal(wire::build_segment(s, frame), 0);
  s.payload = s.payload.first(payload.size() - 1);
  assert_int_equal(wire::build_segment(s, frame), 65535);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_headers_refused),
      cmocka_unit_test(test_addresses_refused),
      cmocka_unit_test(test_segments_refused),
      cmocka_unit_test(test_next_headers),
      cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_views),
      cmocka_unit_test(test_views_used_again),
      cmocka_unit_test(test_padding_is_not_payload),
      cmocka_unit_test(test_longest_packet),
      cmocka_unit_test(test_hardware_checksum),
      cmocka_unit_test(test_icmp),
      cmocka_unit_test(test_flipped_bits),
      cmocka_unit_test(test_random_bytes),
      cmocka_unit_test(test_built_segments_parse_back),
      cmocka_unit_test(test_every_checksum),
      cmocka_unit_test(test_traffic_class),
      cmocka_unit_test(test_mixed_families),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
