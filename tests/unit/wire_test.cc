// Addresses: parsed from what an operator writes, printed in one canonical form, compared.
#include <algorithm>
#include <string>
#include <vector>

#include "lib/wire/address.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb::wire;
using std::string;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

void test_parse_address(void**) {
  const struct {
    const char* text;
    const char* printed;
    bool is_v4;
  } rows[] = {
      {"198.18.0.1", "198.18.0.1", true},
      {"0.0.0.0", "0.0.0.0", true},
      {"255.255.255.255", "255.255.255.255", true},
      {"::", "::", false},
      {"::1", "::1", false},
      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", false},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", false},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", false},
      // The mapped form is the same address as the plain one.
      {"::ffff:198.18.0.1", "198.18.0.1", true},
      {"::ffff:c612:1", "198.18.0.1", true},
      {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false},
  };
  for (const auto& row : rows) {
    const auto address = IpAddress::parse(row.text);
    if (!address) fail_msg("%s", row.text);
    assert_string_equal(to_string(*address).c_str(), row.printed);
    assert_int_equal(address->is_v4(), row.is_v4);
    assert_true(*IpAddress::parse(row.printed) == *address);
  }
}

void test_parse_address_refuses(void**) {
  const string rows[] = {"",
                         " ",
                         "198.18.0",
                         "198.18.0.256",
                         "198.18.0.1 ",
                         " 198.18.0.1",
                         "198.18.0.01",
                         "198.18.0.1.2",
                         "0xc6120001",
                         "3323068417",
                         "::1%lo",
                         "fe80::1%eth0",
                         "[::1]",
                         ":::",
                         "1::2::3",
                         "2001:db8::12345",
                         "1:2:3:4:5:6:7",
                         "1:2:3:4:5:6:7:8:9",
                         "host.example",
                         "198.18.0.1\n",
                         string("198.18.0.1\0", 11),
                         string("::1\0x", 5),
                         string(1, '\0'),
                         string(100'000, '1')};
  for (const string& row : rows) {
    const auto address = IpAddress::parse(row);
    if (address) fail_msg("'%s' passed as %s", row.c_str(), to_string(*address).c_str());
    assert_false(address.error().message.empty());
  }
}

void test_forms_of_v4(void**) {
  const uint8_t wire[] = {198, 18, 0, 1};
  const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 198, 18, 0, 1};
  const IpAddress a = IpAddress::v4(0xc6120001);
  assert_true(a == ip("198.18.0.1"));
  assert_true(a == IpAddress::load_v4(wire));
  assert_true(a == IpAddress::load_v6(mapped));
  assert_int_equal(a.v4_bits(), 0xc6120001);
  uint8_t out[16];
  a.store_v4(out);
  assert_memory_equal(out, wire, 4);
  a.store_v6(out);
  assert_memory_equal(out, mapped, 16);
  assert_true(a < IpAddress::v4(0xc6120002));
  assert_true(IpAddress{} == ip("::"));
}

void test_kinds_of_address(void**) {
  const struct {
    const char* text;
    bool unspecified, many;
  } rows[] = {
      {"0.0.0.0", true, false},          {"::", true, false},
      {"0.0.0.1", false, false},         {"::1", false, false},
      {"223.255.255.255", false, false}, {"224.0.0.0", false, true},
      {"239.255.255.255", false, true},  {"240.0.0.0", false, false},
      {"255.255.255.254", false, false}, {"255.255.255.255", false, true},
      {"ff02::1", false, true},          {"fe80::1", false, false},
      {"2001:db8::1", false, false},
  };
  for (const auto& row : rows) {
    assert_int_equal(ip(row.text).is_unspecified(), row.unspecified);
    assert_int_equal(ip(row.text).is_multicast_or_broadcast(), row.many);
  }
}

void test_endpoint(void**) {
  const struct {
    const char* text;
    const char* address;
    int port;
    const char* printed;
  } rows[] = {
      {"198.18.0.1:1883", "198.18.0.1", 1883, "198.18.0.1:1883"},
      {"198.18.0.1:1", "198.18.0.1", 1, "198.18.0.1:1"},
      {"[2001:db8::1]:65535", "2001:db8::1", 65535, "[2001:db8::1]:65535"},
      {"[::]:1883", "::", 1883, "[::]:1883"},
  };
  for (const auto& row : rows) {
    const auto endpoint = Endpoint::parse(row.text);
    if (!endpoint) fail_msg("%s", row.text);
    assert_true(endpoint->address == ip(row.address));
    assert_int_equal(endpoint->port, row.port);
    assert_string_equal(to_string(*endpoint).c_str(), row.printed);
  }
  assert_true(Endpoint{} == Endpoint{});
  assert_true((Endpoint{ip("198.18.0.1"), 1} < Endpoint{ip("198.18.0.1"), 2}));
}

void test_endpoint_refuses(void**) {
  const string rows[] = {"",
                         ":",
                         ":1883",
                         "198.18.0.1",
                         "198.18.0.1:",
                         "198.18.0.1:0",
                         "198.18.0.1:65536",
                         "198.18.0.1:4294967297",
                         "198.18.0.1:-1",
                         "198.18.0.1:+1",
                         "198.18.0.1: 1",
                         "198.18.0.1:1 ",
                         "198.18.0.1:0x1",
                         "198.18.0.1:1:2",
                         "[198.18.0.1]:1883",
                         "[::ffff:198.18.0.1]:1883",
                         "2001:db8::1:1883",
                         "[2001:db8::1]",
                         "[2001:db8::1",
                         "[2001:db8::1]1883",
                         "2001:db8::1]:1883",
                         "[]:1883",
                         "[:1883",
                         "host:1883",
                         string("198.18.0.1\0:1", 13),
                         string("198.18.0.1:1\0", 13)};
  for (const string& row : rows) {
    const auto endpoint = Endpoint::parse(row);
    if (endpoint) fail_msg("'%s' passed", row.c_str());
    assert_false(endpoint.error().message.empty());
  }
}

void test_prefix(void**) {
  const struct {
    const char* prefix;
    const char* address;
    bool inside;
  } rows[] = {
      {"198.18.0.0/15", "198.18.0.0", true},
      {"198.18.0.0/15", "198.19.255.255", true},
      {"198.18.0.0/15", "198.20.0.0", false},
      {"198.18.0.0/15", "198.17.255.255", false},
      {"198.18.5.1/24", "198.18.5.200", true},
      {"198.18.5.1/24", "198.18.6.1", false},
      {"198.18.5.1/32", "198.18.5.1", true},
      {"198.18.5.1/32", "198.18.5.0", false},
      {"198.18.5.128/25", "198.18.5.127", false},
      {"198.18.5.128/25", "198.18.5.129", true},
      {"0.0.0.0/0", "255.255.255.255", true},
      {"0.0.0.0/0", "2001:db8::1", false},
      {"::/0", "2001:db8::1", true},
      {"::/0", "198.18.0.1", false},
      {"2001:db8::/33", "2001:db8:7fff::1", true},
      {"2001:db8::/33", "2001:db8:8000::1", false},
      {"2001:db8::1/128", "2001:db8::1", true},
      {"2001:db8::1/128", "2001:db8::", false},
  };
  for (const auto& row : rows) {
    const auto prefix = Prefix::parse(row.prefix);
    if (!prefix) fail_msg("%s", row.prefix);
    if (prefix->contains(ip(row.address)) != row.inside) fail_msg("%s %s", row.prefix, row.address);
    // Host bits are kept.
    assert_string_equal(to_string(*prefix).c_str(), row.prefix);
  }
}

void test_prefix_refuses(void**) {
  const char* rows[] = {"",
                        "/",
                        "198.18.0.1",
                        "198.18.0.1/",
                        "198.18.0.1/33",
                        "198.18.0.1/256",
                        "198.18.0.1/-1",
                        "198.18.0.1/24 ",
                        "198.18.0.1/255.255.255.0",
                        "2001:db8::1/129",
                        "2001:db8::1/257",
                        "/24",
                        "x/24",
                        "198.18.0.1/24/24"};
  for (const char* row : rows) {
    const auto prefix = Prefix::parse(row);
    if (prefix) fail_msg("'%s' passed", row);
    assert_false(prefix.error().message.empty());
  }
}

void test_mac_address(void**) {
  const uint8_t wire[] = {0x02, 0x00, 0x5e, 0x10, 0xab, 0x0f};
  const MacAddress mac = MacAddress::load(wire);
  assert_string_equal(to_string(mac).c_str(), "02:00:5e:10:ab:0f");
  uint8_t out[6];
  mac.store(out);
  assert_memory_equal(out, wire, 6);
  assert_false(mac.is_group());
  assert_true((MacAddress{{0x01, 0, 0x5e, 0, 0, 1}}.is_group()));
  assert_true((MacAddress{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}.is_group()));
  assert_true(mac == MacAddress::load(wire) && !(mac == MacAddress{}));
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_parse_address), cmocka_unit_test(test_parse_address_refuses),
      cmocka_unit_test(test_forms_of_v4),   cmocka_unit_test(test_kinds_of_address),
      cmocka_unit_test(test_endpoint),      cmocka_unit_test(test_endpoint_refuses),
      cmocka_unit_test(test_prefix),        cmocka_unit_test(test_prefix_refuses),
      cmocka_unit_test(test_mac_address),
  };
  return cmocka_run_group_tests_name("wire", tests, nullptr, nullptr);
}
