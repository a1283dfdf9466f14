// Frames that no honest host sends: each is counted under exactly one name, answered as it should
// be, and changes nothing.
#include <algorithm>
#include <functional>

#include "tests/engine/bench.hh"
#include "tests/engine/icmp_frames.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<uint8_t>;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;
using sim::kSyn;

constexpr size_t kEth = 14;
constexpr size_t kIpChecksum = kEth + 10;
constexpr size_t kTcp = kEth + 20;

// A segment of nobody's flow, from a client's address or a broker's.
RawEnd stranger(unsigned port) {
  RawEnd e = raw_client(7777, 1);
  if (port == kBrokers) {
    e.port = kBrokers;
    e.mac = broker_mac(0);
    e.local = broker_endpoint(0);
    e.remote = {snat_address(0), 4321};
  }
  e.nxt = base::Seq32(0x12345678);
  e.peer = base::Seq32(0x9abcdef0);
  return e;
}

Bytes encode(const RawEnd& end, const sim::Segment& s) {
  return sim::encode_segment(end.mac, kPortMacs[end.port], s, 1);
}

// A good frame that `change` spoils; its checksums are made right again unless told otherwise.
Bytes spoilt(uint8_t flags, const std::function<void(Bytes&)>& change, bool fix = true) {
  const RawEnd end = stranger(kClients);
  const Bytes payload(30, 'x');
  Bytes frame = encode(end, end.segment(flags, payload));
  change(frame);
  if (fix) sim::fix_checksums(frame);
  return frame;
}

Bytes from_stranger(unsigned port, uint8_t flags) {
  const RawEnd end = stranger(port);
  return encode(end, end.segment(flags));
}

Bytes to_port(uint16_t port, uint8_t flags) {
  RawEnd end = stranger(kClients);
  end.remote.port = port;
  return encode(end, end.segment(flags));
}

Bytes syn_from(const wire::IpAddress& source) {
  RawEnd end = stranger(kClients);
  end.local.address = source;
  return encode(end, end.segment(kSyn));
}

// A segment whose four bytes of options are these.
Bytes with_options(uint8_t flags, const std::array<uint8_t, 4>& options) {
  const RawEnd end = stranger(kClients);
  sim::Segment s = end.segment(flags);
  s.mss = 1460;
  Bytes frame = encode(end, s);
  std::copy(options.begin(), options.end(), frame.begin() + kTcp + 20);
  sim::fix_checksums(frame);
  return frame;
}

Bytes icmp(uint8_t type, const Bytes& body) {
  return icmp_frame(kClients, client_mac(0), client_address(0), listener_endpoint().address, type,
                    0, body);
}

Bytes bad_icmp_checksum() {
  Bytes frame = icmp(8, {0, 0, 0, 0});
  frame[kTcp + 2] ^= 1;
  return frame;
}

Bytes error_of_nobodys_flow() {
  const RawEnd client = stranger(kClients);
  RawEnd us = client;
  std::swap(us.local, us.remote);
  return fragmentation_needed(kClients, client.local.address,
                              {kClients, encode(us, us.segment(kAck)), true, {}}, 28, 1000);
}

Bytes arp(const std::function<void(Bytes&)>& change) {
  const sim::Resolution request{
      true, client_mac(0), client_address(0), {}, listener_endpoint().address};
  Bytes frame = sim::encode_resolution(request);
  change(frame);
  return frame;
}

enum class Answer : uint8_t { none, reset, reset_ack };

struct Hostile {
  const char* what;
  unsigned port;
  Bytes frame;
  std::string drop;
  Answer answer = Answer::none;
};

