// The splice where its sides are of the same family or not: whole frames against frames that are
// put together a second way, and nothing touched that belongs to somebody else.
#include <random>

#include "lib/splice/translation.hh"
#include "lib/wire/tcp_options.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/random_options.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using splice::Direction;
using splice::Translation;

const wire::MacAddress kMacC{{0x02, 0, 0, 0, 0, 0x0c}};
const wire::MacAddress kMacD{{0x02, 0, 0, 0, 0, 0x0d}};

struct Side {
  wire::Endpoint source, destination;
};

wire::Endpoint at(const char* address, uint16_t port) {
  return {*wire::IpAddress::parse(address), port};
}

Side client_side(bool is_v6) {
  return is_v6 ? Side{client_endpoint_v6(), listener_endpoint_v6()}
               : Side{client_endpoint(), listener_endpoint()};
}
// The IPv6 one has words of all ones and of zeros, where sums carry.
Side broker_side(bool is_v6) {
  return is_v6 ? Side{at("2001:db8:ffff:ffff:ffff:ffff:0:ffff", 1024), at("2001:db8::1:b", 8883)}
               : Side{at("198.18.1.100", 1024), at("198.18.1.11", 8883)};
}

// What lies in a buffer around a frame.
constexpr size_t kRoom = 64;
constexpr uint8_t kOthers = 0xc5;

// A frame amid bytes that are not its own, as in a pool of buffers.
struct Buffer {
  explicit Buffer(const Octets& frame) : length(frame.size()) {
    bytes.assign(kRoom + length + kRoom, kOthers);
    std::copy(frame.begin(), frame.end(), bytes.begin() + kRoom);
  }
  Octets bytes;
  size_t length;

  wire::Packet parse(const wire::MacAddress& own) {
    const auto packet = wire::parse_packet({bytes.data() + kRoom, length}, {own, 1500},
                                           wire::HardwareChecksum::unknown);
    assert_true(packet.has_value());
    return *packet;
  }
  // The frame as the packet has it now, which began at kRoom.
  [[nodiscard]] Octets frame_of(const wire::Packet& packet) const {
    return {packet.frame, packet.frame + packet.frame_length};
  }
  void check_others_untouched(const wire::Packet& packet) const {
    const auto begin = static_cast<size_t>(packet.frame - bytes.data());
    for (size_t i = 0; i < std::min(begin, kRoom); ++i) assert_int_equal(bytes[i], kOthers);
    for (size_t i = kRoom + length; i < bytes.size(); ++i) assert_int_equal(bytes[i], kOthers);
    // The segment stays where it was.
    assert_int_equal(begin + packet.frame_length, kRoom + length);
  }
};

void set_traffic_class(Octets& frame, uint8_t value) {
  if (is_v6(frame)) {
    frame[14] = static_cast<uint8_t>(0x60 | value >> 4);
    frame[15] = static_cast<uint8_t>((frame[15] & 0x0f) | value << 4);
  } else {
    frame[15] = value;
    repair_ip(frame);
  }
}
uint8_t traffic_class_of(const Octets& frame) {
  return is_v6(frame) ? static_cast<uint8_t>(frame[14] << 4 | frame[15] >> 4) : frame[15];
}

Octets random_segment(std::mt19937& random, const Side& side) {
  const uint8_t flags[] = {wire::kAck, wire::kAck | wire::kPsh, wire::kAck | wire::kFin,
                           wire::kRst, wire::kRst | wire::kAck, wire::kSyn};
  Octets payload(random() % 2 == 0 ? random() % 100 : 0);
  for (uint8_t& b : payload) b = static_cast<uint8_t>(random());
  Octets frame = make_frame_between(side.source, side.destination, random_options(random), payload,
                                    flags[random() % std::size(flags)]);
  const size_t tcp = tcp_at(frame);
  base::store_be32(&frame[tcp + 4], number(random));
  base::store_be32(&frame[tcp + 8], number(random));
  base::store_be16(&frame[tcp + 14], static_cast<uint16_t>(number(random)));
  base::store_be16(&frame[tcp + 18], static_cast<uint16_t>(random()));  // urgent pointer
  repair_tcp(frame);
  set_traffic_class(frame, static_cast<uint8_t>(random()));
  return frame;
}

