// The splice by its properties: the inverse gives the original back, and the checksum is always
// what a sender would have computed.
#include <random>

#include "lib/splice/translation.hh"
#include "lib/wire/tcp_options.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/random_options.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using base::Seq32;
using splice::Direction;
using splice::Translation;

const wire::Endpoint kSnat{wire::IpAddress::v4(0xc6120164), 1024};
const wire::Endpoint kBroker{wire::IpAddress::v4(0xc612010b), 8883};
const wire::MacAddress kMacC{{0x02, 0, 0, 0, 0, 0x0c}};
const wire::MacAddress kMacD{{0x02, 0, 0, 0, 0, 0x0d}};

Octets random_segment(std::mt19937& random) {
  const uint8_t flags[] = {wire::kAck, wire::kAck | wire::kPsh, wire::kAck | wire::kFin,
                           wire::kRst, wire::kRst | wire::kAck, wire::kSyn};
  Octets payload(random() % 4 == 0 ? random() % 100 : 0);
  for (uint8_t& b : payload) b = static_cast<uint8_t>(random());
  Octets frame = make_frame(random_options(random), payload, flags[random() % std::size(flags)]);
  base::store_be32(&frame[38], number(random));
  base::store_be32(&frame[42], number(random));
  base::store_be16(&frame[48], static_cast<uint16_t>(number(random)));
  frame[22] = 64;  // what a rewrite leaves too, so that whole frames compare
  repair_ip(frame);
  repair_tcp(frame);
  return frame;
}

Translation to_broker(uint32_t seq, uint32_t ack, uint32_t timestamp) {
  Translation t{seq, ack, timestamp};
  t.checksum =
      splice::checksum_constant(client_endpoint(), listener_endpoint(), kSnat, kBroker, seq, ack);
  return t;
}

// As the proxy makes it: seq and ack change places with the direction.
Translation back_to_client(const Translation& t) {
  Translation back{-t.seq, -t.ack, -t.timestamp};
  back.checksum = splice::checksum_constant(kSnat, kBroker, client_endpoint(), listener_endpoint(),
                                            back.seq, back.ack);
  return back;
}

bool rewrite_to_broker(Octets& frame, const Translation& t) {
  auto packet = parse(frame);
  assert_true(packet.has_value());
  return splice::rewrite_segment(*packet, t, Direction::to_broker, {kSnat, kBroker, kMacC, kMacD});
}

// Back to where it came from. The direction only says which timestamp is translated, so it stays.
bool rewrite_back(Octets& frame, const Translation& t) {
  auto packet = wire::parse_packet(frame, {kMacD, 1500}, wire::HardwareChecksum::unknown);
  assert_true(packet.has_value());
  return splice::rewrite_segment(*packet, t, Direction::to_broker,
                                 {client_endpoint(), listener_endpoint(), kMacA, kMacB});
}

uint32_t seq_of(const Octets& frame) { return base::load_be32(&frame[38]); }
uint32_t ack_of(const Octets& frame) { return base::load_be32(&frame[42]); }
uint16_t window_of(const Octets& frame) { return base::load_be16(&frame[48]); }

void test_inverse_and_checksum(void**) {
  std::mt19937 random(8);
  for (int round = 0; round < 100000; ++round) {
    const Octets original = random_segment(random);
    const Translation t = to_broker(number(random), number(random), number(random));
    Octets frame = original;
    assert_true(rewrite_to_broker(frame, t));
    assert_true(checksums_right(frame));
    assert_int_equal(base::load_be16(&frame[50]), full_tcp_checksum(frame));
    assert_int_equal(seq_of(frame), seq_of(original) + t.seq);
    const bool has_ack = (original[47] & wire::kAck) != 0;
    assert_int_equal(ack_of(frame), ack_of(original) + (has_ack ? t.ack : 0));
    assert_true(rewrite_back(frame, back_to_client(t)));
    assert_int_equal(frame.size(), original.size());
    assert_memory_equal(frame.data(), original.data(), frame.size());
  }
}

