// Neighbour discovery: messages parse back as they were built, and each rule of RFC 4861
// sections 7.1.1 and 7.1.2 refuses what breaks it.
#include <algorithm>
#include <functional>
#include <vector>

#include "lib/wire/ndp.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb::wire;
using Octets = std::vector<uint8_t>;

constexpr MacAddress kAsker{{2, 0, 0, 0, 0, 1}};
constexpr MacAddress kAnswerer{{2, 0, 0, 0, 0, 2}};

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Neighbour solicitation() {
  Neighbour m;
  m.source = ip("2001:db8::1");
  m.target = ip("2001:db8::12:3456");
  m.destination = solicited_node(m.target);
  m.link_address = kAsker;
  return m;
}

Neighbour advertisement() {
  Neighbour m;
  m.type = Neighbour::advertisement;
  m.flags = Neighbour::solicited | Neighbour::override_cached;
  m.source = m.target = ip("2001:db8::12:3456");
  m.destination = ip("2001:db8::1");
  m.link_address = kAnswerer;
  return m;
}

Octets datagram(const Neighbour& m) {
  Octets frame(kNeighbourFrame);
  frame.resize(build_neighbour(m, {kAsker, multicast_mac(m.destination)}, frame));
  assert_true(frame.size() > kEthernetHeader);
  return {frame.begin() + kEthernetHeader, frame.end()};
}

// Word by word, as RFC 8200 section 8.1 writes it: shares nothing with lib/wire/checksum.hh.
void correct_checksum(Octets& d) {
  d[42] = d[43] = 0;
  uint32_t sum = 58 + static_cast<uint32_t>(d.size() - 40);
  for (size_t i = 8; i + 1 < d.size(); i += 2) sum += uint32_t{d[i]} << 8 | d[i + 1];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  d[42] = static_cast<uint8_t>(~sum >> 8);
  d[43] = static_cast<uint8_t>(~sum);
}

void test_addresses(void**) {
  const IpAddress group = solicited_node(ip("2001:db8::12:3456"));
  assert_string_equal(to_string(group).c_str(), "ff02::1:ff12:3456");
  assert_string_equal(to_string(multicast_mac(group)).c_str(), "33:33:ff:12:34:56");
}

void test_built_parse_back(void**) {
  Neighbour bare = advertisement();
  bare.link_address.reset();
  Neighbour probe = solicitation();
  probe.source = ip("::");
  probe.link_address.reset();
  for (const Neighbour& m : {solicitation(), advertisement(), bare, probe}) {
    Octets d = datagram(m);
    Octets summed = d;
    correct_checksum(summed);
    assert_true(summed == d);
    d.resize(d.size() + 6, 0xa5);  // Ethernet padding
    Neighbour out;
    assert_true(parse_neighbour(d, out));
    assert_int_equal(out.type, m.type);
    assert_int_equal(out.flags, m.flags);
    assert_true(out.source == m.source && out.destination == m.destination);
    assert_true(out.target == m.target && out.link_address == m.link_address);
  }
}

void test_refuses(void**) {
  const struct {
    const char* rule;
    Neighbour message;
    std::function<void(Octets&)> change;
  } rows[] = {
      {"version", solicitation(), [](Octets& d) { d[0] = 0x40; }},
      {"next header", solicitation(), [](Octets& d) { d[6] = 0; }},
      {"hop limit", solicitation(), [](Octets& d) { d[7] = 254; }},
      {"code", solicitation(), [](Octets& d) { d[41] = 1; }},
      {"type", solicitation(), [](Octets& d) { d[40] = 134; }},
      {"length past the end", solicitation(), [](Octets& d) { d[5] = 33; }},
      {"length too small", solicitation(), [](Octets& d) { d[5] = 23; }},
      {"option of length 0", solicitation(), [](Octets& d) { d[65] = 0; }},
      {"option past the end", solicitation(), [](Octets& d) { d[65] = 2; }},
      {"link address of a group", solicitation(), [](Octets& d) { d[66] = 0x33; }},
      {"target multicast", solicitation(), [](Octets& d) { d[48] = 0xff; }},
      {"source multicast", solicitation(), [](Octets& d) { d[8] = 0xff; }},
      {"target IPv4-mapped", advertisement(),
       [](Octets& d) {
         for (size_t i = 48; i < 60; ++i) d[i] = i < 58 ? 0 : 0xff;
       }},
      {"probe with a link address", solicitation(),
       [](Octets& d) { std::fill(d.begin() + 8, d.begin() + 24, uint8_t{0}); }},
      {"advertisement from nobody", advertisement(),
       [](Octets& d) { std::fill(d.begin() + 8, d.begin() + 24, uint8_t{0}); }},
      {"answer to a group", advertisement(), [](Octets& d) { d[24] = 0xff; }},
  };
  for (const auto& row : rows) {
    Octets d = datagram(row.message);
    row.change(d);
    correct_checksum(d);
    Neighbour out;
    if (parse_neighbour(d, out)) fail_msg("%s", row.rule);
  }
}

void test_probe_must_go_to_the_targets_group(void**) {
  Neighbour probe = solicitation();
  probe.source = ip("::");
  probe.link_address.reset();
  Neighbour out;
  assert_true(parse_neighbour(datagram(probe), out));
  probe.destination = ip("ff02::1");
  assert_false(parse_neighbour(datagram(probe), out));
}

void test_every_cut_and_flip_is_refused(void**) {
  const Octets whole = datagram(solicitation());
  Neighbour out;
  for (size_t n = 0; n < whole.size(); ++n) {
    assert_false(parse_neighbour({whole.data(), n}, out));
  }
  for (size_t bit = 40 * 8; bit < whole.size() * 8; ++bit) {
    Octets d = whole;
    d[bit / 8] ^= static_cast<uint8_t>(1U << bit % 8);
    if (parse_neighbour(d, out)) fail_msg("bit %zu", bit);
  }
}

void test_build_refuses(void**) {
  Octets frame(kNeighbourFrame);
  Neighbour m = solicitation();
  assert_int_equal(build_neighbour(m, {}, {frame.data(), frame.size() - 1}), 0);
  m.target = ip("198.18.0.1");
  assert_int_equal(build_neighbour(m, {}, frame), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_addresses),
      cmocka_unit_test(test_built_parse_back),
      cmocka_unit_test(test_refuses),
      cmocka_unit_test(test_probe_must_go_to_the_targets_group),
      cmocka_unit_test(test_every_cut_and_flip_is_refused),
      cmocka_unit_test(test_build_refuses),
  };
  return cmocka_run_group_tests_name("wire_ndp", tests, nullptr, nullptr);
}