Translation translation_between(const Side& from, const Side& to, uint32_t seq, uint32_t ack,
                                uint32_t timestamp) {
  Translation t{seq, ack, timestamp};
  t.checksum =
      splice::checksum_constant(from.source, from.destination, to.source, to.destination, seq, ack);
  return t;
}

splice::Path path_to(const Side& to) {
  return {to.source, to.destination, kMacC, kMacD, !to.source.address.is_v4()};
}

void add_at(uint8_t* field, uint32_t delta) {
  base::store_be32(field, base::load_be32(field) + delta);
}

// Options as they lie, one after the other (RFC 9293 section 3.1).
void translate_options(Octets& frame, size_t tcp, const Translation& t, Direction direction) {
  const size_t end = tcp + (frame[tcp + 12] >> 4) * 4;
  for (size_t i = tcp + 20; i < end && frame[i] != wire::kOptionEnd;) {
    if (frame[i] == wire::kOptionNop) {
      ++i;
      continue;
    }
    const size_t length = frame[i + 1];
    if (frame[i] == wire::kOptionTimestamps) {
      add_at(&frame[i + (direction == Direction::to_broker ? 6 : 2)], t.timestamp);
    } else if (frame[i] == wire::kOptionSack && t.strip_sack) {
      std::fill_n(frame.begin() + static_cast<ptrdiff_t>(i), length, uint8_t{wire::kOptionNop});
    } else if (frame[i] == wire::kOptionSack) {
      for (size_t at = i + 2; at < i + length; at += 4) add_at(&frame[at], t.ack);
    }
    i += length;
  }
}

// Of a frame that was IPv6 before: RFC 7915 section 5.1.
void may_be_cut(Octets& frame) {
  if (base::load_be16(&frame[16]) > 1260) return;
  frame[18] = frame[40], frame[19] = frame[41];  // the last bits of the sequence number
  frame[20] = frame[21] = 0;
  repair_ip(frame);
}

// The frame that must come of it: built around the same segment by a sender of the other side.
Octets expected_frame(const Octets& original, const Side& to, const Translation& t,
                      Direction direction) {
  Octets segment(original.begin() + static_cast<ptrdiff_t>(tcp_at(original)), original.end());
  base::store_be16(&segment[0], to.source.port);
  base::store_be16(&segment[2], to.destination.port);
  add_at(&segment[4], t.seq);
  if ((segment[13] & wire::kAck) != 0) add_at(&segment[8], t.ack);
  translate_options(segment, 0, t, direction);

  Octets frame(kMacD.octets.begin(), kMacD.octets.end());
  frame.insert(frame.end(), kMacC.octets.begin(), kMacC.octets.end());
  const auto length = static_cast<uint16_t>(segment.size());
  const auto source = to.source.address.octets();
  const auto destination = to.destination.address.octets();
  size_t skipped = 0;
  if (to.source.address.is_v4()) {
    const auto total = static_cast<uint16_t>(length + 20);
    const Octets ip{0x08,
                    0x00,
                    0x45,
                    0,
                    static_cast<uint8_t>(total >> 8),
                    static_cast<uint8_t>(total),
                    0,
                    0,
                    0x40,
                    0,
                    64,
                    6,
                    0,
                    0};
    frame.insert(frame.end(), ip.begin(), ip.end());
    skipped = 12;
  } else {
    const Octets ip{
        0x86, 0xdd, 0x60, 0, 0, 0, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length),
        6,    64};
    frame.insert(frame.end(), ip.begin(), ip.end());
  }
  frame.insert(frame.end(), source.begin() + static_cast<ptrdiff_t>(skipped), source.end());
  frame.insert(frame.end(), destination.begin() + static_cast<ptrdiff_t>(skipped),
               destination.end());
  frame.insert(frame.end(), segment.begin(), segment.end());
  set_traffic_class(frame, traffic_class_of(original));
  repair_ip(frame);
  repair_tcp(frame);
  if (original[12] == 0x86 && to.source.address.is_v4()) may_be_cut(frame);
  return frame;
}

