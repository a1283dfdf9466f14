// TCP segments out of records of every link type, and why other records have none.
#include <pcap/dlt.h>

#include <algorithm>

#include "lib/pcap/segment.hh"
#include "tests/support/captures.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using pcap::Unusable;

const Octets kPayload = octets("hello");

// A SYN-ACK's header with MSS and window scale.
Octets tcp_segment() {
  Octets p{0x9c, 0x40, 0x07, 0x5b,              // 40000 > 1883
           1,    2,    3,    4,    5, 6, 7, 8,  // seq, ack
           0x70, 0x12, 0x20, 0x00, 0, 0, 0, 0,  // 28 bytes, SYN and ACK, window 8192
           2,    4,    0x05, 0xb4, 1, 3, 3, 7};
  return p + kPayload;
}

Octets ipv4(const Octets& inner, uint8_t protocol = 6, const Octets& options = {}) {
  Octets p{static_cast<uint8_t>(0x45 + options.size() / 4),
           0,
           0,
           0,
           0,
           1,
           0x40,
           0,
           64,
           protocol,
           0,
           0,
           198,
           18,
           0,
           7,
           198,
           18,
           0,
           10};
  p = p + options + inner;
  base::store_be16(&p[2], static_cast<uint16_t>(p.size()));
  return p;
}

Octets ipv6(const Octets& inner, uint8_t next = 6) {
  Octets p(40);
  p[0] = 0x60;
  p[6] = next;
  p[7] = 64;
  p[8] = p[24] = 0x20;
  p[23] = 7;
  p[39] = 10;
  base::store_be16(&p[4], static_cast<uint16_t>(inner.size()));
  return p + inner;
}

Octets ethernet(const Octets& inner, const Octets& type = {8, 0}) {
  return Octets{2, 0, 0, 0, 0, 10, 2, 0, 0, 0, 0, 11} + type + inner;
}

Octets cooked(const Octets& inner, const Octets& type = {8, 0}) {
  return Octets{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 10, 0, 0} + type + inner;
}

Octets cooked2(const Octets& inner, const Octets& type = {8, 0}) {
  return type + Octets{0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 10, 0, 0} + inner;
}

// An extension header of 8 bytes, filled up with an option of padding.
Octets extension(uint8_t next, const Octets& inner) {
  return Octets{next, 0, 1, 4, 0, 0, 0, 0} + inner;
}

Octets changed(Octets bytes, size_t at, uint8_t value) {
  bytes[at] = value;
  return bytes;
}

struct Row {
  const char* what;
  int link_type;
  Octets bytes;
};

std::vector<Row> good_rows() {
  const Octets v4 = ipv4(tcp_segment());
  const Octets v6 = ipv6(tcp_segment());
  const Octets fragment_header{6, 0, 0, 0, 1, 2, 3, 4};
  const Octets zero_length4 = changed(changed(v4, 2, 0), 3, 0);
  const Octets zero_length6 = changed(changed(v6, 4, 0), 5, 0);
  return {
      {"Ethernet", DLT_EN10MB, ethernet(v4)},
      {"Ethernet, padded", DLT_EN10MB, ethernet(v4) + Octets(9, 0xee)},
      {"Ethernet, IPv6", DLT_EN10MB, ethernet(v6, {0x86, 0xdd})},
      {"Ethernet, IPv6, padded", DLT_EN10MB, ethernet(v6, {0x86, 0xdd}) + Octets(9, 0xee)},
      {"802.1Q", DLT_EN10MB, ethernet(v4, {0x81, 0, 0, 7, 8, 0})},
      {"802.1ad", DLT_EN10MB, ethernet(v4, {0x88, 0xa8, 0, 7, 8, 0})},
      {"stacked tags", DLT_EN10MB, ethernet(v6, {0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd})},
      {"old stacked tags", DLT_EN10MB, ethernet(v4, {0x91, 0, 0, 7, 0x81, 0, 0, 8, 8, 0})},
      {"cooked", DLT_LINUX_SLL, cooked(v4)},
      {"cooked, IPv6", DLT_LINUX_SLL, cooked(v6, {0x86, 0xdd})},
      {"cooked, tagged", DLT_LINUX_SLL, cooked(v4, {0x81, 0, 0, 7, 8, 0})},
      {"cooked v2", DLT_LINUX_SLL2, cooked2(v4)},
      {"cooked v2, IPv6", DLT_LINUX_SLL2, cooked2(v6, {0x86, 0xdd})},
      {"raw", DLT_RAW, v4},
      {"raw, IPv6", DLT_RAW, v6},
      {"raw by its number in files", 101, v4},
      {"IPv4", DLT_IPV4, v4},
      {"IPv6", DLT_IPV6, v6},
      {"BSD loopback, little-endian", DLT_NULL, Octets{2, 0, 0, 0} + v4},
      {"BSD loopback, big-endian", DLT_NULL, Octets{0, 0, 0, 2} + v4},
      {"BSD loopback, macOS, IPv6", DLT_NULL, Octets{30, 0, 0, 0} + v6},
      {"OpenBSD loopback", DLT_LOOP, Octets{0, 0, 0, 24} + v6},
      {"IPv4 options", DLT_RAW, ipv4(tcp_segment(), 6, {1, 1, 1, 0})},
      {"IPv4 length of 0", DLT_RAW, zero_length4},
      {"IPv6 length of 0", DLT_RAW, zero_length6},
      {"hop-by-hop options", DLT_RAW, ipv6(extension(6, tcp_segment()), 0)},
      {"all extensions", DLT_RAW,
       ipv6(extension(60, extension(43, extension(44, fragment_header + tcp_segment()))), 0)},
  };
}

