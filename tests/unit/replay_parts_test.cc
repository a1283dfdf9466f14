// The small parts of replay: MQTT packets, rewritten Client IDs, plans, faults.
#include <set>
#include <string>

#include "lib/replay/faults.hh"
#include "lib/replay/mqtt_packets.hh"
#include "lib/replay/plan.hh"
#include "lib/replay/script.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/sim/mqtt_packets.hh"

namespace mqlb::replay {
namespace {

using Buffer = std::vector<uint8_t>;

std::string hex(base::Bytes bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t b : bytes) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

Buffer bytes_of(const std::string& hex_text) {
  Buffer out;
  for (size_t i = 0; i + 1 < hex_text.size(); i += 2) {
    out.push_back(static_cast<uint8_t>(std::stoi(hex_text.substr(i, 2), nullptr, 16)));
  }
  return out;
}

Buffer connect_of(const std::string& client_id, uint8_t level = 4) {
  sim::ConnectFields fields;
  fields.level = level;
  fields.client_id = client_id;
  return sim::encode_connect(fields);
}

void test_answers(void**) {
  using mqtt::Version;
  const struct {
    const char* what;
    const char* request;
    Version version;
    const char* reply;
  } rows[] = {
      {"connect 3.1.1", "100c00044d5154540402003c0000", Version::v3_1_1, "20020000"},
      {"connect 5", "100d00044d5154540502003c000000", Version::v5_0, "2003000000"},
      {"publish QoS 0", "300400016178", Version::v3_1_1, ""},
      {"publish QoS 1", "3206000161000778", Version::v3_1_1, "40020007"},
      {"publish QoS 2", "3406000161010278", Version::v5_0, "50020102"},
      {"publish QoS 1 without its id", "3203000161", Version::v3_1_1, ""},
      {"release", "62020009", Version::v3_1_1, "70020009"},
      {"received", "50020009", Version::v3_1_1, "62020009"},
      {"subscribe two", "820a00050001610100016202", Version::v3_1_1, "900400050102"},
      {"subscribe 5 one", "820700050000016101", Version::v5_0, "900400050001"},
      {"subscribe 5 with id", "82090005020b0100016101", Version::v5_0, "900400050001"},
      {"unsubscribe", "a2050006000161", Version::v3_1_1, "b0020006"},
      {"unsubscribe 5", "a206000600000161", Version::v5_0, "b00400060011"},
      {"ping", "c000", Version::v3_1_1, "d000"},
      {"disconnect", "e000", Version::v3_1_1, ""},
      {"cut subscribe", "820100", Version::v3_1_1, ""},
  };
  for (const auto& row : rows) {
    MqttReader reader;
    const Buffer request = bytes_of(row.request);
    // Byte by byte: a packet shows only when it is whole.
    for (size_t i = 0; i + 1 < request.size(); ++i) {
      reader.feed(base::Bytes(request).subspan(i, 1));
      if (reader.next()) fail_msg("%s: a packet after %zu bytes", row.what, i + 1);
    }
    reader.feed(base::Bytes(request).last(1));
    const auto packet = reader.next();
    if (!packet) fail_msg("%s: no packet", row.what);
    const std::string got = hex(answer(*packet, row.version));
    if (got != row.reply) fail_msg("%s: %s, not %s", row.what, got.c_str(), row.reply);
  }
}

void test_reader_stops_at_nonsense(void**) {
  MqttReader reader;
  const Buffer bytes = bytes_of("c00010ffffffff01c000");
  reader.feed(bytes);
  assert_true(reader.next().has_value());
  assert_false(reader.next().has_value());
  reader.feed(bytes_of("c000"));
  assert_false(reader.next().has_value());
}

void test_reply_ends(void**) {
  // CONNACK, PUBLISH, SUBACK, the beginning of a PUBACK.
  const Buffer stream = bytes_of("2002000030030001619003000101400200");
  const std::vector<uint32_t> ends = reply_ends(stream);
  assert_int_equal(ends.size(), 2);
  assert_int_equal(ends[0], 4);
  assert_int_equal(ends[1], 14);
}

void test_rewrite(void**) {
  const struct {
    size_t id;
    const char* suffix;
    uint8_t level;
  } rows[] = {{5, "-1", 4}, {5, "-123456", 5}, {5, "-7", 3},      {120, "-10", 4},
              {0, "-1", 4}, {65535, "-9", 4},  {65533, "-12", 5}, {16370, "-1000000", 4}};
  for (const auto& row : rows) {
    const std::string id(row.id, 'x');
    Buffer stream = connect_of(id, row.level);
    const size_t connect_size = stream.size();
    const Buffer behind = bytes_of("c000e000");
    stream.insert(stream.end(), behind.begin(), behind.end());
    Recording recording;
    recording.client.stream = stream;
    const Rewrite rewrite(stream, row.suffix);
    const Script script(recording, true, rewrite);
    Buffer played(script.stream_size());
    script.copy(0, script.stream_size(), played.data());
    const Identity identity = identify(played);
    assert_true(identity.known);
    std::string wanted = id;
    if (!id.empty()) {
      wanted = (id + row.suffix).substr(0, 65535);
      wanted.replace(wanted.size() - std::string(row.suffix).size(), std::string::npos, row.suffix);
    }
    if (identity.client_id != wanted) fail_msg("wrong Client ID of %zu bytes", row.id);
    assert_string_equal(hex(base::Bytes(played).last(4)).c_str(), "c000e000");
    // What is behind the CONNECT moves with it, and pieces put together give the whole.
    const auto packet = script.first_packet();
    assert_int_equal(packet.size() + 4, played.size());
    assert_int_equal(rewrite.map(static_cast<uint32_t>(connect_size)), packet.size());
    Buffer pieces(played.size());
    uint32_t from = 0;
    for (size_t cut = 0; cut <= stream.size(); cut += 1 + cut / 8) {
      const uint32_t to = rewrite.map(static_cast<uint32_t>(cut));
      assert_true(to >= from);
      script.copy(from, to - from, pieces.data() + from);
      from = to;
    }
    script.copy(from, static_cast<uint32_t>(played.size()) - from, pieces.data() + from);
    assert_true(pieces == played);
    assert_int_equal(script.match(0, played), played.size());
    played[played.size() / 2] ^= 1;
    assert_int_equal(script.match(0, played), played.size() / 2);
  }
}

wire::Endpoint endpoint(const char* text) { return *wire::Endpoint::parse(text); }

Recording recording(const char* client, const char* server, const std::string& id,
                    int64_t begins = 0, int64_t lasts = 10) {
  Recording r;
  r.client.endpoint = endpoint(client);
  r.server.endpoint = endpoint(server);
  r.client.stream = connect_of(id);
  r.begins = base::Duration(begins);
  Step first;
  Step last;
  last.at = base::Duration(lasts);
  r.client.steps = {first, last};
  return r;
}

void test_targets(void**) {
  const std::vector<wire::Endpoint> listeners{
      endpoint("198.18.0.10:1883"), endpoint("198.18.0.10:1884"), endpoint("198.18.0.11:1884")};
  const struct {
    const char* server;
    const char* target;  // null: refused
  } rows[] = {{"198.18.0.11:1884", "198.18.0.11:1884"},
              {"10.0.0.1:1883", "198.18.0.10:1883"},
              {"10.0.0.1:1884", nullptr},
              {"10.0.0.1:8883", nullptr}};
  for (const auto& row : rows) {
    Capture capture;
    capture.recordings.push_back(recording("198.18.0.20:4000", row.server, "a"));
    const auto plan = make_plan(capture, {}, listeners);
    assert_int_equal(plan.has_value(), row.target != nullptr);
    if (row.target) assert_true((*plan)[0].target == endpoint(row.target));
    PlayOptions options;
    options.target = endpoint("198.18.0.99:9");
    assert_true((*make_plan(capture, options, listeners))[0].target == *options.target);
  }
}

void test_client_addresses(void**) {
  const char* const v4 = "198.18.0.10:1883";
  const char* const v6 = "[2001:db8::10]:1883";
  const struct {
    const char* client;
    const char* listener;
    const char* network;  // null: none given
    const char* local;
  } rows[] = {{"10.0.0.7:4000", v4, nullptr, "10.0.0.7:4000"},
              {"127.0.0.1:4000", v4, nullptr, "198.18.128.1:4000"},
              {"[::1]:4000", v4, nullptr, "198.18.128.1:4000"},
              {"[2001:db8:5::7]:4000", v4, nullptr, "198.18.128.1:4000"},
              {"10.0.0.7:4000", v4, "198.18.64.0/24", "198.18.64.1:4000"},
              {"10.0.0.7:4000", v4, "198.18.64.9/32", "198.18.64.9:4000"},
              {"[2001:db8:5::7]:4000", v6, nullptr, "[2001:db8:5::7]:4000"},
              {"10.0.0.7:4000", v6, nullptr, "[2001:db8:ffff::1]:4000"},
              {"[::1]:4000", v6, nullptr, "[2001:db8:ffff::1]:4000"},
              {"[fe80::7]:4000", v6, nullptr, "[2001:db8:ffff::1]:4000"},
              {"[2001:db8:5::7]:4000", v6, "2001:db8:9::/64", "[2001:db8:9::1]:4000"},
              {"10.0.0.7:4000", v6, "2001:db8:9::42/128", "[2001:db8:9::42]:4000"}};
  for (const auto& row : rows) {
    Capture capture;
    capture.recordings.push_back(recording(row.client, "10.0.0.1:1883", "a"));
    PlayOptions options;
    if (row.network) options.client_network = *wire::Prefix::parse(row.network);
    const auto plan = make_plan(capture, options, {endpoint(row.listener)});
    if ((*plan)[0].local != endpoint(row.local)) {
      fail_msg("%s: %s", row.client, wire::to_string((*plan)[0].local).c_str());
    }
  }
}

void test_many_clients(void**) {
  Capture capture;
  capture.recordings.push_back(recording("10.0.0.7:4000", "10.0.0.1:1883", "a", 0, 10));
  capture.recordings.push_back(recording("10.0.0.7:4001", "10.0.0.1:1883", "b", 5, 10));
  capture.recordings.push_back(recording("10.0.0.7:4000", "10.0.0.1:1883", "a", 50, 10));
  PlayOptions options;
  options.clients = 300;
  options.repeat = 2;
  options.rate = 1000;
  options.client_network = *wire::Prefix::parse("198.18.64.0/28");
  const auto plan = make_plan(capture, options, {endpoint("198.18.0.10:1883")});
  assert_int_equal(plan->size(), 1800);
  std::set<wire::Endpoint> first_of_a;
  for (size_t i = 0; i < plan->size(); ++i) {
    const Planned& p = (*plan)[i];
    assert_true(options.client_network->contains(p.local.address));
    assert_int_equal(p.client, i / 6);
    // A second time comes after the first, on another port; a reconnect after the first life.
    if (i % 2 == 1) {
      assert_int_equal(*p.after, i - 1);
      assert_true((*plan)[i - 1].local != p.local);
    }
    if (i % 6 == 4) {
      assert_int_equal(*p.after, i - 3);
      assert_true((*plan)[i - 4].local == p.local);
    }
    if (i % 6 == 2) assert_false(p.after.has_value());
    if (i % 6 == 0) {
      assert_true(first_of_a.insert(p.local).second);
      assert_int_equal(p.begins.count(), static_cast<int64_t>(i / 6) * 3000);
    }
  }
  options.client_network = *wire::Prefix::parse("198.18.64.1/32");
  options.clients = 40000;
  assert_false(make_plan(capture, options, {endpoint("198.18.0.10:1883")}).has_value());
}

// One service over both families: captured clients find the listener of their own.
void test_targets_of_both_families(void**) {
  const std::vector<wire::Endpoint> listeners{endpoint("198.18.0.10:1883"),
                                              endpoint("[2001:db8::10]:1883")};
  const struct {
    const char* client;
    const char* server;
    const char* local;
    const char* target;
  } rows[] = {
      {"10.0.0.7:4000", "10.0.0.1:1883", "10.0.0.7:4000", "198.18.0.10:1883"},
      {"[2001:db8:5::7]:4000", "[2001:db8:5::1]:1883", "[2001:db8:5::7]:4000",
       "[2001:db8::10]:1883"},
      {"[::1]:4000", "[::1]:1883", "[2001:db8:ffff::1]:4000", "[2001:db8::10]:1883"},
      {"127.0.0.1:4000", "127.0.0.1:1883", "198.18.128.1:4000", "198.18.0.10:1883"},
  };
  Capture capture;
  for (const auto& row : rows) capture.recordings.push_back(recording(row.client, row.server, "a"));
  const auto plan = make_plan(capture, {}, listeners);
  for (size_t i = 0; i < std::size(rows); ++i) {
    const Planned& p = (*plan)[i];
    if (p.local != endpoint(rows[i].local) || p.target != endpoint(rows[i].target)) {
      fail_msg("%s: %s > %s", rows[i].client, wire::to_string(p.local).c_str(),
               wire::to_string(p.target).c_str());
    }
  }
  PlayOptions options;
  options.client_network = *wire::Prefix::parse("2001:db8:9::/64");
  const auto refused = make_plan(capture, options, listeners);
  assert_string_equal(refused.error().message.c_str(),
                      "--client-network: clients of 198.18.0.10:1883 cannot have addresses of "
                      "2001:db8:9::/64");
}

void test_host_addresses(void**) {
  const struct {
    const char* network;
    uint32_t n;
    const char* address;
  } rows[] = {{"198.18.64.9/24", 0, "198.18.64.1"},
              {"198.18.64.0/24", 253, "198.18.64.254"},
              {"198.18.64.0/24", 254, "198.18.64.1"},
              {"198.18.64.4/31", 1, "198.18.64.5"},
              {"198.18.64.9/32", 7, "198.18.64.9"},
              {"0.0.0.0/0", 0xfffffffd, "255.255.255.254"},
              {"2001:db8:9::5/64", 0, "2001:db8:9::1"},
              {"2001:db8:9::/64", 0xfffffffe, "2001:db8:9::ffff:ffff"},
              {"2001:db8:9::/64", 0xffffffff, "2001:db8:9::1"},
              {"2001:db8:9::ff/120", 254, "2001:db8:9::ff"},
              {"2001:db8:9::ff/120", 255, "2001:db8:9::1"},
              {"2001:db8:9::7/127", 1, "2001:db8:9::7"},
              {"2001:db8:9::7/128", 3, "2001:db8:9::7"},
              {"::/0", 0, "::1"}};
  for (const auto& row : rows) {
    const HostAddresses hosts(*wire::Prefix::parse(row.network));
    const std::string address = wire::to_string(hosts[row.n]);
    if (address != row.address) fail_msg("%s: %s", row.network, address.c_str());
  }
}

// On the wire two connections cannot share addresses and ports at a time, though they led to
// different servers when they were captured.
void test_one_target_for_two_servers(void**) {
  Capture capture;
  capture.recordings.push_back(recording("10.0.0.7:4000", "10.0.0.1:1883", "a", 0, 1000));
  capture.recordings.push_back(recording("10.0.0.7:4000", "10.0.0.2:1883", "b", 5, 1000));
  PlayOptions options;
  const std::vector<wire::Endpoint> listeners{endpoint("10.0.0.1:1883"), endpoint("10.0.0.2:1883")};
  assert_false((*make_plan(capture, options, listeners))[1].after.has_value());
  options.target = endpoint("198.18.0.10:1883");
  assert_int_equal((*make_plan(capture, options, listeners))[1].after.value(), 0);
}

void test_faults(void**) {
  const char* const wrong[] = {"",
                               "all",
                               "all:",
                               "all:loss",
                               "all:loss=",
                               "all:loss=2",
                               "all:loss=-0.1",
                               "all:loss=0.1x",
                               "no:loss=0",
                               "all:what=1",
                               "all:loss=0.1,",
                               "all:delay=1.5",
                               "all:loss=nan",
                               "all:delay=99999999999"};
  for (const char* text : wrong) {
    WireFaults faults{};
    if (parse_faults(text, faults)) fail_msg("'%s' passes", text);
  }
  WireFaults faults{};
  assert_true(parse_faults("clients:loss=0.5,delay=7", faults).has_value());
  assert_true(parse_faults("to-clients:duplicate=1", faults).has_value());
  assert_true(faults[0].loss == 0.5 && faults[1].loss == 0.5 && faults[2].loss == 0);
  assert_int_equal(faults[1].delay.count(), 7);
  assert_true(faults[0].duplicate == 0 && faults[1].duplicate == 1);
}

void test_wire(void**) {
  Faults faults;
  faults.loss = 0.25;
  faults.corrupt = 0.5;
  faults.delay = base::Duration(100);
  faults.jitter = base::Duration(10);
  Wire wire(faults, base::Random(5));
  size_t lost = 0;
  size_t corrupt = 0;
  constexpr size_t kFrames = 4000;
  for (size_t i = 0; i < kFrames; ++i) {
    Buffer frame(60, 0);
    const Wire::Passage passage = wire.pass(frame);
    if (passage.copies == 0) {
      ++lost;
      continue;
    }
    assert_true(passage.delays[0] >= faults.delay && passage.delays[0] <= base::Duration(110));
    int bits = 0;
    for (size_t b = 0; b < frame.size(); ++b) {
      bits += __builtin_popcount(frame[b]);
      if (b < 14) assert_int_equal(frame[b], 0);
    }
    assert_true(bits <= 1);
    corrupt += static_cast<size_t>(bits);
  }
  assert_in_range(lost, kFrames * 22 / 100, kFrames * 28 / 100);
  assert_in_range(corrupt, (kFrames - lost) * 46 / 100, (kFrames - lost) * 54 / 100);
}

}  // namespace
}  // namespace mqlb::replay

int main() {
  using namespace mqlb::replay;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_answers),
      cmocka_unit_test(test_reader_stops_at_nonsense),
      cmocka_unit_test(test_reply_ends),
      cmocka_unit_test(test_rewrite),
      cmocka_unit_test(test_targets),
      cmocka_unit_test(test_client_addresses),
      cmocka_unit_test(test_targets_of_both_families),
      cmocka_unit_test(test_host_addresses),
      cmocka_unit_test(test_many_clients),
      cmocka_unit_test(test_one_target_for_two_servers),
      cmocka_unit_test(test_faults),
      cmocka_unit_test(test_wire),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