void check_rewrite(const Octets& original, const Side& to, const Translation& t,
                   Direction direction) {
  Buffer buffer(original);
  wire::Packet packet = buffer.parse(kMacB);
  assert_true(splice::rewrite_segment(packet, t, direction, path_to(to)));
  const Octets frame = buffer.frame_of(packet);
  const Octets expected = expected_frame(original, to, t, direction);
  assert_int_equal(frame.size(), expected.size());
  assert_memory_equal(frame.data(), expected.data(), frame.size());
  buffer.check_others_untouched(packet);
  // What the packet says of itself is what the frame says.
  Octets copy = frame;
  const auto again = wire::parse_packet(copy, {kMacD, 1500}, wire::HardwareChecksum::unknown);
  assert_true(again.has_value());
  assert_int_equal(packet.is_v6, again->is_v6);
  assert_int_equal(packet.network - packet.frame, again->network - again->frame);
  assert_int_equal(packet.transport - packet.frame, again->transport - again->frame);
  assert_int_equal(packet.transport_length, again->transport_length);
}

struct Families {
  bool from_v6, to_v6;
};
constexpr Families kFamilies[] = {{false, false}, {false, true}, {true, false}, {true, true}};

void test_whole_frames(void**) {
  std::mt19937 random(61);
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    for (int round = 0; round < 20000; ++round) {
      Translation t = translation_between(from, to, number(random), number(random), number(random));
      t.strip_sack = random() % 4 == 0;
      const Direction direction = random() % 2 == 0 ? Direction::to_broker : Direction::to_client;
      check_rewrite(random_segment(random, from), to, t, direction);
    }
  }
}

// Addresses whose sums carry, or do not, by chance.
void test_any_addresses(void**) {
  std::mt19937 random(62);
  const auto any_end = [&](bool is_v6) {
    uint8_t octets[16] = {0x20, 0x01};
    for (size_t i = 2; i < 16; i += 2) {
      base::store_be16(octets + i, static_cast<uint16_t>(number(random)));
    }
    const auto port = static_cast<uint16_t>(1 + random() % 65535);
    return is_v6 ? wire::Endpoint{wire::IpAddress::load_v6(octets), port}
                 : wire::Endpoint{wire::IpAddress::v4(0x01000000 + uint32_t(random()) % 0x70000000),
                                  port};
  };
  for (int round = 0; round < 20000; ++round) {
    const Families families = kFamilies[random() % std::size(kFamilies)];
    const Side from{any_end(families.from_v6), any_end(families.from_v6)};
    const Side to{any_end(families.to_v6), any_end(families.to_v6)};
    const Translation t =
        translation_between(from, to, number(random), number(random), number(random));
    if (from.source.address.v4_bits() >> 24 == 127 && !families.from_v6) continue;  // loopback
    if (to.source.address.v4_bits() >> 24 == 127 && !families.to_v6) continue;
    check_rewrite(random_segment(random, from), to, t, Direction::to_broker);
  }
}

// There and back is where it was, whatever lies between; the hop limit counts anew.
void test_inverse(void**) {
  std::mt19937 random(63);
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    for (int round = 0; round < 10000; ++round) {
      const Octets original = random_segment(random, from);
      const Translation t =
          translation_between(from, to, number(random), number(random), number(random));
      const Translation back = translation_between(to, from, -t.seq, -t.ack, -t.timestamp);
      Buffer there(original);
      wire::Packet packet = there.parse(kMacB);
      assert_true(splice::rewrite_segment(packet, t, Direction::to_broker, path_to(to)));
      Buffer home(there.frame_of(packet));
      wire::Packet again = home.parse(kMacD);
      // The direction only says which timestamp is translated.
      assert_true(
          splice::rewrite_segment(again, back, Direction::to_broker,
                                  {from.source, from.destination, kMacA, kMacB, families.from_v6}));
      Octets expected = original;
      if (families.to_v6 && !families.from_v6) may_be_cut(expected);
      assert_true(home.frame_of(again) == expected);
    }
  }
}

// Each value, so all of ECN's (RFC 3168 section 5) and of DSCP's.
void test_traffic_class_goes_on(void**) {
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    const Translation t = translation_between(from, to, 1, 2, 3);
    for (unsigned value = 0; value < 256; ++value) {
      Octets frame = make_frame_between(from.source, from.destination, {}, {9});
      set_traffic_class(frame, static_cast<uint8_t>(value));
      Buffer buffer(frame);
      wire::Packet packet = buffer.parse(kMacB);
      assert_true(splice::rewrite_segment(packet, t, Direction::to_broker, path_to(to)));
      const Octets rewritten = buffer.frame_of(packet);
      assert_int_equal(traffic_class_of(rewritten), value);
      assert_true(checksums_right(rewritten));
    }
  }
}

