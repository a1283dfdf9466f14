// The CONNECT parser and the CONNACK encoder, by rows: what the packet is, its bytes, the answer.
#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "lib/mqtt/connect.hh"
#include "lib/mqtt/utf8.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb::mqtt;
using mqlb::base::as_bytes;
using mqlb::base::as_text;
using mqlb::base::Bytes;
using std::string;

constexpr int kUser = 0x80, kPassword = 0x40, kRetain = 0x20, kQos1 = 0x08, kQos2 = 0x10,
              kQos3 = 0x18, kWill = 0x04, kClean = 0x02;
constexpr size_t kWhole = SIZE_MAX;

string bytes(std::initializer_list<int> values) {
  string s;
  for (const int v : values) s.push_back(static_cast<char>(v));
  return s;
}

string field(const string& content) {
  return bytes({static_cast<int>(content.size() >> 8), static_cast<int>(content.size() & 0xff)}) +
         content;
}

string var_int(size_t n) {
  string s;
  do {
    const size_t b = n % 128;
    n /= 128;
    s.push_back(static_cast<char>(n > 0 ? b | 0x80 : b));
  } while (n > 0);
  return s;
}

string packet(const string& body) { return "\x10" + var_int(body.size()) + body; }

string header(const char* name, int level, int flags) {
  return field(name) + bytes({level, flags, 0x01, 0x2c});
}

string v31(int flags, const string& payload) {
  return packet(header("MQIsdp", 3, flags) + payload);
}

string v311(int flags, const string& payload) { return packet(header("MQTT", 4, flags) + payload); }

// properties: without their length.
string v5(int flags, const string& properties, const string& payload) {
  return packet(header("MQTT", 5, flags) + var_int(properties.size()) + properties + payload);
}

string v5_will(const string& will_properties) {
  return v5(kWill, "",
            field("id") + var_int(will_properties.size()) + will_properties + field("topic") +
                field("bye"));
}

// Parses a copy of exactly this size, so that the sanitizer sees a read past it.
template <typename Check>
void parse_exactly(Bytes input, Check&& check) {
  const std::vector<uint8_t> copy(input.begin(), input.end());
  check(parse_connect(copy));
}

struct Good {
  const char* what;
  string input;
  Version version;
  string client_id;
  bool has_user_name;
  string user_name;
  bool clean_start;
};