// The fields themselves, read by the parser: only the other side's clock and bytes move.
void test_options_move(void**) {
  std::mt19937 random(9);
  for (int round = 0; round < 20000; ++round) {
    const Octets original = random_segment(random);
    Octets frame = original;
    const Translation t = to_broker(0, number(random), number(random));
    const Direction direction = random() % 2 == 0 ? Direction::to_broker : Direction::to_client;
    auto packet = parse(frame);
    const Octets bytes_before(packet->tcp().options().begin(), packet->tcp().options().end());
    const auto before = wire::parse_tcp_options(bytes_before);
    assert_true(splice::rewrite_segment(*packet, t, direction, {kSnat, kBroker, kMacC, kMacD}));
    const base::Bytes bytes_after = packet->tcp().options();
    const auto after = wire::parse_tcp_options(bytes_after);
    assert_true(before && after);
    assert_int_equal(before->timestamps.has_value(), after->timestamps.has_value());
    if (before->timestamps) {
      const bool echo = direction == Direction::to_broker;
      assert_int_equal(after->timestamps->value,
                       before->timestamps->value + (echo ? 0 : t.timestamp));
      assert_int_equal(after->timestamps->echo_reply,
                       before->timestamps->echo_reply + (echo ? t.timestamp : 0));
    }
    assert_int_equal(before->sack_blocks, after->sack_blocks);
    for (size_t i = 0; i < size_t{2} * before->sack_blocks; ++i) {
      const size_t at = before->sack_offset + 4 * i;
      assert_int_equal(base::load_be32(&bytes_after[at]),
                       base::load_be32(&bytes_before[at]) + t.ack);
    }
    assert_true(checksums_right(frame));
  }
}

// Every place that timestamps and blocks can have, so that no alignment is left to chance.
void test_each_alignment(void**) {
  for (size_t nops = 0; nops < 30; ++nops) {
    for (size_t blocks = 0; blocks <= 4; ++blocks) {
      const size_t size = blocks == 0 ? 10 : 2 + 8 * blocks;
      if (nops + size > wire::kMaxTcpOptions) continue;
      Octets options(nops, wire::kOptionNop);
      options.push_back(blocks == 0 ? wire::kOptionTimestamps : wire::kOptionSack);
      options.push_back(static_cast<uint8_t>(size));
      for (size_t i = 0; i < (size - 2) / 4; ++i) append_be32(options, 0xfffffffeU + uint32_t(i));
      Octets frame = make_frame(options, {9});
      const Octets original = frame;
      const Translation t = to_broker(0x10203, 0xabcdef01, 0x7654321);
      assert_true(rewrite_to_broker(frame, t));
      assert_true(checksums_right(frame));
      const uint32_t moved = base::load_be32(&frame[54 + nops + 2 + (blocks == 0 ? 4 : 0)]);
      assert_int_equal(moved, blocks == 0 ? 0xffffffffU + t.timestamp : 0xfffffffeU + t.ack);
      assert_true(rewrite_back(frame, back_to_client(t)));
      assert_memory_equal(&frame[54], &original[54], frame.size() - 54);
    }
  }
}

// A checksum of 0xffff means the same to a receiver as 0, and must not survive as something wrong.
void test_other_zero(void**) {
  for (uint32_t seq = 0; seq < 70000; ++seq) {
    Octets frame = make_frame({}, {}, wire::kAck);
    base::store_be32(&frame[38], seq);
    repair_tcp(frame);
    if (base::load_be16(&frame[50]) != 0) continue;
    base::store_be16(&frame[50], 0xffff);
    assert_true(rewrite_to_broker(frame, to_broker(5, 6, 7)));
    assert_int_equal(base::load_be16(&frame[50]), full_tcp_checksum(frame));
    return;
  }
  fail_msg("no segment with a checksum of zero");
}

void test_window_shift(void**) {
  const struct {
    uint16_t window;
    int8_t shift;
    uint16_t expected;
  } rows[] = {
      {0, 0, 0},         {0, 7, 0},          {0, -7, 0},        {1, 0, 1},         {1, 3, 8},
      {1, -1, 1},        {127, -7, 1},       {128, -7, 1},      {256, -7, 2},      {65535, -14, 3},
      {65535, 1, 65535}, {65535, 14, 65535}, {32768, 1, 65535}, {32767, 1, 65534}, {4, 14, 65535},
      {3, 14, 49152},    {1, -14, 1},
  };
  for (const auto& row : rows) {
    for (const uint8_t flags : {wire::kAck, wire::kSyn}) {
      Octets frame = make_frame({}, {}, flags);
      base::store_be16(&frame[48], row.window);
      repair_tcp(frame);
      Translation t = to_broker(1, 2, 3);
      t.window_shift = row.shift;
      assert_true(rewrite_to_broker(frame, t));
      // The window of a SYN is never scaled.
      assert_int_equal(window_of(frame), flags == wire::kSyn ? row.window : row.expected);
      assert_true(checksums_right(frame));
    }
  }
}