// A header of our own: what the sender's said of hops, flow label and identification stays behind
// where the family changes or the header is IPv6's.
void test_rest_of_the_header(void**) {
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    Octets frame = make_frame_between(from.source, from.destination, {}, {9});
    if (families.from_v6) {
      frame[15] |= 0x0a, frame[16] = 0xbc, frame[17] = 0xde;
      frame[21] = 3;
    } else {
      frame[18] = 0x12, frame[19] = 0x34;
      frame[22] = 3;
      repair_ip(frame);
    }
    Buffer buffer(frame);
    wire::Packet packet = buffer.parse(kMacB);
    assert_true(splice::rewrite_segment(packet, translation_between(from, to, 1, 2, 3),
                                        Direction::to_broker, path_to(to)));
    const Octets out = buffer.frame_of(packet);
    assert_true(checksums_right(out));
    if (families.to_v6) {
      assert_int_equal(base::load_be32(&out[14]), 0x60000000);
      assert_int_equal(out[21], 64);
    } else {
      // What was IPv6 may be cut; the last bits of its sequence number identify it.
      const uint16_t seq = base::load_be16(&out[40]);
      assert_int_equal(base::load_be16(&out[18]), families.from_v6 ? seq : 0x1234);
      assert_int_equal(base::load_be16(&out[20]), families.from_v6 ? 0 : 0x4000);
      assert_int_equal(out[22], 64);
    }
  }
}

// Every place that timestamps and blocks can have, so that no alignment is left to chance.
void test_each_alignment(void**) {
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    const Translation t = translation_between(from, to, 0x10203, 0xabcdef01, 0x7654321);
    for (size_t nops = 0; nops < 30; ++nops) {
      for (size_t blocks = 0; blocks <= 4; ++blocks) {
        const size_t size = blocks == 0 ? 10 : 2 + 8 * blocks;
        if (nops + size > wire::kMaxTcpOptions) continue;
        Octets options(nops, wire::kOptionNop);
        options.push_back(blocks == 0 ? wire::kOptionTimestamps : wire::kOptionSack);
        options.push_back(static_cast<uint8_t>(size));
        for (size_t i = 0; i < (size - 2) / 4; ++i) append_be32(options, 0xfffffffeU + uint32_t(i));
        const Octets frame = make_frame_between(from.source, from.destination, options, {9});
        check_rewrite(frame, to, t, Direction::to_broker);
        check_rewrite(frame, to, t, Direction::to_client);
      }
    }
  }
}

// Padding is of the frame that came, not of the packet.
void test_padding_stays_behind(void**) {
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    const Translation t = translation_between(from, to, 1, 2, 3);
    Octets frame = make_frame_between(from.source, from.destination, {}, {}, wire::kAck);
    const size_t length = frame.size();
    frame.insert(frame.end(), 6, 0xee);
    Buffer buffer(frame);
    wire::Packet packet = buffer.parse(kMacB);
    assert_true(splice::rewrite_segment(packet, t, Direction::to_broker, path_to(to)));
    assert_int_equal(packet.frame_length, families.to_v6 ? 74 : 54);
    frame.resize(length);
    assert_true(buffer.frame_of(packet) == expected_frame(frame, to, t, Direction::to_broker));
  }
}

void test_malformed_options(void**) {
  const Octets rows[] = {{8, 10, 0, 0}, {5, 2, 1, 1}, {254, 0, 0, 0}, {1, 1, 1, 8}};
  for (const Families families : kFamilies) {
    const Side from = client_side(families.from_v6);
    const Side to = broker_side(families.to_v6);
    for (const Octets& options : rows) {
      Buffer buffer(make_frame_between(from.source, from.destination, options, {}));
      wire::Packet packet = buffer.parse(kMacB);
      assert_false(splice::rewrite_segment(packet, translation_between(from, to, 1, 2, 3),
                                           Direction::to_broker, path_to(to)));
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_whole_frames),
      cmocka_unit_test(test_any_addresses),
      cmocka_unit_test(test_inverse),
      cmocka_unit_test(test_traffic_class_goes_on),
      cmocka_unit_test(test_rest_of_the_header),
      cmocka_unit_test(test_each_alignment),
      cmocka_unit_test(test_padding_stays_behind),
      cmocka_unit_test(test_malformed_options),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