std::vector<Good> good_rows() {
  const auto v3 = Version::v3_1;
  const auto v4 = Version::v3_1_1;
  const auto v5_0 = Version::v5_0;
  const string long_id(65535, 'x');
  const string all_properties =
      bytes({0x11, 0, 0, 0, 60}) + bytes({0x21, 0, 1}) + bytes({0x27, 0, 0, 1, 0}) +
      bytes({0x22, 0, 0}) + bytes({0x19, 1}) + bytes({0x17, 0}) + "\x26" + field("k") + field("v") +
      "\x26" + field("k") + field("v") + "\x15" + field("SCRAM") + "\x16" + field(bytes({0, 0xff}));
  const string will_properties = bytes({0x18, 0, 0, 0, 9}) + bytes({0x01, 7}) +
                                 bytes({0x02, 0, 0, 0, 0}) + "\x03" + field("text/plain") + "\x08" +
                                 field("reply/to") + "\x09" + field(bytes({0, 0x80})) + "\x26" +
                                 field("") + field("");
  return {
      {"3.1", v31(kClean, field("device")), v3, "device", false, "", true},
      {"3.1, empty id", v31(0, field("")), v3, "", false, "", false},
      {"3.1, 24 characters", v31(0, field(string(24, 'a'))), v3, string(24, 'a'), false, "", false},
      {"3.1, will, user, password",
       v31(kUser | kPassword | kWill | kQos1 | kRetain,
           field("d") + field("t") + field("m") + field("u") + field("p")),
       v3, "d", true, "u", false},
      {"3.1, flagged user name is missing", v31(kUser, field("d")), v3, "d", false, "", false},
      {"3.1, user name, flagged password is missing",
       v31(kUser | kPassword, field("d") + field("u")), v3, "d", true, "u", false},
      {"3.1, both are missing behind a will",
       v31(kUser | kPassword | kWill, field("d") + field("t") + field("m")), v3, "d", false, "",
       false},
      {"3.1, bridge", packet(header("MQIsdp", 0x83, 0) + field("br")), v3, "br", false, "", false},
      {"3.1.1", v311(0, field("device")), v4, "device", false, "", false},
      {"3.1.1, smallest", v311(kClean, field("")), v4, "", false, "", true},
      {"3.1.1, bridge", packet(header("MQTT", 0x84, 0) + field("br")), v4, "br", false, "", false},
      {"3.1.1, longest id", v311(0, field(long_id)), v4, long_id, false, "", false},
      {"3.1.1, all fields, binary will and password",
       v311(kUser | kPassword | kWill | kQos2 | kClean,
            field("id") + field("will/topic") + field(bytes({0, 0xff})) + field("user") +
                field(bytes({0xc0, 0, 0x80}))),
       v4, "id", true, "user", true},
      {"3.1.1, empty user name", v311(kUser, field("id") + field("")), v4, "id", true, "", false},
      {"3.1.1, length not in its shortest form",
       "\x10" + bytes({0x8e, 0x80, 0x80, 0}) + header("MQTT", 4, 0) + field("ab"), v4, "ab", false,
       "", false},
      {"3.1.1, id of two, three and four byte characters",
       v311(0, field("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), v4,
       "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", false, "", false},
      {"5.0", v5(0, "", field("device")), v5_0, "device", false, "", false},
      {"5.0, empty id, clean start", v5(kClean, "", field("")), v5_0, "", false, "", true},
      {"5.0, empty id, no clean start", v5(0, "", field("")), v5_0, "", false, "", false},
      {"5.0, password alone", v5(kPassword, "", field("id") + field("token")), v5_0, "id", false,
       "", false},
      {"5.0, every property", v5(kClean, all_properties, field("id")), v5_0, "id", false, "", true},
      {"5.0, every will property", v5_will(will_properties), v5_0, "id", false, "", false},
      {"5.0, both, with user and password",
       v5(kUser | kPassword | kWill, all_properties,
          field("id") + var_int(will_properties.size()) + will_properties + field("t") + field("") +
              field("u") + field("")),
       v5_0, "id", true, "u", false},
      {"5.0, properties over 127 bytes",
       v5(0, "\x26" + field(string(200, 'k')) + field("v"), field("id")), v5_0, "id", false, "",
       false},
  };
}

void check_good(const Good& row, const ConnectResult& result, size_t size) {
  const auto* connect = std::get_if<Connect>(&result);
  if (connect == nullptr) fail_msg("%s: not a CONNECT", row.what);
  assert_int_equal(connect->size, size);
  assert_true(connect->version == row.version);
  assert_true(as_text(connect->client_id) == row.client_id);
  assert_int_equal(connect->has_user_name, row.has_user_name);
  assert_true(as_text(connect->user_name) == row.user_name);
  assert_int_equal(connect->clean_start, row.clean_start);
  assert_int_equal(connect->keep_alive, 300);
}

void test_good(void**) {
  for (const Good& row : good_rows()) {
    const size_t size = row.input.size();
    parse_exactly(as_bytes(row.input), [&](const auto& r) { check_good(row, r, size); });
    // What a client sends behind its CONNECT is not looked at.
    const string more = row.input + bytes({0x82, 0xff, 0xff});
    parse_exactly(as_bytes(more), [&](const auto& r) { check_good(row, r, size); });
  }
}

void test_cut_everywhere(void**) {
  for (const Good& row : good_rows()) {
    const size_t fixed =
        1 + (row.input[1] < 0 ? (row.input[2] < 0 ? (row.input[3] < 0 ? 4U : 3U) : 2U) : 1U);
    // A cut inside 64 KB of one letter is a cut like the next.
    const size_t step = row.input.size() > 10'000 ? 499 : 1;
    for (size_t cut = 0; cut < row.input.size(); cut += step) {
      parse_exactly(as_bytes(row.input).first(cut), [&](const auto& result) {
        const auto* more = std::get_if<NeedMore>(&result);
        if (more == nullptr) fail_msg("%s: cut at %zu", row.what, cut);
        assert_int_equal(more->total, cut < fixed ? 0 : row.input.size());
      });
    }
  }
}

void test_largest_packet(void**) {
  // 268,435,455 is the largest Remaining Length. Only its beginning is at hand.
  const string input = bytes({0x10, 0xff, 0xff, 0xff, 0x7f}) + header("MQTT", 5, 0);
  const auto more = std::get<NeedMore>(parse_connect(as_bytes(input)));
  assert_int_equal(more.total, 268'435'460);
  const string properties = input + bytes({0xf0, 0xff, 0xff, 0x7f});
  assert_true(std::holds_alternative<NeedMore>(parse_connect(as_bytes(properties))));
}

struct Bad {
  const char* what;
  string input;
  Malformed reason;
  size_t shown_at = kWhole;  // bytes from which on it shows
};

std::vector<Bad> bad_framing_rows() {
  using enum Malformed;
  return {
      {"another packet", bytes({0x30, 0x0c}), not_connect, 1},
      {"an HTTP request", "GET / HTTP/1.1", not_connect, 1},
      {"nothing that exists", bytes({0x00}), not_connect, 1},
      {"a TLS hello", bytes({0x16, 0x03, 0x01}), fixed_header_flags, 1},
      {"RETAIN", bytes({0x11, 0x0c}), fixed_header_flags, 1},
      {"DUP", bytes({0x18, 0x0c}), fixed_header_flags, 1},
      {"length of five bytes", bytes({0x10, 0x80, 0x80, 0x80, 0x80, 0x01}), remaining_length, 5},
      {"length 0", bytes({0x10, 0}), remaining_length, 2},
      {"length 11", bytes({0x10, 11}) + header("MQTT", 4, 0), remaining_length, 2},
      {"5.0, length not in its shortest form",
       bytes({0x10, 0x8f, 0x00}) + header("MQTT", 5, 0) + bytes({0}) + field("ab"),
       remaining_length, 10},
      {"name of 5 bytes", packet(field("MQTTT") + bytes({4, 2, 0, 60}) + field("")), protocol_name,
       4},
      {"name of 260 bytes", bytes({0x10, 20, 1, 4}) + "MQTT", protocol_name, 3},
      {"name in lower case", packet(header("mqtt", 4, 2) + field("")), protocol_name, 5},
      {"last letter of the name", packet(header("MQTt", 4, 2) + field("")), protocol_name, 8},
      {"name of 3.1, wrong", packet(header("MQIsdq", 3, 2) + field("")), protocol_name, 10},
      {"MQTT 3", packet(header("MQTT", 3, 2) + field("")), protocol_version, 9},
      {"MQTT 0", packet(header("MQTT", 0, 2) + field("")), protocol_version, 9},
      {"MQTT 6", packet(header("MQTT", 6, 2) + field("")), protocol_version, 9},
      {"MQTT 5 as a bridge", packet(header("MQTT", 0x85, 2) + field("")), protocol_version, 9},
      {"MQIsdp 4", packet(header("MQIsdp", 4, 2) + field("")), protocol_version, 11},
      {"MQIsdp 0x84", packet(header("MQIsdp", 0x84, 2) + field("")), protocol_version, 11},
      {"MQTT 0x83", packet(header("MQTT", 0x83, 2) + field("")), protocol_version, 9},
  };
}

std::vector<Bad> bad_flags_rows() {
  using enum Malformed;
  const string id = field("id");
  const string will = field("t") + field("m");
  return {
      {"reserved bit, 3.1", v31(1, id), connect_flags, 12},
      {"reserved bit, 3.1.1", v311(1, id), connect_flags, 10},
      {"reserved bit, 5.0", v5(1, "", id), connect_flags, 10},
      {"will QoS 1 without will", v311(kQos1, id), connect_flags, 10},
      {"will QoS 2 without will", v5(kQos2, "", id), connect_flags, 10},
      {"will retain without will", v311(kRetain, id), connect_flags, 10},
      {"will QoS 3", v311(kWill | kQos3, id + will), connect_flags, 10},
      {"will QoS 3, 5.0", v5(kWill | kQos3, "", id + bytes({0}) + will), connect_flags, 10},
      {"will QoS 3 without will", v311(kQos3, id), connect_flags, 10},
      {"password alone, 3.1", v31(kPassword, id + field("p")), connect_flags, 12},
      {"password alone, 3.1.1", v311(kPassword, id + field("p")), connect_flags, 10},
      {"empty id without clean session", v311(0, field("")), client_id, 14},
  };
}

std::vector<Bad> bad_length_rows() {
  using enum Malformed;
  const string id = field("id");
  return {
      {"id past the end", packet(header("MQTT", 4, 0) + bytes({0, 3}) + "id"), truncated, 14},
      {"id of 65,535 past the end", packet(header("MQTT", 4, 0) + bytes({255, 255})), truncated,
       14},
      {"no room for the id's length, 5.0", packet(header("MQTT", 5, 0) + bytes({0, 0})), truncated,
       13},
      {"no will", v311(kWill, id), truncated, 16},
      {"no will payload", v311(kWill, id + field("t")), truncated, 19},
      {"half a length", v311(kWill, id + field("t") + bytes({0})), truncated, 19},
      {"no user name", v311(kUser, id), truncated, 16},
      {"user name past the end", v311(kUser, id + bytes({0, 1})), truncated, 18},
      {"user name past the end, 3.1", v31(kUser, id + bytes({0, 1})), truncated, 20},
      {"half a length, 3.1", v31(kUser, id + bytes({0})), truncated, 18},
      {"no password", v311(kUser | kPassword, id + field("u")), truncated, 19},
      {"no password, 5.0", v5(kPassword, "", id), truncated, 17},
      {"a byte behind the id", v311(0, id + "x"), trailing_bytes, 14},
      {"a user name without its flag", v311(0, id + field("u")), trailing_bytes, 14},
      {"a byte behind the will", v311(kWill, id + field("t") + field("m") + "x"), trailing_bytes,
       21},
      {"a byte behind the user name", v311(kUser, id + field("u") + "x"), trailing_bytes, 18},
      {"a byte behind the password", v311(kUser | kPassword, id + field("u") + field("p") + "x"),
       trailing_bytes, 21},
      {"a byte behind the password, 3.1",
       v31(kUser | kPassword, id + field("u") + field("p") + "x"), trailing_bytes, 23},
      {"a byte behind the id, 5.0", v5(0, "", id + "x"), trailing_bytes, 15},
  };
}

// Properties begin at byte 13 (their length is byte 12).
std::vector<Bad> bad_property_rows() {
  using enum Malformed;
  const string id = field("id");
  const auto with = [&](const string& properties) { return v5(0, properties, id); };
  const string start = header("MQTT", 5, 0);
  return {
      {"unknown", with(bytes({0x7f, 0})), properties, 14},
      {"identifier 0", with(bytes({0})), properties, 14},
      {"identifier of two bytes", with(bytes({0x91, 0x00, 0, 0, 0, 0})), properties, 14},
      {"of PUBLISH", with(bytes({0x23, 0, 1})), properties, 14},
      {"of the will", with(bytes({0x18, 0, 0, 0, 1})), properties, 14},
      {"session expiry twice", with(bytes({0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1})), properties, 19},
      {"receive maximum twice", with(bytes({0x21, 0, 1, 0x21, 0, 1})), properties, 17},
      {"packet size twice", with(bytes({0x27, 0, 0, 0, 1, 0x27, 0, 0, 0, 1})), properties, 19},
      {"alias maximum twice", with(bytes({0x22, 0, 1, 0x22, 0, 1})), properties, 17},
      {"response information twice", with(bytes({0x19, 1, 0x19, 1})), properties, 16},
      {"problem information twice", with(bytes({0x17, 1, 0x17, 1})), properties, 16},
      {"method twice", with("\x15" + field("m") + "\x15" + field("m")), properties, 18},
      {"data twice", with("\x15" + field("m") + "\x16" + field("") + "\x16" + field("")),
       properties, 21},
      {"data without method", with("\x16" + field("d")), properties, 17},
      {"receive maximum 0", with(bytes({0x21, 0, 0})), properties, 16},
      {"packet size 0", with(bytes({0x27, 0, 0, 0, 0})), properties, 18},
      {"response information 2", with(bytes({0x19, 2})), properties, 15},
      {"problem information 2", with(bytes({0x17, 2})), properties, 15},
      {"cut behind the identifier", with(bytes({0x11})), properties, 14},
      {"cut in four bytes", with(bytes({0x11, 0, 0, 0})), properties, 14},
      {"cut in two bytes", with(bytes({0x21, 0})), properties, 14},
      {"cut in a text's length", with(bytes({0x15, 0})), properties, 14},
      {"cut in a text", with(bytes({0x15, 0, 2, 'm'})), properties, 16},
      {"cut in binary data", with(bytes({0x16, 0, 2, 'm'})), properties, 16},
      {"cut in a pair", with("\x26" + field("k")), properties, 17},
      {"cut in a pair's second", with("\x26" + field("k") + bytes({0, 1})), properties, 19},
      {"length not in its shortest form", packet(start + bytes({0x80, 0}) + id), properties, 14},
      {"length of five bytes", packet(start + bytes({0x80, 0x80, 0x80, 0x80, 0}) + id), properties,
       16},
      {"length past the packet", packet(start + bytes({4, 0x21, 0, 1})), truncated, 13},
      {"length far past the packet", packet(start + bytes({0xff, 0xff, 0xff, 0x7f})), truncated,
       16},
      {"will: unknown", v5_will(bytes({0x7f})), properties, 19},
      {"will: of CONNECT", v5_will(bytes({0x11, 0, 0, 0, 1})), properties, 19},
      {"will: delay twice", v5_will(bytes({0x18, 0, 0, 0, 1, 0x18, 0, 0, 0, 1})), properties, 24},
      {"will: format twice", v5_will(bytes({0x01, 1, 0x01, 1})), properties, 21},
      {"will: expiry twice", v5_will(bytes({0x02, 0, 0, 0, 1, 0x02, 0, 0, 0, 1})), properties, 24},
      {"will: type twice", v5_will("\x03" + field("") + "\x03" + field("")), properties, 22},
      {"will: topic twice", v5_will("\x08" + field("") + "\x08" + field("")), properties, 22},
      {"will: correlation twice", v5_will("\x09" + field("") + "\x09" + field("")), properties, 22},
      {"will: cut", v5_will(bytes({0x18, 0, 0, 0})), properties, 19},
      {"will: length past the packet", v5(kWill, "", id + bytes({127, 0, 0, 0, 0})), truncated, 18},
  };
}

std::vector<Bad> bad_text_rows() {
  using enum Malformed;
  const string bad = "\xff";
  const string id = field("id");
  return {
      {"id", v311(0, field("a" + bad + "b")), string_encoding, 16},
      {"id with U+0000", v311(0, field(bytes({'a', 0, 'b'}))), string_encoding, 16},
      {"id with U+0000, 3.1", v31(0, field(bytes({0}))), string_encoding, 17},
      {"id with U+0000 in two bytes", v311(0, field("\xc0\x80")), string_encoding, 15},
      {"id with a surrogate", v311(0, field("\xed\xa0\x80")), string_encoding, 16},
      {"id that ends in a character", v311(0, field("\xe2\x82")), string_encoding, 16},
      {"will topic", v311(kWill, id + field(bad) + field("m")), string_encoding, 19},
      {"user name", v311(kUser, id + field(bad)), string_encoding, 19},
      {"method", v5(0, "\x15" + field(bad), id), string_encoding, 17},
      {"user property name", v5(0, "\x26" + field(bad) + field(""), id), string_encoding, 17},
      {"user property value", v5(0, "\x26" + field("") + field(bad), id), string_encoding, 19},
      {"will: type", v5_will("\x03" + field(bad)), string_encoding, 22},
      {"will: response topic", v5_will("\x08" + field(bad)), string_encoding, 22},
  };
}

void check_bad(const Bad& row) {
  const size_t shown_at = row.shown_at == kWhole ? row.input.size() : row.shown_at;
  assert_in_range(shown_at, 1, row.input.size());
  for (size_t cut = 0; cut <= row.input.size(); ++cut) {
    parse_exactly(as_bytes(row.input).first(cut), [&](const auto& result) {
      if (cut < shown_at) {
        if (std::holds_alternative<NeedMore>(result)) return;
        fail_msg("%s: answered already at %zu", row.what, cut);
      }
      const auto* reason = std::get_if<Malformed>(&result);
      if (reason == nullptr) fail_msg("%s: not refused at %zu", row.what, cut);
      if (*reason != row.reason) {
        fail_msg("%s: refused as %s at %zu", row.what, to_string(*reason).data(), cut);
      }
    });
  }
}

void test_bad_framing(void**) {
  for (const Bad& row : bad_framing_rows()) check_bad(row);
}
void test_bad_flags(void**) {
  for (const Bad& row : bad_flags_rows()) check_bad(row);
}
void test_bad_lengths(void**) {
  for (const Bad& row : bad_length_rows()) check_bad(row);
}
void test_bad_properties(void**) {
  for (const Bad& row : bad_property_rows()) check_bad(row);
}
void test_bad_text(void**) {
  for (const Bad& row : bad_text_rows()) check_bad(row);
}

// Reference: Unicode's definition, by decoding.
bool is_scalar(uint32_t c) { return c != 0 && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff); }

string encode(uint32_t c) {
  const auto part = [c](unsigned shift) { return static_cast<int>(0x80 | ((c >> shift) & 0x3f)); };
  const int lead = static_cast<int>(c);
  if (c < 0x80) return bytes({lead});
  if (c < 0x800) return bytes({0xc0 | lead >> 6, part(0)});
  if (c < 0x10000) return bytes({0xe0 | lead >> 12, part(6), part(0)});
  return bytes({0xf0 | lead >> 18, part(12), part(6), part(0)});
}

void test_every_code_point(void**) {
  for (uint32_t c = 0; c < 0x140000; ++c) {
    const string s = encode(c);
    if (is_valid_text(as_bytes(s), TextEnd::here) != is_scalar(c)) fail_msg("U+%04x", c);
    for (size_t cut = 1; cut < s.size(); ++cut) {
      const Bytes begin = as_bytes(s).first(cut);
      assert_false(is_valid_text(begin, TextEnd::here));
      if (is_scalar(c)) assert_true(is_valid_text(begin, TextEnd::to_come));
    }
  }
}

void test_ill_formed_text(void**) {
  const string rows[] = {
      bytes({0x80}),
      bytes({0xbf}),
      bytes({0xc0, 0x80}),
      bytes({0xc1, 0xbf}),
      bytes({0xe0, 0x9f, 0xbf}),
      bytes({0xf0, 0x8f, 0xbf, 0xbf}),
      bytes({0xf5, 0x80}),
      bytes({0xf4, 0x90, 0x80}),
      bytes({0xc3, 0x28}),
      bytes({0xe2, 0x28}),
      bytes({0xe2, 0x82, 0x28}),
      bytes({0xf0, 0x9f, 0x98, 0x28}),
      bytes({0xff}),
      bytes({0xc3, 0xc3}),
      bytes({0xed, 0xbf}),
  };
  for (const string& row : rows) {
    assert_false(is_valid_text(as_bytes(row), TextEnd::here));
    // No continuation could mend them.
    assert_false(is_valid_text(as_bytes(row), TextEnd::to_come));
    assert_false(is_valid_text(as_bytes("ok" + row + "ok"), TextEnd::here));
  }
  assert_true(is_valid_text({}, TextEnd::here));
}

// At any place of a text of any length.
void test_one_byte_of_a_text(void**) {
  for (size_t size = 1; size <= 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte <= 0xff; ++byte) {
        string text(size, 'x');
        text[at] = static_cast<char>(byte);
        assert_int_equal(is_valid_text(as_bytes(text), TextEnd::here), byte > 0 && byte < 0x80);
      }
      if (at + 1 == size) continue;
      string text(size, '\x7f');
      text.replace(at, 2, "\xc3\xa4");
      assert_true(is_valid_text(as_bytes(text), TextEnd::here));
    }
  }
}