std::vector<Hostile> frames_below_tcp() {
  const auto set = [](size_t at, uint8_t value) {
    return [at, value](Bytes& f) { f[at] = value; };
  };
  const auto cut = [](size_t size) { return [size](Bytes& f) { f.resize(size); }; };
  return {
      {"empty", kClients, {}, "truncated-frame"},
      {"half a MAC", kClients, spoilt(kAck, cut(9), false), "truncated-frame"},
      {"Ethernet only", kClients, spoilt(kAck, cut(14), false), "truncated-frame"},
      {"half an IP header", kClients, spoilt(kAck, cut(20), false), "truncated-frame"},
      {"half a TCP header", kClients, spoilt(kAck, cut(40), false), "truncated-frame"},
      {"payload cut", kClients, spoilt(kAck, cut(80), false), "truncated-frame"},
      {"another MAC", kClients, spoilt(kAck, set(5, 0x77)), "foreign-mac"},
      {"IP to all stations", kClients,
       spoilt(kAck, [](Bytes& f) { std::fill_n(f.begin(), 6, uint8_t{0xff}); }), "foreign-mac"},
      {"IPv4 called IPv6", kClients,
       spoilt(kAck,
              [](Bytes& f) {
                f[12] = 0x86;
                f[13] = 0xdd;
              }),
       "bad-ip-header"},
      {"VLAN", kClients, spoilt(kAck, set(12, 0x81)), "unknown-ethertype"},
      {"version 6 in IPv4", kClients, spoilt(kAck, set(kEth, 0x65)), "bad-ip-header"},
      {"header of 16 bytes", kClients, spoilt(kAck, set(kEth, 0x44)), "bad-ip-header"},
      {"options", kClients, spoilt(kAck, set(kEth, 0x46)), "ip-options"},
      {"total below header", kClients,
       spoilt(
           kAck,
           [](Bytes& f) {
             f[kEth + 2] = 0;
             f[kEth + 3] = 19;
           },
           false),
       "bad-ip-header"},
      {"IP checksum", kClients,
       spoilt(
           kAck, [](Bytes& f) { f[kIpChecksum] ^= 1; }, false),
       "bad-ip-checksum"},
      {"first fragment", kClients, spoilt(kAck, set(kEth + 6, 0x20)), "ip-fragment"},
      {"last fragment", kClients, spoilt(kAck, set(kEth + 7, 0x09)), "ip-fragment"},
      {"over MTU", kClients,
       encode(stranger(kClients), stranger(kClients).segment(kAck, Bytes(1461, 'x'))), "over-mtu"},
      {"over any buffer", kClients,
       encode(stranger(kClients), stranger(kClients).segment(kAck, Bytes(3000, 'x'))), "over-mtu"},
      {"from nowhere", kClients, syn_from(wire::IpAddress::v4(0)), "bad-source-address"},
      {"from a group", kClients, syn_from(wire::IpAddress::v4(0xe0000001)), "bad-source-address"},
      {"from all", kClients, syn_from(wire::IpAddress::v4(0xffffffff)), "bad-source-address"},
      {"from ourselves", kClients, syn_from(listener_endpoint().address), "bad-source-address"},
      {"from our SNAT", kClients, syn_from(snat_address(0)), "bad-source-address"},
      {"to a stranger", kClients, spoilt(kAck, set(kEth + 19, 99)), "foreign-address"},
      {"UDP", kClients, spoilt(kAck, set(kEth + 9, 17)), "unknown-protocol"},
      {"ICMP checksum", kClients, bad_icmp_checksum(), "bad-icmp"},
      {"ICMP cut", kClients, icmp(8, {}), "bad-icmp"},
      {"ICMP redirect", kClients, icmp(5, Bytes(40)), "icmp-ignored"},
      {"ICMP error without quote", kClients, icmp(3, Bytes(20)), "bad-icmp"},
      {"ICMP error of nobody's", kClients, error_of_nobodys_flow(), "icmp-unknown-flow"},
      {"ARP cut", kClients, arp(cut(30)), "truncated-frame"},
      {"ARP of another kind", kClients, arp(set(kEth + 1, 6)), "bad-arp"},
      {"ARP for others", kClients, arp(set(kEth + 27, 99)), "arp-consumed"},
      {"ARP answer unasked", kClients, arp(set(kEth + 7, 2)), "arp-consumed"},
  };
}

