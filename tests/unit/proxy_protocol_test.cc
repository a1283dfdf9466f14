// PROXY protocol headers: encoded byte by byte, decoded strictly, and both ways round.
#include "lib/proxy_protocol/proxy_protocol.hh"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "lib/proxy_protocol/crc32c.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb::proxy_protocol;
using mqlb::base::as_bytes;
using mqlb::base::as_text;
using mqlb::base::Bytes;
using mqlb::wire::Endpoint;
using mqlb::wire::IpAddress;
using std::string;

Endpoint at(const char* address, uint16_t port) { return {*IpAddress::parse(address), port}; }

string bytes(std::initializer_list<int> values) {
  string s;
  for (const int v : values) s.push_back(static_cast<char>(v));
  return s;
}

string from_hex(std::string_view hex) {
  string s;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    s.push_back(static_cast<char>(std::stoi(string(hex.substr(i, 2)), nullptr, 16)));
  }
  return s;
}

// A copy of exactly this size, so that the sanitizer sees a read past it.
std::optional<Header> decode_exactly(Bytes input, std::vector<uint8_t>& copy) {
  copy.assign(input.begin(), input.end());
  copy.shrink_to_fit();
  return decode(copy);
}

bool is_refused(const string& input) {
  std::vector<uint8_t> copy;
  return !decode_exactly(as_bytes(input), copy);
}

const string kSignatureText = from_hex("0d0a0d0a000d0a515549540a");
const string kAddresses4 = from_hex("c0000201c63364029c40075b");

// A v2 header whose length field is right.
string v2(int command, int family, const string& body) {
  const int size = static_cast<int>(body.size());
  return kSignatureText + bytes({command, family, size >> 8, size & 0xff}) + body;
}

string tlv(int type, const string& value) {
  const int size = static_cast<int>(value.size());
  return bytes({type, size >> 8, size & 0xff}) + value;
}

void test_crc32c(void**) {
  const struct {
    string input;
    uint32_t crc;
  } rows[] = {
      // RFC 3720 appendix B.4, and the check value of the CRC catalogue.
      {"", 0},
      {"123456789", 0xe3069283},
      {string(32, '\0'), 0x8a9136aa},
      {string(32, '\xff'), 0x62a8ab43},
  };
  for (const auto& row : rows) {
    const Bytes input = as_bytes(row.input);
    assert_int_equal(crc32c_finish(crc32c_update(kCrc32cInit, input)), row.crc);
    const size_t half = input.size() / 2;
    const uint32_t first = crc32c_update(kCrc32cInit, input.first(half));
    assert_int_equal(crc32c_finish(crc32c_update(first, input.subspan(half))), row.crc);
  }
}