void test_connack(void**) {
  const struct {
    Version version;
    Unavailable why;
    string expected;
  } rows[] = {
      {Version::v3_1, Unavailable::server_unavailable, bytes({0x20, 0x02, 0x00, 0x03})},
      {Version::v3_1_1, Unavailable::server_unavailable, bytes({0x20, 0x02, 0x00, 0x03})},
      {Version::v3_1_1, Unavailable::connection_rate_exceeded, bytes({0x20, 0x02, 0x00, 0x03})},
      {Version::v5_0, Unavailable::server_unavailable, bytes({0x20, 0x03, 0x00, 0x88, 0x00})},
      {Version::v5_0, Unavailable::server_busy, bytes({0x20, 0x03, 0x00, 0x89, 0x00})},
      {Version::v5_0, Unavailable::connection_rate_exceeded, bytes({0x20, 0x03, 0x00, 0x9f, 0x00})},
  };
  for (const auto& row : rows) {
    uint8_t out[kMaxConnack];
    const size_t size = encode_connack_unavailable(row.version, out, row.why);
    assert_true(as_text(Bytes(out, size)) == row.expected);
    std::vector<uint8_t> small(row.expected.size() - 1);
    assert_int_equal(encode_connack_unavailable(row.version, small, row.why), 0);
  }
}