std::vector<Hostile> frames_of_tcp() {
  const auto set = [](size_t at, uint8_t value) {
    return [at, value](Bytes& f) { f[at] = value; };
  };
  const auto flags = [](uint8_t f) { return from_stranger(kClients, f); };
  return {
      {"TCP checksum", kClients,
       spoilt(
           kAck, [](Bytes& f) { f.back() ^= 1; }, false),
       "bad-tcp-checksum"},
      {"data offset 4", kClients, spoilt(kAck, set(kTcp + 12, 0x40)), "bad-tcp-header"},
      {"data offset behind the end", kClients, spoilt(kAck, set(kTcp + 12, 0xf0)),
       "bad-tcp-header"},
      {"port 0", kClients, to_port(0, kAck), "bad-tcp-header"},
      {"SYN, option of length 0", kClients, with_options(kSyn, {2, 0, 0, 0}), "bad-tcp-header"},
      {"SYN, option of length 1", kClients, with_options(kSyn, {8, 1, 0, 0}), "bad-tcp-header"},
      {"SYN, option too long", kClients, with_options(kSyn, {2, 40, 0, 0}), "bad-tcp-header"},
      {"no flags", kClients, flags(0), "bad-tcp-flags"},
      {"only PSH", kClients, flags(kPsh), "bad-tcp-flags"},
      {"only FIN", kClients, flags(kFin), "bad-tcp-flags"},
      {"SYN, FIN", kClients, flags(kSyn | kFin), "bad-tcp-flags"},
      {"SYN, RST", kClients, flags(kSyn | kRst), "bad-tcp-flags"},
      {"all flags", kClients, flags(0x3f), "bad-tcp-flags"},
      {"ACK", kClients, flags(kAck), "unknown-flow", Answer::reset},
      {"data", kClients, spoilt(kAck | kPsh, [](Bytes&) {}), "unknown-flow", Answer::reset},
      {"FIN, ACK", kClients, flags(kFin | kAck), "unknown-flow", Answer::reset},
      {"SYN, ACK", kClients, flags(kSyn | kAck), "unknown-flow", Answer::reset},
      {"RST", kClients, flags(kRst), "unknown-flow-quiet"},
      {"RST, ACK", kClients, flags(kRst | kAck), "unknown-flow-quiet"},
      {"SYN to a closed port", kClients, to_port(22, kSyn), "no-listener", Answer::reset_ack},
      {"ACK to a closed port", kClients, to_port(22, kAck), "no-listener", Answer::reset},
      {"broker's ACK", kBrokers, from_stranger(kBrokers, kAck), "unknown-flow", Answer::reset},
      {"broker's SYN", kBrokers, from_stranger(kBrokers, kSyn), "unknown-flow", Answer::reset_ack},
      {"broker's SYN, ACK", kBrokers, from_stranger(kBrokers, kSyn | kAck), "unknown-flow",
       Answer::reset},
      {"broker's FIN, ACK", kBrokers, from_stranger(kBrokers, kFin | kAck), "unknown-flow",
       Answer::reset},
      {"broker's RST", kBrokers, from_stranger(kBrokers, kRst), "unknown-flow-quiet"},
  };
}

// RFC 9293 section 3.10.7.1.
void expect_answer(const Hostile& h, const SentFrames& sent) {
  assert_int_equal(sent.size(), h.answer == Answer::none ? 0 : 1);
  if (h.answer == Answer::none) return;
  sim::Segment asked;
  assert_int_equal(sim::parse_segment(h.frame, asked), sim::FrameFault::none);
  const sim::Segment& rst = sent[0].segment;
  assert_int_equal(sent[0].port, h.port);
  assert_true(wire::MacAddress::load(sent[0].bytes.data()) ==
              wire::MacAddress::load(h.frame.data() + 6));
  assert_true(rst.source == asked.destination && rst.destination == asked.source);
  if (h.answer == Answer::reset) {
    assert_int_equal(rst.flags, kRst);
    assert_int_equal(rst.seq.raw(), asked.ack.raw());
  } else {
    assert_int_equal(rst.flags, kRst | kAck);
    assert_int_equal(rst.seq.raw(), 0);
    assert_int_equal(rst.ack.raw(), (asked.seq + asked.length()).raw());
  }
}

void play(const std::vector<Hostile>& table) {
  Bench& b = new_bench(default_setup(700));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  b.new_drops();
  const uint64_t flows = b.dut().flows();
  for (const Hostile& h : table) {
    const SentFrames sent = b.frame(h.port, h.frame);
    const std::vector<std::string> drops = b.new_drops();
    if (drops != std::vector{h.drop}) {
      print_error("%s: %s\n", h.what, drops.empty() ? "not dropped" : drops[0].c_str());
    }
    assert_true(drops == std::vector{h.drop});
    expect_answer(h, sent);
    assert_int_equal(b.dut().flows(), flows);
    assert_int_equal(b.engine().buffers_in_use(), 0);
    assert_int_equal(b.dut().unaccounted_frames(), 0);
    b.pass(2ms);
  }
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);
}

void test_frames_below_tcp(void** /*state*/) { play(frames_below_tcp()); }
void test_frames_of_tcp(void** /*state*/) { play(frames_of_tcp()); }

