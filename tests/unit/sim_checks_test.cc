// Devices that are wrong in one way each: the checkers must notice, and name it rightly.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <cstdio>

#include "tests/unit/sim_fixture.hh"

// Last: it defines fail and skip as macros.
extern "C" {
#include <cmocka.h>
}

namespace mqlb::sim {
namespace {

// What a broken device may do to one segment, and what it remembers of the connection.
struct Tampering {
  Segment& segment;
  bool to_client;
  unsigned count;  // segments in this direction before this one
  Buffer& raw;     // extra bytes for tampering with payloads, alive until encoded
};

using Tamper = void (*)(Tampering&);
// On the finished frame, checksums and all.
using Spoil = void (*)(Buffer& frame, bool to_client, unsigned count);

bool is_open(const Tampering& t) { return !t.segment.has(kSyn) && !t.segment.has(kRst); }

// A wire that takes every TCP segment apart and puts it together again.
class BrokenWire final : public Dut {
 public:
  BrokenWire(Tamper tamper, Spoil spoil, unsigned copies)
      : tamper_(tamper), spoil_(spoil), copies_(copies) {}

  void receive(unsigned port, base::Bytes frame, base::Instant, FrameSink& out) override {
    Buffer bytes(frame.begin(), frame.end());
    Segment s;
    const bool tcp = ether_type(frame) == kEtherTypeIpv4;
    const bool to_client = port == 1;
    if (tcp && parse_segment(frame, s) == FrameFault::none) {
      Buffer raw;
      Tampering t{s, to_client, counts_[port], raw};
      if (tamper_ != nullptr) tamper_(t);
      bytes = encode_segment(wire::MacAddress::load(frame.data() + 6),
                             wire::MacAddress::load(frame.data()), s, 1);
    }
    if (spoil_ != nullptr) spoil_(bytes, to_client, counts_[port]);
    ++counts_[port];
    for (unsigned i = 0; i < copies_; ++i) out.transmit(1 - port, bytes);
  }
  void advance(base::Instant, FrameSink&) override {}