void test_names_are_distinct(void**) {
  std::vector<std::string_view> names;
  for (int i = 0; i <= static_cast<int>(Malformed::trailing_bytes); ++i) {
    names.push_back(to_string(static_cast<Malformed>(i)));
    assert_true(names.back().find_first_not_of("abcdefghijklmnopqrstuvwxyz-0123456789") ==
                std::string_view::npos);
  }
  std::ranges::sort(names);
  assert_true(std::ranges::adjacent_find(names) == names.end());
  assert_true(to_string(Version::v3_1) == "3.1");
  assert_true(to_string(Version::v3_1_1) == "3.1.1");
  assert_true(to_string(Version::v5_0) == "5.0");
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_good),
      cmocka_unit_test(test_cut_everywhere),
      cmocka_unit_test(test_largest_packet),
      cmocka_unit_test(test_bad_framing),
      cmocka_unit_test(test_bad_flags),
      cmocka_unit_test(test_bad_lengths),
      cmocka_unit_test(test_bad_properties),
      cmocka_unit_test(test_bad_text),
      cmocka_unit_test(test_every_code_point),
      cmocka_unit_test(test_ill_formed_text),
      cmocka_unit_test(test_one_byte_of_a_text),
      cmocka_unit_test(test_connack),
      cmocka_unit_test(test_names_are_distinct),
  };
  return cmocka_run_group_tests_name("mqtt", tests, nullptr, nullptr);
}