void test_strip_sack(void**) {
  std::mt19937 random(10);
  for (int round = 0; round < 20000; ++round) {
    Octets frame = random_segment(random);
    Translation t = to_broker(number(random), number(random), number(random));
    t.strip_sack = true;
    const size_t size = frame.size();
    auto packet = parse(frame);
    const auto before = wire::parse_tcp_options(packet->tcp().options());
    assert_true(rewrite_to_broker(frame, t));
    assert_int_equal(frame.size(), size);
    assert_true(checksums_right(frame));
    const auto after = wire::parse_tcp_options(packet->tcp().options());
    assert_true(after && after->sack_blocks == 0);
    assert_int_equal(after->timestamps.has_value(), before->timestamps.has_value());
    if (!after->timestamps) continue;
    assert_int_equal(after->timestamps->echo_reply, before->timestamps->echo_reply + t.timestamp);
  }
}

void test_malformed_options(void**) {
  const Octets rows[] = {
      {8, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {8, 10, 0, 0},
      {5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
      {5, 2, 1, 1},
      {1, 1, 1, 8},
      {254, 0, 0, 0},
      {254, 1, 0, 0},
      {3, 3, 7, 5},
      {1, 1, 8, 11},
  };
  for (const Octets& options : rows) {
    Octets frame = make_frame(options, {});
    assert_false(rewrite_to_broker(frame, to_broker(1, 2, 3)));
  }
}

void test_replace_ack(void**) {
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    Octets frame = random_segment(random);
    const uint32_t ack = number(random);
    auto packet = parse(frame);
    splice::replace_ack(packet->tcp(), Seq32(ack));
    assert_int_equal(ack_of(frame), ack);
    assert_true(checksums_right(frame));
  }
}

void test_raise_tsecr(void**) {
  const struct {
    uint32_t tsecr, floor;
    bool raised;
  } rows[] = {
      {5, 5, false},         {6, 5, false},          {4, 5, true},
      {0xfffffff0, 5, true}, {5, 0xfffffff0, false}, {0x7fffffff, 0xfffffffe, true},
      {0, 1, true},
  };
  for (const auto& row : rows) {
    for (size_t nops = 0; nops < 8; ++nops) {
      Octets options(nops, wire::kOptionNop);
      options.insert(options.end(), {8, 10, 0, 0, 0, 77});
      append_be32(options, row.tsecr);
      Octets frame = make_frame(options, {});
      auto packet = parse(frame);
      assert_int_equal(splice::raise_tsecr(*packet, row.floor), row.raised);
      const auto after = wire::parse_tcp_options(packet->tcp().options());
      assert_int_equal(after->timestamps->echo_reply, row.raised ? row.floor : row.tsecr);
      assert_int_equal(after->timestamps->value, 77);
      assert_true(checksums_right(frame));
    }
  }
  for (const Octets& options : {Octets{}, Octets{1, 1, 1, 1}, Octets{8, 10, 0, 0}}) {
    Octets frame = make_frame(options, {});
    const Octets original = frame;
    auto packet = parse(frame);
    assert_false(splice::raise_tsecr(*packet, 0x7fffffff));
    assert_true(frame == original);
  }
}

// ECN, DSCP, flags and payload are the ends' own.
void test_leaves_the_rest_alone(void**) {
  Octets frame = make_frame({1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}, {1, 2, 3});
  frame[15] = 0xbb;   // DSCP and CE
  frame[18] = 0x12;   // identification
  frame[47] |= 0xc0;  // ECE and CWR
  frame[46] |= 0x01;  // accurate ECN
  repair_tcp(frame);
  repair_ip(frame);
  const Octets original = frame;
  assert_true(rewrite_to_broker(frame, to_broker(7, 8, 9)));
  assert_true(checksums_right(frame));
  assert_int_equal(frame[15], 0xbb);
  assert_memory_equal(&frame[16], &original[16], 6);
  assert_int_equal(frame[46], original[46]);
  assert_int_equal(frame[47], original[47]);
  assert_memory_equal(&frame[66], &original[66], 3);
  assert_memory_equal(frame.data(), kMacD.octets.data(), 6);
  assert_memory_equal(frame.data() + 6, kMacC.octets.data(), 6);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_inverse_and_checksum), cmocka_unit_test(test_options_move),
      cmocka_unit_test(test_each_alignment),       cmocka_unit_test(test_other_zero),
      cmocka_unit_test(test_window_shift),         cmocka_unit_test(test_strip_sack),
      cmocka_unit_test(test_malformed_options),    cmocka_unit_test(test_replace_ack),
      cmocka_unit_test(test_raise_tsecr),          cmocka_unit_test(test_leaves_the_rest_alone),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
