// The simulator's small parts: interval sets, reassembly, frames, links, capture, hosts.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

#include "lib/pcap/reader.hh"
#include "tests/support/sim/interval_set.hh"
#include "tests/support/sim/reassembly.hh"
#include "tests/support/temporary_directory.hh"
#include "tests/unit/sim_fixture.hh"

// Last: it defines fail and skip as macros.
extern "C" {
#include <cmocka.h>
}

namespace mqlb::sim {
namespace {

// Against one flag a number.
void test_interval_set(void**) {
  Random random(1);
  for (int round = 0; round < 200; ++round) {
    IntervalSet set;
    std::array<bool, 64> model{};
    for (int step = 0; step < 20; ++step) {
      const uint64_t a = random.below(60);
      const uint64_t b = a + random.below(5);
      if (random.chance(0.9)) {
        set.add(a, b);
        for (uint64_t i = a; i < b; ++i) model[i] = true;
      } else {
        set.remove_below(a);
        for (uint64_t i = 0; i < a; ++i) model[i] = false;
      }
      uint64_t covered = 0;
      for (uint64_t i = 0; i < 64; ++i) {
        assert_int_equal(set.covered_below(i), covered);
        assert_int_equal(set.contains(i, i + 1), model[i]);
        uint64_t end = i;
        while (end < 64 && model[end]) ++end;
        assert_int_equal(set.past(i), end);
        covered += model[i] ? 1U : 0U;
      }
      uint64_t previous = UINT64_MAX;
      for (const auto& [from, to] : set.ranges()) {
        assert_true(from < to && (previous == UINT64_MAX || from > previous));
        previous = to;
      }
    }
  }
}

// Random pieces of a known stream in random order give that stream, each byte once.
void test_reassembly(void**) {
  Random random(2);
  for (int round = 0; round < 300; ++round) {
    Buffer stream(random.between(1, 300));
    for (auto& b : stream) b = static_cast<uint8_t>(random.u32());
    ReceiveQueue queue;
    Buffer read;
    queue.set_fin(stream.size());
    while (queue.next() < stream.size()) {
      assert_false(queue.fin_reached());
      const uint64_t from = random.below(stream.size());
      const uint64_t size = std::min(random.between(1, 40), stream.size() - from);
      const uint64_t before = queue.next();
      const base::Bytes ready = queue.insert(from, base::Bytes(stream).subspan(from, size));
      assert_int_equal(ready.size(), queue.next() - before);
      assert_true(queue.has(from, from + size));
      assert_memory_equal(ready.data() == nullptr ? stream.data() : ready.data(),
                          stream.data() + before, ready.size());
      if (random.chance(0.3)) queue.read(random.below(50), read);
    }
    queue.read(SIZE_MAX, read);
    assert_true(queue.fin_reached() && queue.early().empty());
    assert_true(read == stream);
  }
}

Segment random_segment(Random& random, const Buffer& payload) {
  Segment s;
  s.source = {client_address(1), static_cast<uint16_t>(random.u32())};
  s.destination = kBrokerEndpoint;
  s.seq = base::Seq32(random.u32());
  s.ack = base::Seq32(random.u32());
  s.window = static_cast<uint16_t>(random.u32());
  s.layout = random.chance(0.5) ? OptionLayout::odd : OptionLayout::aligned;
  s.flags = random.chance(0.3) ? kSyn : kAck;
  if (random.chance(0.7)) s.timestamps = Timestamps{random.u32(), random.u32()};
  if (s.has(kSyn)) {
    s.mss = static_cast<uint16_t>(random.u32());
    s.window_scale = static_cast<uint8_t>(random.below(15));
    s.sack_permitted = true;
  } else {
    s.sack_count = random.below(s.timestamps ? 4 : 5);
    for (size_t i = 0; i < s.sack_count; ++i) {
      s.sack[i] = {base::Seq32(random.u32()), base::Seq32(random.u32())};
    }
    s.payload = payload;
  }
  return s;
}

void test_frames_round_trip(void**) {
  Random random(3);
  for (int round = 0; round < 2000; ++round) {
    const Buffer payload(random.below(50), static_cast<uint8_t>(round));
    const Segment s = random_segment(random, payload);
    Buffer frame = encode_segment({{2}}, {{4}}, s, 7);
    Segment p;
    assert_int_equal(parse_segment(frame, p), FrameFault::none);
    assert_string_equal(describe(p).c_str(), describe(s).c_str());
    assert_int_equal(p.mss.value_or(0), s.mss.value_or(0));
    assert_int_equal(p.window_scale.value_or(99), s.window_scale.value_or(99));
    assert_int_equal(p.sack_permitted, s.sack_permitted);
    assert_int_equal(p.option_bytes % 4, 0);
    // Any one bit behind the Ethernet header is noticed.
    const size_t at = kEthernetHeader + random.below(frame.size() - kEthernetHeader);
    frame[at] ^= static_cast<uint8_t>(1U << random.below(8));
    assert_int_not_equal(parse_segment(frame, p), FrameFault::none);
  }
}

// Scapy's Ether()/IP()/TCP() with its defaults: the checksums of others are taken as right.
void test_known_frame(void**) {
  const Buffer frame{0x02, 0,    0,    0,    0,    2,    0x02, 0,    0,    0,    0,
                     1,    0x08, 0x00, 0x45, 0x00, 0x00, 0x28, 0x00, 0x01, 0x00, 0x00,
                     0x40, 0x06, 0x7c, 0xcd, 0x7f, 0x00, 0x00, 0x01, 0x7f, 0x00, 0x00,
                     0x01, 0x00, 0x14, 0x00, 0x50, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                     0x00, 0x00, 0x50, 0x02, 0x20, 0x00, 0x91, 0x7c, 0x00, 0x00};
  Segment s;
  assert_int_equal(parse_segment(frame, s), FrameFault::none);
  assert_string_equal(describe(s).c_str(),
                      "127.0.0.1:20 > 127.0.0.1:80 S seq 0 ack 0 win 8192 len 0");
}

void test_link_keeps_its_odds(void**) {
  Link link({.loss = 0.1, .duplication = 0.2, .reordering = 0.3, .corruption = 0.05}, Random(4));
  Random random(1);
  const Buffer payload(40, 0x55);
  const Buffer frame = encode_segment({}, {}, random_segment(random, payload), 1);
  unsigned arrived = 0;
  for (int i = 0; i < 10'000; ++i) {
    link.send({frame, false}, Instant{}, [&](Instant, const Frame& copy) {
      ++arrived;
      Segment s;
      assert_true((parse_segment(copy.bytes, s) != FrameFault::none) == copy.damaged);
    });
  }
  const LinkCounters& c = link.counters();
  assert_in_range(c.lost, 900, 1100);
  assert_in_range(c.duplicated, 1850, 2150);
  assert_in_range(c.reordered, 2450, 2950);
  assert_in_range(c.damaged, 380, 530);
  assert_int_equal(arrived, c.frames - c.lost + c.duplicated);
}

void test_capture(void**) {
  const tests::TemporaryDirectory directory;
  const std::string path = directory.file("world.pcapng");
  const Buffer frame(60, 0xaa);
  {
    WireDut wire;
    World world({}, wire);
    assert_true(world.capture(path));
    world.at(Instant{Duration{3'000'007}}, [&] { world.inject(0, frame); });
    assert_true(world.run());
    assert_false(world.capture("/nonexistent/file"));
  }
  auto reader = pcap::Reader::open(path);
  assert_true(reader.has_value());
  for (int i = 0; i < 2; ++i) {  // into the device, and out of it
    const auto record = reader->next();
    assert_true(record && *record);
    assert_int_equal((*record)->time, 3'000'007'000);
    assert_true(std::ranges::equal((*record)->bytes, frame));
  }
  const auto end = reader->next();
  assert_true(end && !*end);
}

// Takes frames for port 0 away from the wire and keeps them.
class Tap final : public Dut {
 public:
  void receive(unsigned port, base::Bytes frame, base::Instant, FrameSink& out) override {
    if (port == 1) kept.emplace_back(frame.begin(), frame.end());
    if (port == 0) out.transmit(1, frame);
  }
  void advance(base::Instant, FrameSink&) override {}
  std::vector<Buffer> kept;
};

struct StrayRow {
  const char* name;
  uint8_t flags;
  uint16_t port;
  const char* answer;  // the last part of its description
};

// RFC 9293 section 3.10.7.1.
void test_host_resets_strays(void**) {
  const StrayRow rows[] = {
      {"SYN to a closed port", kSyn, 9, " RA seq 0 ack 1001 win 0 len 0"},
      {"ACK to a closed port", kAck, 9, " R seq 2000 ack 0 win 0 len 0"},
      {"data to a listener", kAck | kPsh, 1883, " R seq 2000 ack 0 win 0 len 0"},
      {"FIN without ACK", kFin, 9, " RA seq 0 ack 1001 win 0 len 0"},
      {"RST", kRst, 9, ""},
  };
  for (const StrayRow& row : rows) {
    auto tap = std::make_unique<Tap>();
    Tap* device = tap.get();
    auto net = std::make_unique<Net>(1, std::move(tap), LinkConfig{}, LinkConfig{});
    net->serve();
    const auto me = wire::MacAddress{{2, 0, 0, 0, 0, 9}};
    const Resolution ask{true, me, client_address(0), {}, kBrokerEndpoint.address};
    net->world.inject(0, encode_resolution(ask));
    Segment s;
    s.source = {client_address(0), 77};
    s.destination = {kBrokerEndpoint.address, row.port};
    s.seq = base::Seq32(1000);
    s.ack = base::Seq32(2000);
    s.flags = row.flags;
    net->world.inject(0, encode_segment(me, {{2, 0, 0, 0, 0, 2}}, s, 1));
    assert_true(net->world.run());
    assert_int_equal(device->kept.size(), *row.answer == '\0' ? 1 : 2);
    const auto arp = parse_resolution(device->kept[0]);
    assert_true(arp && !arp->request && arp->sender == kBrokerEndpoint.address);
    if (*row.answer == '\0') continue;
    Segment answer;
    assert_int_equal(parse_segment(device->kept[1], answer), FrameFault::none);
    const std::string expected =
        to_string(s.destination) + " > " + to_string(s.source) + row.answer;
    assert_string_equal(describe(answer).c_str(), expected.c_str());
  }
}

// A busy device keeps the world going, with a tick each millisecond.
class BusyFor final : public Dut {
 public:
  explicit BusyFor(unsigned ticks) : left_(ticks) {}
  void receive(unsigned, base::Bytes, base::Instant, FrameSink&) override {}
  void advance(base::Instant, FrameSink&) override { left_ -= left_ > 0 ? 1 : 0; }
  [[nodiscard]] bool busy() const override { return left_ > 0; }

 private:
  unsigned left_;
};

void test_world_ticks_while_busy(void**) {
  BusyFor device(250);
  World world({}, device);
  const Instant start = world.now();
  assert_true(world.run());
  assert_int_equal(world.dut_counters().ticks, 250);
  assert_int_equal((world.now() - start).count(), 249'000);
  BusyFor longer(1000);
  World second({}, longer);
  assert_false(second.run(Duration{100'000}));
  assert_int_equal((second.now() - start).count(), 100'000);
}

}  // namespace
}  // namespace mqlb::sim

int main() {
  using namespace mqlb::sim;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_interval_set),        cmocka_unit_test(test_reassembly),
      cmocka_unit_test(test_frames_round_trip),   cmocka_unit_test(test_known_frame),
      cmocka_unit_test(test_link_keeps_its_odds), cmocka_unit_test(test_capture),
      cmocka_unit_test(test_host_resets_strays),  cmocka_unit_test(test_world_ticks_while_busy),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
