// ICMP errors between the families (RFC 7915), and the segments that they quote.
#include "lib/engine/icmp_error.hh"

#include <algorithm>
#include <vector>

#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using engine::IcmpHeader;
using engine::Quote;

struct Row {
  const char* what;
  IcmpHeader from;
  std::optional<IcmpHeader> to;
};

void test_to_icmpv6(void**) {
  const Row rows[] = {
      {"network unreachable", {3, 0, 0}, IcmpHeader{1, 0, 0}},
      {"host unreachable", {3, 1, 0}, IcmpHeader{1, 0, 0}},
      {"protocol unreachable", {3, 2, 0}, IcmpHeader{4, 1, 6}},
      {"port unreachable", {3, 3, 0}, IcmpHeader{1, 4, 0}},
      {"too big", {3, 4, 1400}, IcmpHeader{2, 0, 1420}},
      {"too big for what is not told", {3, 4, 0xffff0000 | 1400}, IcmpHeader{2, 0, 1420}},
      {"below what IPv6 allows", {3, 4, 576}, IcmpHeader{2, 0, 1280}},
      {"from before RFC 1191", {3, 4, 0}, IcmpHeader{2, 0, 1280}},
      {"source route failed", {3, 5, 0}, IcmpHeader{1, 0, 0}},
      {"prohibited", {3, 13, 0}, IcmpHeader{1, 1, 0}},
      {"precedence violation", {3, 14, 0}, std::nullopt},
      {"TTL exceeded", {11, 0, 0}, IcmpHeader{3, 0, 0}},
      {"parameter problem", {12, 0, 0}, std::nullopt},
      {"echo", {8, 0, 7}, std::nullopt},
  };
  for (const Row& row : rows) {
    if (engine::to_icmpv6(row.from) != row.to) fail_msg("%s", row.what);
  }
}

void test_to_icmpv4(void**) {
  const Row rows[] = {
      {"no route", {1, 0, 0}, IcmpHeader{3, 1, 0}},
      {"prohibited", {1, 1, 0}, IcmpHeader{3, 10, 0}},
      {"address unreachable", {1, 3, 0}, IcmpHeader{3, 1, 0}},
      {"port unreachable", {1, 4, 0}, IcmpHeader{3, 3, 0}},
      {"too big", {2, 0, 1420}, IcmpHeader{3, 4, 1400}},
      {"the least", {2, 0, 1280}, IcmpHeader{3, 4, 1260}},
      {"less than any path takes", {2, 0, 1279}, std::nullopt},
      {"absurdly large", {2, 0, 0xffffffff}, IcmpHeader{3, 4, 65515}},
      {"hop limit exceeded", {3, 0, 0}, IcmpHeader{11, 0, 0}},
      {"echo", {128, 0, 7}, std::nullopt},
  };
  for (const Row& row : rows) {
    if (engine::to_icmpv4(row.from) != row.to) fail_msg("%s", row.what);
  }
}

const wire::Endpoint kClient4{ip("198.18.0.7"), 40000}, kVip4{ip("198.18.0.10"), 1883};
const wire::Endpoint kClient6{ip("2001:db8::7"), 40000}, kVip6{ip("2001:db8::10"), 1883};
const wire::Endpoint kSnat4{ip("198.18.1.100"), 2000}, kBroker4{ip("198.18.1.11"), 1884};
const wire::Endpoint kSnat6{ip("2001:db8:1::100"), 2000}, kBroker6{ip("2001:db8:1::11"), 1884};

// The packet that a host sent: an IP header, and a segment with payload.
Octets packet_of(const wire::Endpoint& source, const wire::Endpoint& destination, uint32_t seq) {
  const Octets payload(30, 'p');
  wire::Segment s;
  s.source = source;
  s.destination = destination;
  s.seq = base::Seq32(seq);
  s.payload = payload;
  Octets frame(2048);
  frame.resize(wire::build_segment(s, frame));
  return {frame.begin() + wire::kEthernetHeader, frame.end()};
}

// An ICMP message with `quoted` bytes of a packet, as parse_packet() leaves it.
struct Message {
  Message(const Octets& packet, size_t quoted) : bytes(wire::kIcmpHeader + quoted) {
    std::copy_n(packet.begin(), quoted, bytes.begin() + wire::kIcmpHeader);
    parsed.is_v6 = packet[0] >> 4 == 6;
    parsed.transport = bytes.data();
    parsed.transport_length = static_cast<uint16_t>(bytes.size());
  }
  Octets bytes;
  wire::Packet parsed;
};

// What one side sent, as the other side's sender had sent it: every pair of families, each with
// all of the segment and with the eight bytes that RFC 792 promises.
void test_quotes_become_what_was_sent(void**) {
  const struct {
    wire::Endpoint source, destination, new_source, new_destination;
  } rows[] = {
      {kSnat4, kBroker4, kClient4, kVip4},
      {kSnat6, kBroker6, kClient6, kVip6},
      {kSnat4, kBroker4, kClient6, kVip6},
      {kSnat6, kBroker6, kClient4, kVip4},
  };
  constexpr uint32_t kSeq = 0xfffffff0;
  constexpr uint32_t kDelta = 0x20;
  for (const auto& row : rows) {
    const Octets before = packet_of(row.source, row.destination, kSeq);
    Octets after = packet_of(row.new_source, row.new_destination, kSeq + kDelta);
    const size_t header = wire::ip_header_length(row.source.address);
    const size_t new_header = wire::ip_header_length(row.new_source.address);
    for (const size_t segment : {size_t{8}, before.size() - header}) {
      Message message(before, header + segment);
      Quote quote;
      assert_true(quote.parse(message.parsed));
      assert_true(quote.source() == row.source && quote.destination() == row.destination);
      assert_int_equal(quote.seq().raw(), kSeq);
      quote.translate(row.new_source, row.new_destination, kDelta);
      Octets out(1500);
      out.resize(quote.write(row.new_source.address, row.new_destination.address, out));
      assert_int_equal(out.size(), new_header + segment);
      assert_memory_equal(out.data(), after.data(), out.size());
    }
  }
}

void test_what_is_no_quote(void**) {
  const auto parses = [](const Octets& packet, size_t quoted) {
    Message message(packet, quoted);
    Quote quote;
    return quote.parse(message.parsed);
  };
  const auto changed = [](Octets packet, size_t at, uint8_t value) {
    packet[at] = value;
    return packet;
  };
  const Octets v4 = packet_of(kSnat4, kBroker4, 1);
  const Octets v6 = packet_of(kSnat6, kBroker6, 1);
  for (size_t n = 0; n <= v4.size(); ++n) assert_int_equal(parses(v4, n), n >= 28);
  for (size_t n = 0; n <= v6.size(); ++n) assert_int_equal(parses(v6, n), n >= 48);
  assert_false(parses(changed(v4, 0, 0x46), v4.size()));  // options
  assert_false(parses(changed(v4, 9, 17), v4.size()));    // UDP
  assert_false(parses(changed(v4, 7, 1), v4.size()));     // a later fragment
  assert_false(parses(changed(v6, 6, 44), v6.size()));    // a fragment header
  assert_false(parses(changed(v6, 6, 58), v6.size()));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_to_icmpv6),
      cmocka_unit_test(test_to_icmpv4),
      cmocka_unit_test(test_quotes_become_what_was_sent),
      cmocka_unit_test(test_what_is_no_quote),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