pcap::Record record_of(const Octets& bytes, size_t original_length) {
  return {1, 0, bytes, static_cast<uint32_t>(original_length)};
}

void check_segment(const char* what, const pcap::Segment& s) {
  const bool v4 = s.source.address.is_v4();
  const std::string ends = to_string(s.source) + " " + to_string(s.destination);
  assert_string_equal(ends.c_str(),
                      v4 ? "198.18.0.7:40000 198.18.0.10:1883" : "[2000::7]:40000 [2000::a]:1883");
  assert_int_equal(s.seq.raw(), 0x01020304);
  assert_int_equal(s.ack.raw(), 0x05060708);
  assert_int_equal(s.flags, wire::kSyn | wire::kAck);
  assert_int_equal(s.window, 8192);
  assert_int_equal(*s.options.mss, 1460);
  assert_int_equal(*s.options.window_scale, 7);
  if (!std::ranges::equal(s.payload, kPayload)) fail_msg("%s: payload", what);
  assert_int_equal(s.payload_length, kPayload.size());
}

void test_link_types(void**) {
  for (const Row& row : good_rows()) {
    const auto segment = pcap::parse_segment(row.link_type, record_of(row.bytes, row.bytes.size()));
    if (!segment) fail_msg("%s: %s", row.what, to_string(segment.error()).data());
    check_segment(row.what, *segment);
    assert_string_equal(
        pcap::describe(row.link_type, record_of(row.bytes, row.bytes.size())).c_str(), "tcp");
  }
}

// Cut in its headers, a record is snapped or, if the wire had no more either, truncated; cut in its
// payload, it is a segment that knows how long it was.
void test_every_cut(void**) {
  for (const Row& row : good_rows()) {
    const size_t whole = row.bytes.size();
    const auto at =
        std::search(row.bytes.begin(), row.bytes.end(), kPayload.begin(), kPayload.end());
    const auto payload = static_cast<size_t>(at - row.bytes.begin());
    for (size_t cut = 0; cut < whole; ++cut) {
      const Octets part(row.bytes.begin(), row.bytes.begin() + static_cast<std::ptrdiff_t>(cut));
      const auto snapped = pcap::parse_segment(row.link_type, record_of(part, whole));
      if (cut < payload) {
        if (snapped || snapped.error() != Unusable::snapped) fail_msg("%s at %zu", row.what, cut);
      } else {
        assert_true(snapped.has_value());
        assert_int_equal(snapped->payload.size(), std::min(cut - payload, kPayload.size()));
        assert_int_equal(snapped->payload_length, kPayload.size());
      }
      const auto short_one = pcap::parse_segment(row.link_type, record_of(part, cut));
      if (short_one) {  // no length says that anything is missing
        assert_true(cut >= payload);
        assert_int_equal(short_one->payload_length, short_one->payload.size());
      } else {
        // Without a length of IP's, TCP's header is what does not fit.
        const Unusable why = short_one.error();
        assert_true(why == Unusable::truncated || why == Unusable::bad_tcp_header);
      }
    }
  }
}

struct Refused {
  const char* what;
  int link_type;
  Octets bytes;
  Unusable why;
  const char* kind;
};

