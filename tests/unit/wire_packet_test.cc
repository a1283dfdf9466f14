// The check at the boundary, the frames that are built, and the checksums of both.
#include <random>

#include "lib/wire/build.hh"
#include "lib/wire/checksum.hh"
#include "lib/wire/packet.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using base::Drop;
using wire::HardwareChecksum;

const Octets kFiveBytes{1, 2, 3, 4, 5};

Octets good_frame() { return make_frame({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, kFiveBytes); }

Octets icmp_frame() {
  Octets frame = good_frame();
  frame[23] = wire::kProtocolIcmp;
  base::store_be16(&frame[36], 0);
  const size_t length = ip_length(frame) - 20;
  base::store_be16(&frame[36], plain_checksum(plain_sum(&frame[34], length)));
  repair_ip(frame);
  return frame;
}

Octets arp_frame() {
  Octets frame(wire::kArpFrame);
  wire::build_arp(
      {wire::Arp::request, kMacA, client_endpoint().address, {}, listener_endpoint().address},
      {kMacA, wire::kBroadcastMac}, frame);
  return frame;
}

enum class Repair { none, ip, both };

struct Row {
  const char* what;
  Octets (*make)();
  void (*change)(Octets&);
  Repair repair;
  Drop expected;
};

const Row kRefused[] = {
    {"foreign MAC", good_frame, [](Octets& f) { f[5] ^= 1; }, Repair::none, Drop::foreign_mac},
    {"IP in a broadcast", good_frame, [](Octets& f) { std::fill_n(f.begin(), 6, uint8_t{0xff}); },
     Repair::none, Drop::foreign_mac},
    {"IP in a multicast", good_frame, [](Octets& f) { f[0] = 1; }, Repair::none, Drop::foreign_mac},
    {"VLAN tag", good_frame, [](Octets& f) { f[12] = 0x81; }, Repair::none,
     Drop::unknown_ethertype},
    {"IPv4 called IPv6", good_frame, [](Octets& f) { f[12] = 0x86, f[13] = 0xdd; }, Repair::none,
     Drop::bad_ip_header},
    {"IP version 6", good_frame, [](Octets& f) { f[14] = 0x65; }, Repair::ip, Drop::bad_ip_header},
    {"IP header of 16", good_frame, [](Octets& f) { f[14] = 0x44; }, Repair::ip,
     Drop::bad_ip_header},
    {"IP header of 0", good_frame, [](Octets& f) { f[14] = 0x40; }, Repair::ip,
     Drop::bad_ip_header},
    {"IP options", good_frame, [](Octets& f) { f[14] = 0x46; }, Repair::ip, Drop::ip_options},
    {"IP header of 60", good_frame, [](Octets& f) { f[14] = 0x4f; }, Repair::ip, Drop::ip_options},
    {"total length 19", good_frame, [](Octets& f) { base::store_be16(&f[16], 19); }, Repair::ip,
     Drop::bad_ip_header},
    {"total length one too many", good_frame,
     [](Octets& f) { base::store_be16(&f[16], static_cast<uint16_t>(f.size() - 13)); }, Repair::ip,
     Drop::truncated_frame},
    {"total length 65535", good_frame, [](Octets& f) { base::store_be16(&f[16], 0xffff); },
     Repair::ip, Drop::truncated_frame},
    {"over the MTU", [] { return make_frame({}, Octets(1461)); }, [](Octets&) {}, Repair::none,
     Drop::over_mtu},
    {"IP checksum", good_frame, [](Octets& f) { f[24] ^= 1; }, Repair::none, Drop::bad_ip_checksum},
    {"first fragment", good_frame, [](Octets& f) { f[20] = 0x20; }, Repair::ip, Drop::ip_fragment},
    {"last fragment", good_frame, [](Octets& f) { f[21] = 1; }, Repair::ip, Drop::ip_fragment},
    {"from 0.0.0.0", good_frame, [](Octets& f) { base::store_be32(&f[26], 0); }, Repair::both,
     Drop::bad_source_address},
    {"from multicast", good_frame, [](Octets& f) { f[26] = 224; }, Repair::both,
     Drop::bad_source_address},
    {"from broadcast", good_frame, [](Octets& f) { base::store_be32(&f[26], 0xffffffff); },
     Repair::both, Drop::bad_source_address},
    {"UDP", good_frame, [](Octets& f) { f[23] = 17; }, Repair::ip, Drop::unknown_protocol},
    {"19 bytes of TCP", good_frame, [](Octets& f) { base::store_be16(&f[16], 39); }, Repair::ip,
     Drop::truncated_frame},
    {"no byte of TCP", good_frame, [](Octets& f) { base::store_be16(&f[16], 20); }, Repair::ip,
     Drop::truncated_frame},
    {"TCP header of 16", good_frame, [](Octets& f) { f[46] = 0x40; }, Repair::both,
     Drop::bad_tcp_header},
    {"TCP header beyond the packet", good_frame, [](Octets& f) { f[46] = 0xf0; }, Repair::both,
     Drop::bad_tcp_header},
    {"source port 0", good_frame, [](Octets& f) { f[34] = f[35] = 0; }, Repair::both,
     Drop::bad_tcp_header},
    {"destination port 0", good_frame, [](Octets& f) { f[36] = f[37] = 0; }, Repair::both,
     Drop::bad_tcp_header},
    {"TCP checksum", good_frame, [](Octets& f) { f[51] ^= 1; }, Repair::none,
     Drop::bad_tcp_checksum},
    {"payload", good_frame, [](Octets& f) { f.back() ^= 1; }, Repair::none, Drop::bad_tcp_checksum},
    {"no flags", good_frame, [](Octets& f) { f[47] = 0; }, Repair::both, Drop::bad_tcp_flags},
    {"FIN alone", good_frame, [](Octets& f) { f[47] = wire::kFin; }, Repair::both,
     Drop::bad_tcp_flags},
    {"SYN and FIN", good_frame, [](Octets& f) { f[47] = 3; }, Repair::both, Drop::bad_tcp_flags},
    {"SYN, RST and ACK", good_frame, [](Octets& f) { f[47] = 0x16; }, Repair::both,
     Drop::bad_tcp_flags},
    {"all flags", good_frame, [](Octets& f) { f[47] = 0xff; }, Repair::both, Drop::bad_tcp_flags},
    {"ICMP checksum", icmp_frame, [](Octets& f) { f.back() ^= 1; }, Repair::none, Drop::bad_icmp},
    {"7 bytes of ICMP", icmp_frame, [](Octets& f) { base::store_be16(&f[16], 27); }, Repair::ip,
     Drop::bad_icmp},
};

void test_refused(void**) {
  for (const Row& row : kRefused) {
    Octets frame = row.make();
    row.change(frame);
    if (row.repair == Repair::both) repair_tcp(frame);
    if (row.repair != Repair::none) repair_ip(frame);
    const auto packet = parse(frame);
    if (packet || packet.error() != row.expected) {
      fail_msg("%s: %s", row.what,
               packet ? "accepted" : base::kDropTexts[size_t(packet.error())].name.data());
    }
  }
}

// Each length in a buffer of its own, so that a sanitizer sees a read behind the end.
void test_truncated(void**) {
  for (const auto make : {good_frame, icmp_frame, arp_frame}) {
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
  const auto packet = parse(frame);
  assert_true(packet.has_value());
  assert_true(packet->kind == wire::PacketKind::tcp);
  assert_int_equal(packet->frame_length, 14 + 20 + 32 + 5);
  assert_int_equal(packet->transport_length, 32 + 5);
  assert_int_equal(packet->tcp_header_length, 32);
  assert_true(packet->source() == client_endpoint().address);
  assert_true(packet->destination() == listener_endpoint().address);
  assert_int_equal(packet->payload().size(), 5);
  assert_memory_equal(packet->payload().data(), kFiveBytes.data(), 5);
  assert_int_equal(packet->segment_end().raw(), 1005);
  frame[47] |= wire::kFin;
  assert_int_equal(packet->segment_end().raw(), 1006);
}

// Short frames come padded to 60 bytes, and some drivers leave the frame check sequence.
void test_padding_is_not_payload(void**) {
  for (size_t padding = 0; padding < 50; ++padding) {
    Octets frame = make_frame({}, {}, wire::kAck);
    frame.insert(frame.end(), padding, 0xee);
    const auto packet = parse(frame);
    assert_true(packet.has_value());
    assert_int_equal(packet->payload_length, 0);
    assert_int_equal(packet->frame_length, 54);
  }
}

void test_hardware_checksum(void**) {
  Octets frame = good_frame();
  frame[51] ^= 1;
  assert_true(parse(frame, HardwareChecksum::good).has_value());
  assert_false(parse(frame, HardwareChecksum::unknown).has_value());
  // What hardware says of TCP saves none of the other checks.
  frame[47] = 0;
  assert_int_equal(parse(frame, HardwareChecksum::good).error(), Drop::bad_tcp_flags);
}

void test_flags(void**) {
  for (unsigned flags = 0; flags < 64; ++flags) {
    Octets frame = make_frame({}, {}, static_cast<uint8_t>(flags));
    const bool syn = (flags & wire::kSyn) != 0;
    const bool fin_or_rst = (flags & (wire::kFin | wire::kRst)) != 0;
    const bool ack_or_rst = (flags & (wire::kAck | wire::kRst)) != 0;
    assert_int_equal(parse(frame).has_value(), syn ? !fin_or_rst : ack_or_rst);
  }
}

// No byte may make the parser read where it must not, or accept what does not add up.
void test_flipped_bits(void**) {
  std::mt19937 random(1);
  const Octets good = good_frame();
  for (size_t bit = 14 * 8; bit < good.size() * 8; ++bit) {
    Octets frame = good;
    frame[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    assert_false(parse(frame).has_value());  // each byte is under a checksum
  }
  for (int round = 0; round < 20000; ++round) {
    Octets frame = good;
    frame.resize(random() % (good.size() + 1));
    for (int changes = 0; changes < 4 && frame.size() > 12; ++changes) {
      frame[12 + random() % (frame.size() - 12)] = static_cast<uint8_t>(random());
    }
    if (frame.size() > 34) repair_ip(frame);
    const auto packet = parse(frame, HardwareChecksum::good);
    if (!packet || packet->kind != wire::PacketKind::tcp) continue;
    assert_true(packet->frame_length <= frame.size());
    assert_int_equal(packet->tcp_header_length + packet->payload_length, packet->transport_length);
    assert_int_equal(packet->transport_length + 34, packet->frame_length);
  }
}

void test_arp(void**) {
  Octets frame = arp_frame();
  frame.resize(60);
  const auto packet = parse(frame);
  assert_true(packet && packet->kind == wire::PacketKind::arp);
  wire::Arp arp;
  assert_true(wire::parse_arp(packet->network, arp));
  assert_int_equal(arp.operation, wire::Arp::request);
  assert_true(arp.sender_mac == kMacA && arp.target_mac == wire::MacAddress{});
  assert_true(arp.sender == client_endpoint().address);
  assert_true(arp.target == listener_endpoint().address);
  for (size_t i = 0; i < 6; ++i) {
    Octets changed = frame;
    changed[14 + i] ^= 1;  // hardware and protocol, and their lengths
    assert_false(wire::parse_arp(&changed[14], arp));
  }
  frame[22] |= 1;
  assert_false(wire::parse_arp(&frame[14], arp));
  Octets small(wire::kArpFrame - 1);
  assert_int_equal(wire::build_arp(arp, {kMacA, kMacB}, small), 0);
}

struct BuildRow {
  uint8_t flags;
  bool mss, scale, sack, timestamps;
  size_t payload;
};

void test_built_segments_parse_back(void**) {
  const BuildRow rows[] = {
      {wire::kSyn, true, true, true, true, 0},       {wire::kSyn, true, false, true, false, 0},
      {wire::kSyn, false, true, false, true, 0},     {wire::kSyn | wire::kAck, true, true, 0, 0, 0},
      {wire::kAck, false, false, false, false, 0},   {wire::kAck, false, false, false, true, 1},
      {wire::kAck | wire::kFin, 0, 0, 0, true, 333}, {wire::kRst, false, false, false, false, 0},
      {wire::kAck | wire::kPsh, 0, 0, 0, 0, 1460},   {wire::kAck, 0, 0, 0, true, 1448},
  };
  for (const BuildRow& row : rows) {
    Octets payload(row.payload);
    for (size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<uint8_t>(i * 7);
    wire::Segment s;
    s.link = {kMacA, kMacB};
    s.source = client_endpoint();
    s.destination = listener_endpoint();
    s.seq = base::Seq32(0xfffffff0);
    s.ack = base::Seq32(0x80000001);
    s.flags = row.flags;
    s.window = 0xfedc;
    if (row.mss) s.options.mss = 1460;
    if (row.scale) s.options.window_scale = 7;
    s.options.sack_permitted = row.sack;
    if (row.timestamps) s.options.timestamps = wire::Timestamps{0x01020304, 0xfffefdfc};
    s.payload = payload;
    Octets frame(wire::kMaxSegmentHeaders + payload.size());
    frame.resize(wire::build_segment(s, frame));
    assert_true(frame.size() >= 54 + payload.size());
    assert_true(checksums_right(frame));
    const auto packet = parse(frame);
    assert_true(packet.has_value());
    assert_true(packet->source() == s.source.address);
    assert_int_equal(packet->tcp().flags(), row.flags);
    assert_int_equal(packet->tcp().seq().raw(), s.seq.raw());
    assert_int_equal(packet->tcp().ack().raw(), (row.flags & wire::kAck) != 0 ? s.ack.raw() : 0);
    assert_int_equal(packet->payload_length, row.payload);
    if (row.payload > 0) assert_memory_equal(packet->payload().data(), payload.data(), row.payload);
    const auto options = wire::parse_tcp_options(packet->tcp().options());
    assert_true(options.has_value());
    assert_int_equal(options->mss.value_or(0), row.mss ? 1460 : 0);
    assert_int_equal(options->window_scale.value_or(99), row.scale ? 7 : 99);
    assert_int_equal(options->sack_permitted, row.sack);
    assert_int_equal(options->timestamps.has_value(), row.timestamps);
    // Room for one byte less is none.
    Octets small(frame.size() - 1);
    assert_int_equal(wire::build_segment(s, small), 0);
  }
}

void test_build_refuses(void**) {
  Octets frame(200000);
  wire::Segment s;
  s.source = client_endpoint();
  s.destination = {wire::IpAddress{}, 1};
  assert_int_equal(wire::build_segment(s, frame), 0);
  s.destination = listener_endpoint();
  const Octets payload(65535);
  s.payload = payload;
  assert_int_equal(wire::build_segment(s, frame), 0);
}

void test_sums(void**) {
  std::mt19937 random(2);
  for (size_t n = 0; n < 300; ++n) {
    Octets bytes(n + 1);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    // From an odd address too.
    assert_int_equal(wire::sum_bytes({bytes.data() + 1, n}), plain_sum(bytes.data() + 1, n));
  }
  const Octets ones(65535, 0xff);
  assert_int_equal(wire::sum_bytes(ones), plain_sum(ones.data(), ones.size()));
  assert_int_equal(wire::fold(~uint64_t{0}), 0xffff);
}

// RFC 1624: also for the representations of zero, which its section 5 is about.
void test_incremental_update(void**) {
  std::mt19937 random(3);
  const uint32_t edges[] = {0, 1, 0xffff, 0x10000, 0xfffe, 0xffff0000, 0xffffffff, 0x80000000};
  for (int round = 0; round < 200000; ++round) {
    uint8_t data[16];
    for (uint8_t& b : data) b = static_cast<uint8_t>(random() % 3 == 0 ? 0 : random());
    const bool edge = random() % 2 == 0;
    const uint32_t to = edge ? edges[random() % std::size(edges)] : static_cast<uint32_t>(random());
    uint8_t* field = data + 4 * (random() % 4);
    const uint32_t from = base::load_be32(field);
    const uint16_t before = plain_checksum(plain_sum(data, sizeof data));
    base::store_be32(field, to);
    const uint32_t sum = plain_sum(data, sizeof data);
    const uint16_t updated = wire::update_checksum(before, wire::field_difference(from, to));
    // A receiver adds the field to the sum; all-zero data has two right checksums.
    assert_int_equal(plain_sum(data, sizeof data, updated), 0xffff);
    if (sum != 0) assert_int_equal(updated, plain_checksum(sum));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_truncated),
      cmocka_unit_test(test_views),
      cmocka_unit_test(test_padding_is_not_payload),
      cmocka_unit_test(test_hardware_checksum),
      cmocka_unit_test(test_flags),
      cmocka_unit_test(test_flipped_bits),
      cmocka_unit_test(test_arp),
      cmocka_unit_test(test_built_segments_parse_back),
      cmocka_unit_test(test_build_refuses),
      cmocka_unit_test(test_sums),
      cmocka_unit_test(test_incremental_update),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
