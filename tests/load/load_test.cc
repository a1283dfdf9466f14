// The sink's side of a client, whole and byte by byte; the packets of the load; its JSON.
#include <string>
#include <vector>

#include "lib/proxy_protocol/proxy_protocol.hh"
#include "tests/load/json.hh"
#include "tests/load/packets.hh"
#include "tests/load/session.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using load::Octets;

Octets join(std::initializer_list<Octets> parts) {
  Octets out;
  for (const Octets& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

Octets text(std::string_view s) {
  const base::Bytes bytes = base::as_bytes(s);
  return {bytes.begin(), bytes.end()};
}

Octets proxy_header(int version) {
  const auto source = *wire::Endpoint::parse("198.18.0.21:4000");
  const auto destination = *wire::Endpoint::parse("198.18.0.10:1883");
  Octets out(proxy_protocol::kMaxHeader);
  out.resize(version == 1 ? proxy_protocol::encode_v1(source, destination, out)
                          : proxy_protocol::encode_v2(source, destination, {}, out));
  return out;
}

Octets publish_qos1(uint16_t id) {
  Octets out = load::encode_publish("topic", 200, 1);
  load::set_packet_id(out, "topic", id);
  return out;
}

const Octets kConnect = load::encode_connect("device", 60);
const Octets kConnect5{0x10, 19, 0, 4, 'M', 'Q', 'T', 'T', 5,   2,  0,
                       60,   0,  0, 6, 'd', 'e', 'v', 'i', 'c', 'e'};
const Octets kConnack{0x20, 2, 0, 0};
const Octets kPublish = load::encode_publish("t", 3, 0);
const Octets kSubscribe{0x82, 6, 0x12, 0x34, 0, 1, 't', 1};

struct Row {
  const char* name;
  Octets in;
  Octets out;
  bool ends;
  uint64_t connections, proxied, qos0, qos1, malformed;
};

const std::vector<Row> kRows{
    {"a client", kConnect, kConnack, false, 1, 0, 0, 0, 0},
    {"of MQTT 5", kConnect5, {0x20, 3, 0, 0, 0}, false, 1, 0, 0, 0, 0},
    {"behind PROXY v1", join({proxy_header(1), kConnect}), kConnack, false, 1, 1, 0, 0, 0},
    {"behind PROXY v2", join({proxy_header(2), kConnect}), kConnack, false, 1, 1, 0, 0, 0},
    {"two headers", join({proxy_header(2), proxy_header(2), kConnect}), {}, true, 0, 0, 0, 0, 1},
    {"wrong header", join({text("PROXY TCP4 x\r\n"), kConnect}), {}, true, 0, 0, 0, 0, 1},
    {"endless header", Octets(200, 'P'), {}, true, 0, 0, 0, 0, 1},
    {"no MQTT", text("GET / HTTP/1.1\r\n"), {}, true, 0, 0, 0, 0, 1},
    {"PUBLISH first", kPublish, {}, true, 0, 0, 0, 0, 1},
    {"messages of QoS 0", join({kConnect, kPublish, kPublish}), kConnack, false, 1, 0, 2, 0, 0},
    {"a message of QoS 1", join({kConnect, publish_qos1(0x0102)}),
     join({kConnack, {0x40, 2, 1, 2}}), false, 1, 0, 0, 1, 0},
    {"a message of QoS 2", join({kConnect, {0x34, 5, 0, 1, 't', 0, 1}}), kConnack, true, 1, 0, 0, 0,
     1},
    {"a cut message", join({kConnect, {0x30, 3, 0, 9, 't'}}), kConnack, true, 1, 0, 0, 0, 1},
    {"a length of five bytes", join({kConnect, {0x30, 0xff, 0xff, 0xff, 0xff, 1}}), kConnack, true,
     1, 0, 0, 0, 1},
    {"SUBSCRIBE", join({kConnect, kSubscribe}), join({kConnack, {0x90, 3, 0x12, 0x34, 0}}), false,
     1, 0, 0, 0, 0},
    {"SUBSCRIBE without topic", join({kConnect, {0x82, 2, 0, 1}}), kConnack, true, 1, 0, 0, 0, 1},
    {"PINGREQ", join({kConnect, {0xc0, 0}}), join({kConnack, {0xd0, 0}}), false, 1, 0, 0, 0, 0},
    {"DISCONNECT", join({kConnect, kPublish, {0xe0, 0}, kPublish}), kConnack, true, 1, 0, 1, 0, 0},
};

// Feeds `row.in` in pieces of `size` bytes, as a channel does: what is not used comes again.
void play(const Row& row, size_t size) {
  load::Tally tally;
  load::Session session(tally);
  Octets pending, out;
  bool ended = false;
  for (size_t at = 0; at < row.in.size() && !ended; at += size) {
    const base::Bytes piece = base::Bytes(row.in).subspan(at, std::min(size, row.in.size() - at));
    pending.insert(pending.end(), piece.begin(), piece.end());
    const auto used = session.take(pending, out);
    ended = !used.has_value();
    if (used) pending.erase(pending.begin(), pending.begin() + static_cast<ptrdiff_t>(*used));
  }
  const bool same = out == row.out && ended == row.ends && tally.connections == row.connections &&
                    tally.proxied == row.proxied && tally.messages_qos0 == row.qos0 &&
                    tally.messages_qos1 == row.qos1 && tally.malformed == row.malformed;
  if (!same) fail_msg("%s, in pieces of %zu bytes: not as it should be", row.name, size);
}

void test_session_rows(void**) {
  for (const Row& row : kRows) {
    play(row, row.in.size());
    for (const size_t size : {1U, 2U, 5U, 17U}) play(row, size);
  }
}

void test_clients_are_counted(void**) {
  load::Tally tally;
  Octets out;
  for (const char* id : {"one", "two", "one"}) {
    load::Session session(tally);
    const Octets in = join({load::encode_connect(id, 60), kPublish, publish_qos1(1)});
    assert_int_equal(session.take(in, out).value_or(0), in.size());
  }
  assert_int_equal(tally.clients.size(), 2);
  assert_int_equal(tally.clients["one"].connections, 2);
  assert_int_equal(tally.clients["one"].messages, 4);
  assert_int_equal(tally.clients["two"].connections, 1);
}

void test_packets_are_cut(void**) {
  for (const size_t payload : {0U, 1U, 121U, 122U, 16379U, 16380U, 70000U}) {
    const Octets bytes = load::encode_publish("topic", payload, 1);
    load::Packet packet;
    assert_true(load::cut_packet(bytes, load::kMaxPacket, packet) == load::Cut::packet);
    assert_true(packet.type == load::PacketType::publish);
    assert_int_equal(packet.flags, 2);
    assert_int_equal(packet.size, bytes.size());
    assert_int_equal(packet.body.size(), 2 + 5 + 2 + payload);
    const base::Bytes cut = base::Bytes(bytes).first(bytes.size() - 1);
    assert_true(load::cut_packet(cut, load::kMaxPacket, packet) == load::Cut::need_more);
    assert_true(load::cut_packet(bytes, packet.body.size() - 1, packet) == load::Cut::malformed);
  }
}

void test_packet_id_is_where_it_belongs(void**) {
  for (const size_t payload : {0U, 130U, 20000U}) {
    Octets bytes = load::encode_publish("topic", payload, 1);
    load::set_packet_id(bytes, "topic", 0xabcd);
    load::Packet packet;
    assert_true(load::cut_packet(bytes, load::kMaxPacket, packet) == load::Cut::packet);
    assert_int_equal(base::load_be16(packet.body.data() + 7), 0xabcd);
    assert_true(base::as_text(packet.body.subspan(2, 5)) == "topic");
  }
}

void test_json(void**) {
  assert_string_equal(load::quoted("a\"b\\c\n").c_str(), "\"a\\\"b\\\\c\\u000a\"");
  const std::string made =
      load::JsonObject().add("n", uint64_t{1}).add("x", 0.5).raw("o", "{}").text();
  assert_string_equal(made.c_str(), "{\"n\": 1, \"x\": 0.5, \"o\": {}}");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_session_rows),
      cmocka_unit_test(test_clients_are_counted),
      cmocka_unit_test(test_packets_are_cut),
      cmocka_unit_test(test_packet_id_is_where_it_belongs),
      cmocka_unit_test(test_json),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
