// What health checks say and how they judge answers: honest ones, at every split, and others.
#include "lib/control/dialogue.hh"

#include <string>

#include "lib/mqtt/connect.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using config::CheckKind;
using config::CheckMqtt;
using control::Dialogue;
using control::Verdict;
using std::string;

const wire::Endpoint kRemote{wire::IpAddress::v4(0xc612010b), 1883};

config::Check check_of(CheckKind kind, CheckMqtt version = CheckMqtt::v3_1_1) {
  config::Check check;
  check.kind = kind;
  check.mqtt_version = version;
  return check;
}

std::unique_ptr<Dialogue> make(const config::Check& check) {
  return control::make_dialogue(check, "mqlb-check-1", kRemote);
}

string text_of(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

// string literals with zeros in them
template <size_t N>
string bytes(const char (&literal)[N]) {
  return string(literal, N - 1);
}

struct Row {
  string answer;
  bool passed;
  const char* why;
  bool orderly = true;
};

// The verdict comes with the last byte of the answer, wherever it is split, and once only.
void expect(const config::Check& check, const Row& row) {
  for (size_t cut = 0; cut <= row.answer.size(); ++cut) {
    const auto dialogue = make(check);
    auto verdict = dialogue->read(base::as_bytes(row.answer).first(cut));
    if (verdict && cut < row.answer.size()) fail_msg("%s: verdict after %zu bytes", row.why, cut);
    if (!verdict) verdict = dialogue->read(base::as_bytes(row.answer).subspan(cut));
    if (!verdict) fail_msg("%s: no verdict", row.why);
    if (verdict->why != row.why) fail_msg("%s: says %s", row.why, verdict->why.c_str());
    if (verdict->passed != row.passed || verdict->orderly != row.orderly) fail_msg("%s", row.why);
    // A proper answer that is not the one hoped for is the broker's own word.
    if (verdict->said_so != (!row.passed && row.orderly)) fail_msg("%s", row.why);
  }
}

void test_connack_311(void**) {
  const auto check = check_of(CheckKind::mqtt);
  const Row rows[] = {
      {bytes("\x20\x02\x00\x00"), true, "CONNACK 0"},
      {bytes("\x20\x02\x01\x00"), true, "CONNACK 0"},
      {bytes("\x20\x02\x00\x01"), false, "CONNACK 1: unacceptable protocol version"},
      {bytes("\x20\x02\x00\x02"), false, "CONNACK 2: client ID rejected"},
      {bytes("\x20\x02\x00\x03"), false, "CONNACK 3: server unavailable"},
      {bytes("\x20\x02\x00\x04"), false, "CONNACK 4: bad user name or password"},
      {bytes("\x20\x02\x00\x05"), false, "CONNACK 5: not authorized"},
      {bytes("\x20\x02\x00\x06"), false, "malformed CONNACK: unknown code 0x06", false},
      {bytes("\x20\x02\x02\x00"), false, "malformed CONNACK: reserved flags are set", false},
      {bytes("\x20\x01"), false, "malformed CONNACK: its length is impossible", false},
      {bytes("\x20\x03"), false, "malformed CONNACK: its length is impossible", false},
      {bytes("\x20\xff\xff\xff\xff"), false, "malformed CONNACK: its length is impossible", false},
      {bytes("\x21"), false, "answered with 0x21, which begins no CONNACK", false},
      {bytes("\xe0"), false, "answered with 0xe0, which begins no CONNACK", false},
      {bytes("H"), false, "answered with 0x48, which begins no CONNACK", false},
      {bytes("\0"), false, "answered with 0x00, which begins no CONNACK", false},
  };
  for (const Row& row : rows) expect(check, row);
}

void test_connack_5(void**) {
  const auto check = check_of(CheckKind::mqtt, CheckMqtt::v5);
  const Row rows[] = {
      {bytes("\x20\x03\x00\x00\x00"), true, "CONNACK 0x00"},
      {bytes("\x20\x06\x00\x00\x03\x21\x00\x0a"), true, "CONNACK 0x00"},
      {bytes("\x20\x03\x00\x86\x00"), false, "CONNACK 0x86: bad user name or password"},
      {bytes("\x20\x03\x00\x88\x00"), false, "CONNACK 0x88: server unavailable"},
      {bytes("\x20\x03\x00\x9c\x00"), false, "CONNACK 0x9c: use another server"},
      {bytes("\x20\x03\x00\x01\x00"), false, "malformed CONNACK: unknown code 0x01", false},
      {bytes("\x20\x03\x00\x00\x01"), false, "malformed CONNACK: its properties do not fit", false},
      {bytes("\x20\x03\x00\x00\x80"), false, "malformed CONNACK: its properties do not fit", false},
      {bytes("\x20\x04\x00\x00\x00\x00"), false, "malformed CONNACK: its properties do not fit",
       false},
      {bytes("\x20\x01"), false, "malformed CONNACK: its length is impossible", false},
      {bytes("\x20\x02\x00\x01"), false, "CONNACK of MQTT 3: the broker does not speak MQTT 5"},
      {bytes("\x20\xff\x7f"), false, "malformed CONNACK: its length is impossible", false},
  };
  for (const Row& row : rows) expect(check, row);
}

void test_http(void**) {
  config::Check check = check_of(CheckKind::http);
  const Row rows[] = {
      {"HTTP/1.1 200 OK\r\n", true, "HTTP status 200"},
      {"HTTP/1.0 200\r\n", true, "HTTP status 200"},
      {"HTTP/1.1 200 \n", true, "HTTP status 200"},
      {"HTTP/1.1 503 Service Unavailable\r\n", false, "HTTP status 503, not 200"},
      {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n", true, "HTTP status 200"},
      {"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 500 E\r\n", false,
       "HTTP status 500, not 200"},
      {"HTTP/1.1 2000 OK\r\n", false, "malformed HTTP status line", false},
      {"HTTP/1.1 20 OK\r\n", false, "malformed HTTP status line", false},
      {"HTTP/1.x 200 OK\r\n", false, "malformed HTTP status line", false},
      {"HTTP/1.1\n", false, "malformed HTTP status line", false},
      {"HTTP/2", false, "answered with something else than HTTP/1", false},
      {"SSH-2", false, "answered with something else than HTTP/1", false},
      {bytes("\0"), false, "answered with something else than HTTP/1", false},
  };
  for (const Row& row : rows) {
    // What begins otherwise shows with its first wrong byte.
    Row cut = row;
    const string begin = "HTTP/1.";
    size_t same = 0;
    while (same < begin.size() && same < cut.answer.size() && cut.answer[same] == begin[same]) {
      ++same;
    }
    if (same < begin.size()) cut.answer.resize(same + 1);
    expect(check, cut);
  }
  check.http_status = 503;
  expect(check, {"HTTP/1.1 503 x\r\n", true, "HTTP status 503"});
  // Whatever follows, chunked or not, is not looked at.
  const auto dialogue = make(check_of(CheckKind::http));
  const auto verdict =
      dialogue->read(base::as_bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
                                    "\r\n\r\nffffffffffffffff\r\n"));
  assert_true(verdict && verdict->passed);
}

// An answer without end is given up.
void test_endless(void**) {
  const auto http = make(check_of(CheckKind::http));
  std::optional<Verdict> verdict = http->read(base::as_bytes("HTTP/1.1 200 "));
  size_t fed = 0;
  while (!verdict && fed < 100000) {
    verdict = http->read(base::as_bytes("xxxxxxx"));
    fed += 7;
  }
  assert_in_range(fed, 1, 5000);
  assert_false(verdict->passed);
  assert_non_null(strstr(verdict->why.c_str(), "no HTTP status in the first 4"));
}

void test_unanswered(void**) {
  const auto mqtt = make(check_of(CheckKind::mqtt));
  assert_string_equal(mqtt->unanswered("closed").why.c_str(), "closed without CONNACK");
  assert_false(mqtt->unanswered("closed").said_so);
  (void)mqtt->read(base::as_bytes(" "));
  assert_string_equal(mqtt->unanswered("timeout").why.c_str(), "timeout within CONNACK");
  const auto http = make(check_of(CheckKind::http));
  assert_string_equal(http->unanswered("timeout").why.c_str(), "timeout without HTTP status");
  assert_null(make(check_of(CheckKind::tcp)).get());
  assert_null(make(check_of(CheckKind::none)).get());
}

// The CONNECT is what a strict reader takes, with nothing that would stay at the broker.
void test_connect(void**) {
  for (const CheckMqtt version : {CheckMqtt::v3_1_1, CheckMqtt::v5}) {
    for (const bool login : {false, true}) {
      config::Check check = check_of(CheckKind::mqtt, version);
      if (login) {
        check.user = string(200, 'u');
        check.password = "p w";
      }
      const auto dialogue = make(check);
      const std::vector<uint8_t> request = dialogue->request();
      const auto result = mqtt::parse_connect(request);
      const auto* connect = std::get_if<mqtt::Connect>(&result);
      assert_non_null(connect);
      assert_int_equal(connect->size, request.size());
      assert_true(connect->version ==
                  (version == CheckMqtt::v5 ? mqtt::Version::v5_0 : mqtt::Version::v3_1_1));
      assert_string_equal(string(base::as_text(connect->client_id)).c_str(), "mqlb-check-1");
      assert_true(connect->clean_start);
      assert_int_equal(connect->has_user_name, login);
      if (login) {
        assert_int_equal(connect->user_name.size(), 200);
        assert_true(text_of(request).ends_with(bytes("\0\x03p w")));
      }
      assert_true(text_of(dialogue->farewell()) == bytes("\xe0\0"));
      assert_false(dialogue->peer_closes_first());
    }
  }
}

void test_get(void**) {
  config::Check check = check_of(CheckKind::http);
  check.http_path = "/status?x=1";
  const auto dialogue = make(check);
  const string request = text_of(dialogue->request());
  assert_true(request.starts_with("GET /status?x=1 HTTP/1.1\r\nHost: 198.18.1.11:1883\r\n"));
  assert_true(request.ends_with("Connection: close\r\n\r\n"));
  assert_true(dialogue->farewell().empty());
  assert_true(dialogue->peer_closes_first());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_connack_311), cmocka_unit_test(test_connack_5),
      cmocka_unit_test(test_http),        cmocka_unit_test(test_endless),
      cmocka_unit_test(test_unanswered),  cmocka_unit_test(test_connect),
      cmocka_unit_test(test_get),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