void test_refused(void**) {
  const Octets v4 = ipv4(tcp_segment());
  const Octets v6 = ipv6(tcp_segment());
  const Octets later_fragment{6, 0, 0, 8, 1, 2, 3, 4};
  const Octets first_fragment{6, 0, 0, 1, 1, 2, 3, 4};
  const Refused rows[] = {
      {"802.11", DLT_IEEE802_11, v4, Unusable::link_type, "link type 105"},
      {"ARP", DLT_EN10MB, ethernet(Octets(46), {8, 6}), Unusable::not_ip, "arp"},
      {"LLDP", DLT_EN10MB, ethernet(Octets(46), {0x88, 0xcc}), Unusable::not_ip,
       "ethertype 0x88cc"},
      {"802.3", DLT_EN10MB, ethernet(Octets(46), {0, 46}), Unusable::not_ip, "802.3"},
      {"tagged ARP", DLT_EN10MB, ethernet(Octets(46), {0x81, 0, 0, 1, 8, 6}), Unusable::not_ip,
       "arp"},
      {"loopback of another family", DLT_NULL, Octets{7, 0, 0, 0} + v4, Unusable::not_ip, "frame"},
      {"UDP", DLT_RAW, ipv4(Octets(8), 17), Unusable::not_tcp, "udp"},
      {"ICMP", DLT_RAW, ipv4(Octets(8), 1), Unusable::not_tcp, "icmp"},
      {"ICMPv6", DLT_RAW, ipv6(Octets(8), 58), Unusable::not_tcp, "icmpv6"},
      {"ICMPv6 behind extensions", DLT_RAW, ipv6(extension(58, Octets(8)), 60), Unusable::not_tcp,
       "icmpv6"},
      {"ESP", DLT_RAW, ipv6(Octets(8), 50), Unusable::not_tcp, "ip protocol 50"},
      {"no next header", DLT_RAW, ipv6({}, 59), Unusable::not_tcp, "ip protocol 59"},
      {"first fragment", DLT_RAW, changed(v4, 6, 0x20), Unusable::ip_fragment, "ipv4"},
      {"later fragment", DLT_RAW, changed(v4, 7, 1), Unusable::ip_fragment, "ipv4"},
      {"first fragment of IPv6", DLT_RAW, ipv6(first_fragment + tcp_segment(), 44),
       Unusable::ip_fragment, "ipv6"},
      {"later fragment of IPv6", DLT_RAW, ipv6(later_fragment + tcp_segment(), 44),
       Unusable::ip_fragment, "ipv6"},
      {"version 5", DLT_RAW, changed(v4, 0, 0x55), Unusable::bad_ip_header, "frame"},
      {"version 6 with the type of 4", DLT_EN10MB, ethernet(v6), Unusable::bad_ip_header, "ipv4"},
      {"version 4 with the type of 6", DLT_EN10MB, ethernet(v4, {0x86, 0xdd}),
       Unusable::bad_ip_header, "ipv6"},
      {"IP header of 16", DLT_RAW, changed(v4, 0, 0x44), Unusable::bad_ip_header, "ipv4"},
      {"IP length within its header", DLT_RAW, changed(v4, 3, 19), Unusable::bad_ip_header, "ipv4"},
      {"IP length one too many", DLT_RAW, changed(v4, 3, static_cast<uint8_t>(v4.size() + 1)),
       Unusable::truncated, "ipv4"},
      {"IPv6 length one too many", DLT_RAW,
       changed(v6, 5, static_cast<uint8_t>(v6.size() - 40 + 1)), Unusable::truncated, "ipv6"},
      {"IP length of 19 bytes of TCP", DLT_RAW, changed(v4, 3, 39), Unusable::truncated, "tcp"},
      {"extension beyond the packet", DLT_RAW, ipv6(changed(extension(6, tcp_segment()), 1, 9), 0),
       Unusable::truncated, "ipv6"},
      {"TCP header of 16", DLT_RAW, changed(v4, 32, 0x40), Unusable::bad_tcp_header, "tcp"},
      {"TCP header beyond the packet", DLT_RAW, changed(v4, 32, 0xf0), Unusable::bad_tcp_header,
       "tcp"},
      {"TCP option of length 0", DLT_RAW, changed(v4, 41, 0), Unusable::bad_tcp_header, "tcp"},
      {"port 0", DLT_RAW, changed(changed(v4, 20, 0), 21, 0), Unusable::bad_tcp_header, "tcp"},
      {"empty", DLT_RAW, {}, Unusable::truncated, "frame"},
  };
  for (const Refused& row : rows) {
    const pcap::Record record = record_of(row.bytes, row.bytes.size());
    const auto segment = pcap::parse_segment(row.link_type, record);
    if (segment || segment.error() != row.why) {
      fail_msg("%s: %s", row.what, segment ? "accepted" : to_string(segment.error()).data());
    }
    const std::string kind = pcap::describe(row.link_type, record);
    if (kind != row.kind) fail_msg("%s: %s", row.what, kind.c_str());
  }
}

void test_sack(void**) {
  Line line{.ack = 100, .payload = "x"};
  line.options = {1, 1, 5, 34};
  for (uint32_t i = 0; i < 8; ++i) {
    line.options = line.options + Octets{0, 0, 1, static_cast<uint8_t>(i)};
  }
  const Octets frame = frame_of(line);
  const auto segment = pcap::parse_segment(DLT_EN10MB, record_of(frame, frame.size()));
  assert_true(segment.has_value());
  assert_int_equal(segment->sack_blocks, 4);
  for (uint32_t i = 0; i < 4; ++i) {
    assert_int_equal(segment->sack[i].left.raw(), 0x100 + 2 * i);
    assert_int_equal(segment->sack[i].right.raw(), 0x101 + 2 * i);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_link_types),
      cmocka_unit_test(test_every_cut),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_sack),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