 private:
  Tamper tamper_;
  Spoil spoil_;
  unsigned copies_;
  std::array<unsigned, 2> counts_{};
};

struct Row {
  const char* name;
  Fault expected;
  Tamper tamper = nullptr;
  Spoil spoil = nullptr;
  double loss = 0;
  unsigned copies = 1;
  Ending ending = Ending::end;
};

void seq_off_by_one(Tampering& t) {
  if (t.to_client && is_open(t)) t.segment.seq += 1;
}
void ack_one_too_far(Tampering& t) {
  if (t.to_client && is_open(t)) t.segment.ack += 1;
}
void ack_too_far_at_end(Tampering& t) {
  if (t.to_client && is_open(t)) t.segment.ack += 100'000;
}
void ack_less_a_prefix(Tampering& t) {
  if (t.to_client && is_open(t)) t.segment.ack = t.segment.ack - 28;
}
void ack_before_stream(Tampering& t) {
  if (t.to_client && is_open(t)) t.segment.ack = t.segment.ack - 5000;
}
void ack_goes_back(Tampering& t) {
  if (t.to_client && t.count == 20) t.segment.ack = t.segment.ack - 2000;
}
void window_closed(Tampering& t) {
  if (t.to_client && is_open(t) && t.count > 10) t.segment.window = 0;
}
void sack_shifted(Tampering& t) {
  for (size_t i = 0; i < t.segment.sack_count; ++i) {
    t.segment.sack[i].left += 1;
    t.segment.sack[i].right += 1;
  }
}
void sack_untranslated(Tampering& t) {
  for (size_t i = 0; i < t.segment.sack_count; ++i) {
    t.segment.sack[i].left += 1'000'000;
    t.segment.sack[i].right += 1'000'000;
  }
}
void sack_below_ack(Tampering& t) {
  if (t.segment.sack_count > 0) t.segment.sack[0].left = t.segment.ack - 100;
}
void echo_off(Tampering& t) {
  if (t.segment.timestamps && is_open(t)) t.segment.timestamps->echo += 100'000;
}
void echo_off_by_one(Tampering& t) {
  if (t.segment.timestamps && is_open(t)) t.segment.timestamps->echo -= 1;
}
void value_goes_back(Tampering& t) {
  if (t.segment.timestamps && is_open(t)) t.segment.timestamps->value -= 5'000;
}
void timestamps_lost(Tampering& t) {
  if (is_open(t)) t.segment.timestamps.reset();
}
void sack_permitted_lost_one_way(Tampering& t) {
  if (t.segment.has(kSyn) && t.to_client) t.segment.sack_permitted = false;
}
void scale_added(Tampering& t) {
  if (t.segment.has(kSyn) && t.to_client) t.segment.window_scale = 3;
  if (t.segment.has(kSyn) && !t.to_client) t.segment.window_scale.reset();
}
void scale_unknown_to_client(Tampering& t) {
  if (!t.segment.has(kSyn)) return;
  if (t.to_client) t.segment.window_scale = 10;
}
void mss_on_data(Tampering& t) {
  if (is_open(t)) t.segment.mss = 1460;
}
void mss_raised(Tampering& t) {
  if (t.segment.has(kSyn)) t.segment.mss = 9000;
}
void byte_changed(Tampering& t) {
  if (t.segment.payload.size() < 100 || t.count != 15) return;
  t.raw.assign(t.segment.payload.begin(), t.segment.payload.end());
  t.raw[50] ^= 1;
  t.segment.payload = t.raw;
}
void early_end(Tampering& t) {
  if (is_open(t) && t.to_client && t.count == 45) t.segment.flags |= kFin;
}
void seq_far_back(Tampering& t) {
  if (is_open(t) && t.to_client && t.count > 10) t.segment.seq = t.segment.seq - 1'000'000;
}
void seq_far_ahead(Tampering& t) {
  if (is_open(t) && t.to_client && t.count > 10) t.segment.seq += 1'000'000;
}
// Both ends see what the other sends outside of their windows and say so, for ever.
void seq_wrong_both_ways(Tampering& t) {
  if (is_open(t) && t.count > 10) t.segment.seq += 500'000;
}

void spoil_ip_checksum(Buffer& f, bool, unsigned count) {
  if (count > 5) f[kEthernetHeader + 10] ^= 1;
}
void spoil_tcp_checksum(Buffer& f, bool to_client, unsigned count) {
  if (to_client && count > 5) f[kEthernetHeader + 20 + 16] ^= 0x40;
}
void spoil_destination_mac(Buffer& f, bool, unsigned count) {
  if (count == 30) f[5] ^= 0x10;
}
void spoil_source_mac(Buffer& f, bool, unsigned count) {
  if (count == 30) f[11] ^= 0x10;
}
void make_jumbo(Buffer& f, bool, unsigned count) {
  if (count == 30) f.resize(3000);
}
void add_tail(Buffer& f, bool, unsigned count) {
  if (count == 30) f.resize(f.size() + 70);
}
void cut_tail(Buffer& f, bool, unsigned count) {
  if (count == 30) f.resize(f.size() - 4);
}
void claim_address(Buffer& f, bool to_client, unsigned) {
  // An ARP answer from another MAC than the one in its frame.
  if (to_client && ether_type(f) == kEtherTypeArp) f[kEthernetHeader + 8 + 5] ^= 1;
}

const Row kRows[] = {
    {"sequence delta off by one", Fault::data, seq_off_by_one},
    {"ACK one too far", Fault::ack_untrue, ack_one_too_far},
    {"ACK far too far", Fault::ack_unsent, ack_too_far_at_end},
    {"ACK of a prefix that is not the client's", Fault::ack_regressed, ack_before_stream},
    {"ACK too low by a constant", Fault::ack_stale, ack_less_a_prefix, nullptr, 0, 1, Ending::wait},
    {"window closed by the device", Fault::window, window_closed},
    {"ACK goes back once", Fault::ack_regressed, ack_goes_back},
    {"SACK off by one", Fault::sack_untrue, sack_shifted, nullptr, 0.1},
    {"SACK not translated", Fault::sack_range, sack_untranslated, nullptr, 0.1},
    {"SACK below the ACK", Fault::sack_range, sack_below_ack, nullptr, 0.1},
    {"TSecr off", Fault::timestamp_echo, echo_off},
    {"TSecr off by one", Fault::timestamp_echo, echo_off_by_one},
    {"TSval below the SYN-ACK's", Fault::timestamp_regressed, value_goes_back},
    {"timestamps lost", Fault::option_missing, timestamps_lost},
    {"SACK though refused", Fault::option_unexpected, sack_permitted_lost_one_way, nullptr, 0.1},
    {"window scale not offered", Fault::window, scale_added},
    {"window scale wrong", Fault::window, scale_unknown_to_client},
    {"MSS on data", Fault::option_unexpected, mss_on_data},
    {"MSS raised", Fault::mss, mss_raised},
    {"byte changed", Fault::data, byte_changed},
    {"FIN too early", Fault::data, early_end},
    {"sequence far back", Fault::sequence, seq_far_back},
    {"sequence far ahead", Fault::sequence, seq_far_ahead},
    {"two ends that storm each other", Fault::storm, seq_wrong_both_ways},
    {"IP checksum", Fault::ip_checksum, nullptr, spoil_ip_checksum},
    {"TCP checksum", Fault::tcp_checksum, nullptr, spoil_tcp_checksum},
    {"destination MAC", Fault::mac, nullptr, spoil_destination_mac},
    {"source MAC", Fault::mac, nullptr, spoil_source_mac},
    {"over the MTU", Fault::mtu, nullptr, make_jumbo},
    {"bytes behind the packet", Fault::frame, nullptr, add_tail},
    {"cut packet", Fault::frame, nullptr, cut_tail},
    {"ARP of two minds", Fault::resolution, nullptr, claim_address},
    {"too many frames for one", Fault::storm, nullptr, nullptr, 0, 20},
};

// Twenty clients that send and receive some 20 kB each, pipelined.
std::unique_ptr<Net> run(const Row& row) {
  const LinkConfig link{.loss = row.loss};
  auto net = std::make_unique<Net>(
      11, std::make_unique<BrokenWire>(row.tamper, row.spoil, row.copies), link, LinkConfig{});
  net->world.rules().exact_echo = true;
  net->serve([](const Segment&) {
    BrokerPlan p;
    p.bulk = 20'000;
    p.tcp.iss = base::Seq32(0xffffff00U);
    p.tcp.mss = 1400;
    return p;
  });
  for (uint32_t i = 0; i < 20; ++i) {
    ClientPlan plan = net->plan(i);
    plan.pipeline = true;
    plan.publish_bytes = 20'000;
    plan.expect_bulk = 20'000;
    plan.tcp.timestamp_offset = 0xfffffe00U;
    plan.tcp.mss = 1200;
    plan.ending = row.ending;
    open_client(net->clients, net->ledger, plan);
  }
  net->world.run(Duration{400'000'000});
  return net;
}

void test_each_fault_is_noticed(void**) {
  for (const Row& row : kRows) {
    auto net = run(row);
    const size_t count = net->world.violations().count(row.expected);
    const std::string summary = net->world.violations().summary(3);
    if (count == 0) print_error("%s:\n%s", row.name, summary.c_str());
    assert_true(count > 0);
    assert_true(summary.find(to_string(row.expected)) != std::string::npos);
  }
}

// The same device when it changes nothing: not one complaint.
void test_no_fault_is_invented(void**) {
  for (const double loss : {0.0, 0.1}) {
    auto net = run({"faithful", Fault::data, nullptr, nullptr, loss});
    const std::string summary = net->world.violations().summary();
    if (!summary.empty()) print_error("%s", summary.c_str());
    assert_int_equal(net->world.violations().total(), 0);
    for (const auto& c : net->ledger.all()) assert_true(c->complete());
  }
}

void test_allowed_faults_are_silent(void**) {
  Violations v;
  v.allow(Fault::mtu);
  v.report(Fault::mtu, Instant{}, "a");
  v.report(Fault::data, Instant{}, "b");
  assert_int_equal(v.total(), 1);
  assert_int_equal(v.count(Fault::mtu), 0);
  assert_string_equal(v.summary().c_str(), "data: 1\n0 us data: b\n");
}

}  // namespace
}  // namespace mqlb::sim

int main() {
  using namespace mqlb::sim;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_each_fault_is_noticed),
      cmocka_unit_test(test_no_fault_is_invented),
      cmocka_unit_test(test_allowed_faults_are_silent),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