void test_encode_v1(void**) {
  const struct {
    Endpoint source, destination;
    const char* line;
  } rows[] = {
      {at("192.0.2.1", 40000), at("198.51.100.2", 1883),
       "PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\n"},
      {at("0.0.0.0", 0), at("255.255.255.255", 65535),
       "PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"},
      {at("2001:DB8:0:0::1", 1), at("2001:db8:0:1:0:0:0:2", 1883),
       "PROXY TCP6 2001:db8::1 2001:db8:0:1::2 1 1883\r\n"},
      {at("192.0.2.1", 40000), at("2001:db8::2", 1883),
       "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 40000 1883\r\n"},
      {at("2001:db8::2", 40000), at("192.0.2.1", 1883),
       "PROXY TCP6 2001:db8::2 ::ffff:192.0.2.1 40000 1883\r\n"},
      {at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
       at("ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 65535),
       "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
       "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 65535 65535\r\n"},
  };
  for (const auto& row : rows) {
    const std::string_view line = row.line;
    uint8_t out[kMaxHeader];
    const size_t size = encode_v1(row.source, row.destination, out);
    assert_true(as_text(Bytes(out, size)) == line);
    assert_in_range(size, 1, 107);
    std::vector<uint8_t> fits(line.size());
    assert_int_equal(encode_v1(row.source, row.destination, fits), line.size());
    std::vector<uint8_t> small(line.size() - 1);
    assert_int_equal(encode_v1(row.source, row.destination, small), 0);
    const auto header = decode(Bytes(out, size));
    assert_true(header.has_value());
    assert_int_equal(header->version, 1);
    assert_true(header->source == row.source && header->destination == row.destination);
    assert_false(header->local);
    assert_int_equal(header->size, size);
  }
}

void test_encode_v2(void**) {
  const string id = "id-7";
  const struct {
    const char* what;
    Endpoint source, destination;
    bool crc32c;
    string unique_id;
    const char* hex;
  } rows[] = {
      {"IPv4", at("192.0.2.1", 40000), at("198.51.100.2", 1883), false, "",
       "0d0a0d0a000d0a515549540a2111000cc0000201c63364029c40075b"},
      {"the vector of the design", at("192.0.2.1", 40000), at("198.51.100.2", 1883), true, "",
       "0d0a0d0a000d0a515549540a21110013c0000201c63364029c40075b0300045d7ff694"},
      {"unique id", at("192.0.2.1", 40000), at("198.51.100.2", 1883), false, id,
       "0d0a0d0a000d0a515549540a21110013c0000201c63364029c40075b05000469642d37"},
      {"IPv6", at("2001:db8::1", 1), at("2001:db8::2", 1883), false, "",
       "0d0a0d0a000d0a515549540a21210024"
       "20010db8000000000000000000000001"
       "20010db80000000000000000000000020001075b"},
      {"IPv4 to IPv6", at("192.0.2.1", 1), at("2001:db8::2", 1883), false, "",
       "0d0a0d0a000d0a515549540a21210024"
       "00000000000000000000ffffc0000201"
       "20010db80000000000000000000000020001075b"},
      {"IPv6 to IPv4", at("2001:db8::2", 1), at("192.0.2.1", 1883), false, "",
       "0d0a0d0a000d0a515549540a21210024"
       "20010db8000000000000000000000002"
       "00000000000000000000ffffc00002010001075b"},
  };
  for (const auto& row : rows) {
    const string expected = from_hex(row.hex);
    const V2Options options{.crc32c = row.crc32c, .unique_id = as_bytes(row.unique_id)};
    uint8_t out[kMaxHeader];
    const size_t size = encode_v2(row.source, row.destination, options, out);
    if (as_text(Bytes(out, size)) != expected) fail_msg("%s", row.what);
    for (size_t room = 0; room < expected.size(); ++room) {
      std::vector<uint8_t> small(room);
      assert_int_equal(encode_v2(row.source, row.destination, options, small), 0);
    }
  }
}

void test_v2_both_ways(void**) {
  const Endpoint ends[] = {at("192.0.2.1", 40000), at("2001:db8::1", 65535), at("0.0.0.0", 0)};
  for (const auto& source : ends) {
    for (const auto& destination : ends) {
      for (const bool crc : {false, true}) {
        for (const size_t id_size : {0U, 1U, 127U, 128U}) {
          const string id(id_size, 'u');
          uint8_t out[kMaxHeader + 5] = {};
          const V2Options options{.crc32c = crc, .unique_id = as_bytes(id)};
          const size_t size = encode_v2(source, destination, options, {out, size_t{kMaxHeader}});
          assert_in_range(size, 28, kMaxHeader);
          // The bytes behind belong to the CONNECT.
          const auto header = decode(Bytes(out, size + 5));
          assert_true(header.has_value());
          assert_int_equal(header->version, 2);
          assert_int_equal(header->size, size);
          assert_int_equal(header->has_crc32c, crc);
          assert_true(header->source == source && header->destination == destination);
          assert_true(as_text(header->unique_id) == id);
        }
      }
    }
  }
}

void test_too_long_unique_id(void**) {
  const string id(kMaxUniqueId + 1, 'u');
  uint8_t out[1024];
  const Endpoint end = at("192.0.2.1", 1);
  assert_int_equal(encode_v2(end, end, {.crc32c = true, .unique_id = as_bytes(id)}, out), 0);
}

void test_decode_good(void**) {
  const auto a = at("192.0.2.1", 40000);
  const auto b = at("198.51.100.2", 1883);
  const struct {
    const char* what;
    string input;
    int version;
    bool local;
    Endpoint source, destination;
  } rows[] = {
      {"v1 UNKNOWN", "PROXY UNKNOWN\r\n", 1, true, {}, {}},
      {"v1 UNKNOWN with more", "PROXY UNKNOWN ff:: x \r y 1 2\r\n", 1, true, {}, {}},
      {"v1 longest UNKNOWN", "PROXY UNKNOWN " + string(91, 'x') + "\r\n", 1, true, {}, {}},
      {"v1 upper case", "PROXY TCP6 2001:DB8::1 2001:0db8:0:0:0:0:0:2 0 65535\r\n", 1, false,
       at("2001:db8::1", 0), at("2001:db8::2", 65535)},
      {"v2 LOCAL", v2(0x20, 0, ""), 2, true, {}, {}},
      {"v2 LOCAL of any family", v2(0x20, 0x7f, "rubbish"), 2, true, {}, {}},
      {"v2 UNSPEC", v2(0x21, 0, "xyz"), 2, true, {}, {}},
      {"v2 with a TLV it does not know", v2(0x21, 0x11, kAddresses4 + tlv(0xee, "x")), 2, false, a,
       b},
      {"v2 with NOOP and an empty ALPN", v2(0x21, 0x11, kAddresses4 + tlv(4, "") + tlv(1, "")), 2,
       false, a, b},
      {"v2 NOOP twice", v2(0x21, 0x11, kAddresses4 + tlv(4, "ab") + tlv(4, "")), 2, false, a, b},
  };
  for (const auto& row : rows) {
    std::vector<uint8_t> copy;
    const auto header = decode_exactly(as_bytes(row.input), copy);
    if (!header) fail_msg("%s", row.what);
    assert_int_equal(header->version, row.version);
    assert_int_equal(header->local, row.local);
    assert_int_equal(header->size, row.input.size());
    assert_true(header->source == row.source && header->destination == row.destination);
    // Any part of it is not a header yet.
    for (size_t cut = 0; cut < row.input.size(); ++cut) {
      if (!is_refused(row.input.substr(0, cut))) fail_msg("%s cut at %zu", row.what, cut);
    }
  }
}

void test_refused_v1(void**) {
  const string rows[] = {
      "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r",
      "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
      "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
      "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
      " PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
      "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
      "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
      "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
      "PROXY TCP4 192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
      "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
      "PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n",
      "PROXY TCP6 2001:db8::1::2 2001:db8::2 1 2\r\n",
      "PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2 1 0x2\r\n",
      "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
      "PROXY TCP4 192.0.2.1" + string(1, '\0') + " 192.0.2.2 1 2\r\n",
      "PROXY UNKNOWNS\r\n",
      "PROXY unknown\r\n",
      "PROXY UNKNOWN " + string(92, 'x') + "\r\n",  // 108 bytes
      "PROXY \r\n",
      "",
      "\r\n",
      "\x10\x0c",
  };
  for (const string& row : rows) {
    if (!is_refused(row)) fail_msg("%s", row.c_str());
  }
}

void test_refused_v2(void**) {
  const string id_129(129, 'u');
  const struct {
    const char* what;
    string input;
  } rows[] = {
      {"version 1", v2(0x11, 0x11, kAddresses4)},
      {"version 3", v2(0x31, 0x11, kAddresses4)},
      {"command 2", v2(0x22, 0x11, kAddresses4)},
      {"family 4", v2(0x21, 0x41, kAddresses4)},
      {"protocol 3", v2(0x21, 0x13, kAddresses4)},
      {"IPv4 of no protocol", v2(0x21, 0x10, kAddresses4)},
      {"UDP over IPv4", v2(0x21, 0x12, kAddresses4)},
      {"UDP over IPv6", v2(0x21, 0x22, string(36, 'x'))},
      {"Unix stream", v2(0x21, 0x31, string(216, 'x'))},
      {"IPv4 of 11 bytes", v2(0x21, 0x11, kAddresses4.substr(1))},
      {"IPv4 of 0 bytes", v2(0x21, 0x11, "")},
      {"IPv6 of 35 bytes", v2(0x21, 0x21, string(35, 'x'))},
      {"IPv6 with addresses of IPv4", v2(0x21, 0x21, kAddresses4)},
      {"a TLV without length", v2(0x21, 0x11, kAddresses4 + bytes({4}))},
      {"a TLV with half a length", v2(0x21, 0x11, kAddresses4 + bytes({4, 0}))},
      {"a TLV past the end", v2(0x21, 0x11, kAddresses4 + bytes({4, 0, 2, 0}))},
      {"a TLV far past the end", v2(0x21, 0x11, kAddresses4 + bytes({4, 0xff, 0xff, 0}))},
      {"wrong CRC32C", v2(0x21, 0x11, kAddresses4 + from_hex("0300045d7ff695"))},
      {"CRC32C of 3 bytes", v2(0x21, 0x11, kAddresses4 + tlv(3, "abc"))},
      {"CRC32C of 5 bytes", v2(0x21, 0x11, kAddresses4 + tlv(3, "abcde"))},
      {"empty CRC32C", v2(0x21, 0x11, kAddresses4 + tlv(3, ""))},
      {"unique id of 129 bytes", v2(0x21, 0x11, kAddresses4 + tlv(5, id_129))},
      {"two unique ids", v2(0x21, 0x11, kAddresses4 + tlv(5, "a") + tlv(5, "a"))},
      {"longer than what is there", kSignatureText + bytes({0x21, 0x11, 0, 13}) + kAddresses4},
      {"wrong signature", "\x0e" + v2(0x21, 0x11, kAddresses4).substr(1)},
  };
  for (const auto& row : rows) {
    if (!is_refused(row.input)) fail_msg("%s", row.what);
  }
}

void test_every_flipped_bit_shows(void**) {
  uint8_t out[kMaxHeader];
  const size_t size =
      encode_v2(at("192.0.2.1", 40000), at("198.51.100.2", 1883), {.crc32c = true}, out);
  for (size_t bit = 0; bit < size * 8; ++bit) {
    string flipped(as_text(Bytes(out, size)));
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    std::vector<uint8_t> copy;
    const auto header = decode_exactly(as_bytes(flipped), copy);
    // Without its own type the checksum is a TLV to pass over; LOCAL and UNSPEC check nothing.
    if (header && header->has_crc32c) fail_msg("bit %zu", bit);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_crc32c),
      cmocka_unit_test(test_encode_v1),
      cmocka_unit_test(test_encode_v2),
      cmocka_unit_test(test_v2_both_ways),
      cmocka_unit_test(test_too_long_unique_id),
      cmocka_unit_test(test_decode_good),
      cmocka_unit_test(test_refused_v1),
      cmocka_unit_test(test_refused_v2),
      cmocka_unit_test(test_every_flipped_bit_shows),
  };
  return cmocka_run_group_tests_name("proxy_protocol", tests, nullptr, nullptr);
}