// However many strangers there are, RSTs are limited; every frame still has its name.
void test_resets_are_limited(void** /*state*/) {
  Setup setup = default_setup(701);
  setup.model.settings.rst_per_second = 100;
  Bench& b = new_bench(setup);
  b.pass(1s);
  size_t resets = 0;
  constexpr unsigned kFrames = 20'000;
  for (unsigned i = 0; i < kFrames; ++i) {
    RawEnd end = stranger(i % 2 == 0 ? kClients : kBrokers);
    end.nxt = base::Seq32(i * 2654435761U);
    resets += b.send(end, end.segment(kAck)).size();
    if (i % 100 == 99) b.pass(1ms);
  }
  assert_true(resets >= 20 && resets <= 10 + 20 + 1);
  assert_int_equal(b.count(base::Drop::unknown_flow), resets);
  assert_int_equal(b.count(base::Drop::unknown_flow) + b.count(base::Drop::unknown_flow_quiet) +
                       b.count(base::Drop::early_segment),
                   kFrames);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// Frames of real connections with bytes changed, in all states: bounded answers, exact accounts,
// and in the end nothing is left.
void test_changed_frames(void** /*state*/) {
  Bench& b = new_bench(default_setup(702));
  sim::Random random(702);
  std::vector<RawEnd> ends;
  for (uint16_t port = 4000; port < 4040; ++port) {
    RawEnd client = raw_client(port);
    RawEnd broker;
    if (port % 4 == 0) assert_true(b.handshake(client));
    if (port % 4 == 1) {
      assert_true(b.handshake(client));
      broker = b.ask_broker(client, "device-" + std::to_string(port));
    }
    if (port % 4 >= 2) {
      assert_true(b.splice(client, broker, "device-" + std::to_string(port)));
    }
    ends.push_back(client);
    if (broker.port == kBrokers) ends.push_back(broker);
  }
  sim::ConnectFields fields;
  fields.client_id = "x";
  const sim::Buffer connect = sim::encode_connect(fields);
  constexpr uint8_t kFlags[] = {kAck,        kAck | kPsh, kFin | kAck, kSyn,
                                kSyn | kAck, kRst,        kRst | kAck};
  size_t most = 0;
  for (unsigned i = 0; i < 100'000; ++i) {
    const RawEnd& end = ends[random.below(ends.size())];
    sim::Segment s = end.segment(kFlags[random.below(7)]);
    if (random.chance(0.5)) s.payload = connect;
    if (random.chance(0.3)) s.timestamps = sim::Timestamps{random.u32(), random.u32()};
    Bytes frame = encode(end, s);
    for (uint64_t n = random.below(4); n > 0; --n) {
      frame[random.between(kEth, frame.size() - 1)] = static_cast<uint8_t>(random.u32());
    }
    const size_t total = base::load_be16(frame.data() + kEth + 2);
    const bool fits = total >= 40 && total <= frame.size() - kEth;
    if (fits && random.chance(0.95)) sim::fix_checksums(frame);
    most = std::max(most, b.frame(end.port, frame).size());
    if (i % 50 == 0) b.pass(1ms);
  }
  assert_true(most <= 16);
  b.pass(400s);
  assert_int_equal(b.dut().flows(), 0);
  assert_int_equal(b.dut().snat_ports_in_use(), 0);
  assert_int_equal(b.engine().buffers_in_use(), 0);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// What comes to a port that health checks leave from is control's only if it may be a broker's: a
// flood of others must not use up what answers need.
void test_ports_of_checks(void** /*state*/) {
  Bench& b = new_bench(default_setup(213));
  const wire::Endpoint checks{snat_address(0), 65535};
  const struct {
    unsigned port;
    wire::IpAddress from;
    const char* drop;
  } table[] = {
      {kBrokers, broker_endpoint(0).address, "check-consumed"},
      {kBrokers, client_address(0), "unknown-flow"},
      {kClients, broker_endpoint(0).address, "unknown-flow"},
      {kClients, client_address(0), "unknown-flow"},
  };
  for (const auto& row : table) {
    RawEnd end{row.port, broker_mac(0), {row.from, 18083}, checks, base::Seq32(1), base::Seq32(2)};
    b.new_drops();
    (void)b.send(end, end.segment(kAck));
    const auto drops = b.new_drops();
    assert_int_equal(drops.size(), 1);
    if (drops[0] != row.drop && !drops[0].starts_with("unknown-flow"))
      fail_msg("%s", drops[0].c_str());
    assert_int_equal(drops[0] == "check-consumed", std::string(row.drop) == "check-consumed");
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_ports_of_checks), BENCH_TEST(test_frames_below_tcp),
      BENCH_TEST(test_frames_of_tcp),   BENCH_TEST(test_resets_are_limited),
      BENCH_TEST(test_changed_frames),
  };
  return cmocka_run_group_tests_name("hostile", tests, nullptr, nullptr);
}
