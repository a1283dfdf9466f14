// The connections of captures: who is who, whole streams, the steps they came in, what each side
// knew, and which are not played.
#include "tests/support/cmocka.hh"
#include "tests/support/recordings.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;

struct Row {
  const char* what;
  Lines lines;
  std::string expected;
};

void check_rows(std::span<const Row> rows) {
  for (const Row& row : rows) {
    const std::string text = text_of(load_lines(row.lines));
    if (text != row.expected) fail_msg("%s:\n%s", row.what, text.c_str());
  }
}

void test_played(void**) {
  const Row rows[] = {
      {"a connection", kConnected, "client 16 server 4\n" + kConnectedClient + kConnectedServer},
      {"client ends it",
       kConnected + Lines{{'C', 500, "FA", 17, 5}, {'S', 600, "FA", 5, 18}, {'C', 610, "A", 18, 6}},
       "client 16F server 4F\n" + kConnectedClient +
           "C 500 FA 16+0 has 4 knew 16\nC 610 A 16+0 has 4F knew 16\n" + kConnectedServer +
           "S 600 FA 4+0 has 16F knew 4\n"},
      {"half closed, the server goes on; a FIN with data",
       kConnected + Lines{{'C', 500, "FPA", 17, 5, kPing},
                          {'S', 600, "PA", 5, 20, kPing},
                          {'C', 610, "A", 20, 7},
                          {'S', 700, "FA", 7, 20}},
       "client 18F server 6F\n" + kConnectedClient +
           "C 500 FPA 16+2 has 4 knew 16\nC 610 A 18+0 has 6 knew 18\n" + kConnectedServer +
           "S 600 PA 4+2 has 18F knew 4\nS 700 FA 6+0 has 18F knew 4\n"},
      {"a FIN with bytes behind it",
       kConnected + Lines{{'C', 450, "FA", 17, 5}, {'C', 460, "FPA", 17, 5, kPing}},
       "client 18F server 4\n" + kConnectedClient +
           "C 450 A 16+0 has 4 knew 16\nC 460 FPA 16+2 has 4 knew 16\n" + kConnectedServer},
      {"reset with a reason", kConnected + Lines{{'S', 500, "RA", 5, 17, "reason"}},
       "client 16 server 4\n" + kConnectedClient + kConnectedServer +
           "S 500 RA 4+0 has 16 knew 0\n"},
      {"no bare third ACK, data with the SYN",
       {{'C', 0, "S", 0, 0, kConnect}, {'S', 100, "SA", 0, 17}, {'C', 120, "PA", 17, 1, kPing}},
       "client 18 server 0\nC 0 S 0+16 has 0 knew 0\nC 120 PA 16+2 has 0 knew 16\n"
       "S 100 SA 0+0 has 16 knew 0\n"},
      {"no server at all",
       {{'C', 0, "S", 0, 0}, {'C', 100, "PA", 1, 1, kConnect}},
       "client 16 server 0\nC 0 S 0+0 has 0 knew 0\nC 100 PA 0+16 has 0 knew 0\n"},
      {"not MQTT", kHandshake + Lines{{'C', 200, "PA", 1, 1, "GET /"}},
       "client 5 server 0\nC 0 S 0+0 has 0 knew 0\nC 110 A 0+0 has 0 knew 0\n"
       "C 200 PA 0+5 has 0 knew 0\nS 100 SA 0+0 has 0 knew 0\n"},
  };
  check_rows(rows);
}

void test_repeated(void**) {
  const std::string a = kConnect.substr(0, 6);
  const std::string b = kConnect.substr(6, 5);
  const std::string c = kConnect.substr(11);
  const std::string steps = "C 0 S 0+0 has 0 knew 0\nC 110 A 0+0 has 0 knew 0\n";
  const std::string answer = "S 100 SA 0+0 has 0 knew 0\n";
  const Row rows[] = {
      {"sent again, with more",
       kHandshake + Lines{{'C', 200, "A", 1, 1, a}, {'C', 300, "PA", 1, 1, kConnect}},
       "client 16 server 0\n" + steps + "C 200 A 0+6 has 0 knew 0\nC 300 PA 0+16 has 0 knew 0\n" +
           answer},
      {"reordered",
       kHandshake +
           Lines{{'C', 200, "PA", 12, 1, c}, {'C', 201, "A", 1, 1, a}, {'C', 202, "A", 7, 1, b}},
       "client 16 server 0\n" + steps +
           "C 200 PA 11+5 has 0 knew 0\nC 201 A 0+6 has 0 knew 0\nC 202 A 6+5 has 0 knew 0\n" +
           answer},
      {"a repeated SYN, SYN-ACK and FIN",
       Lines{{'C', -3000, "S", 0, 0}} + kHandshake +
           Lines{{'S', 150, "SA", 0, 1}, {'C', 200, "FA", 1, 1, kConnect}, {'C', 210, "FA", 17, 1}},
       "client 16F server 0\nC 0 S 0+0 has 0 knew 0\nC 3000 S 0+0 has 0 knew 0\n"
       "C 3110 A 0+0 has 0 knew 0\nC 3200 FA 0+16 has 0 knew 0\nC 3210 FA 16+0 has 0 knew 0\n"
       "S 3100 SA 0+0 has 0 knew 0\nS 3150 SA 0+0 has 0 knew 0\n"},
      {"keepalive probes: without a byte, with the last one, with garbage",
       kConnected + Lines{{'C', 500, "A", 16, 5},
                          {'C', 600, "A", 16, 5, "d"},
                          {'C', 700, "A", 16, 5, "\x55"},
                          {'S', 800, "A", 4, 17, "\x55"}},
       "client 16 server 4\n" + kConnectedClient +
           "C 500 A 15+0 has 4 knew 16\nC 600 A 15+1 has 4 knew 16\nC 700 A 15+1 has 4 knew 16\n" +
           kConnectedServer + "S 800 A 3+1 has 16 knew 4\n"},
      {"a probe before the first byte",
       kHandshake + Lines{{'C', 150, "A", 0, 1}, {'C', 200, "PA", 1, 1, kConnect}},
       "client 16 server 0\n" + steps + "C 150 A 0+0 has 0 knew 0\nC 200 PA 0+16 has 0 knew 0\n" +
           answer},
      {"another byte in a repetition", kConnected + Lines{{'C', 500, "A", 1, 5, "\x10\x0f"}},
       "skipped 1x8 " + kFlow + ": inconsistent\n"},
      {"another byte of the server's", kConnected + Lines{{'S', 500, "A", 1, 17, "\x20\x03"}},
       "skipped 1x8 " + kFlow + ": inconsistent\n"},
      {"a clock that goes back", kHandshake + Lines{{'C', -5000, "PA", 1, 1, kConnect}},
       "client 16 server 0\n" + steps + "C 110 PA 0+16 has 0 knew 0\n" + answer},
  };
  check_rows(rows);
}

// The bytes themselves, however they came.
void test_streams(void**) {
  const std::string& text = kConnect;
  const auto part = [&](int64_t from, size_t size) {
    return Line{'C', 200, "A", from + 1, 1, text.substr(static_cast<size_t>(from), size)};
  };
  const Lines rows[] = {
      {part(0, 16)},
      {part(0, 4), part(4, 12)},
      {part(12, 4), part(4, 4), part(0, 4), part(8, 4)},
      {part(2, 3), part(8, 5), part(0, 16)},
      {part(0, 9), part(5, 11)},
      {part(5, 11), part(0, 9), part(3, 4)},
      {part(0, 16), {'C', 300, "A", 16, 1, "\x55"}},
  };
  for (const Lines& row : rows) {
    const replay::Capture capture = load_lines(kHandshake + row);
    const auto& stream = capture.recordings.at(0).client.stream;
    assert_true(base::as_text(stream) == text);
  }
}

void test_gaps(void**) {
  const Row rows[] = {
      {"client's bytes before others", kConnected + Lines{{'C', 500, "PA", 19, 5, kPing}},
       "skipped 1x8 " + kFlow + ": client-gap\n"},
      {"client's bytes before a FIN", kConnected + Lines{{'C', 500, "FA", 19, 5}},
       "skipped 1x8 " + kFlow + ": client-gap\n"},
      {"client's bytes that were acknowledged", kConnected + Lines{{'S', 500, "A", 5, 19}},
       "skipped 1x8 " + kFlow + ": client-gap\n"},
      {"a FIN of the client's that was acknowledged", kConnected + Lines{{'S', 500, "A", 5, 18}},
       "client 16 server 4\n" + kConnectedClient + kConnectedServer +
           "S 500 A 4+0 has 16 knew 0\n"},
      {"server's bytes before others, and a FIN",
       kConnected + Lines{{'S', 500, "PA", 8, 17, kPing},
                          {'C', 510, "A", 17, 10},
                          {'S', 600, "FA", 10, 17},
                          {'C', 610, "A", 17, 11}},
       "client 16 server 4F gap 4\n" + kConnectedClient +
           "C 510 A 16+0 has 4 knew 16\nC 610 A 16+0 has 4F knew 16\n" + kConnectedServer +
           "S 500 PA 4+0 has 16 knew 0\nS 600 FA 4+0 has 16 knew 4\n"},
      {"server's last bytes", kConnected + Lines{{'C', 510, "A", 17, 10}},
       "client 16 server 4 gap 4\n" + kConnectedClient + "C 510 A 16+0 has 4 knew 16\n" +
           kConnectedServer},
  };
  check_rows(rows);
}

void test_midstream(void**) {
  const std::string part = kConnect.substr(0, 5);
  const std::string whole =
      "client 16 server 4\nC 0 PA 0+16 has 0 knew 0\nS 200 PA 0+4 has 16 knew 0\n";
  const Row rows[] = {
      {"from the CONNECT",
       {{'C', 0, "PA", 1, 1, kConnect}, {'S', 200, "PA", 1, 17, kConnack}},
       whole},
      {"from part of it",
       {{'C', 0, "A", 1, 1, part}, {'C', 5, "PA", 6, 1, kConnect.substr(5)}},
       "client 16 server 0\nC 0 A 0+5 has 0 knew 0\nC 5 PA 5+11 has 0 knew 0\n"},
      {"from the SYN-ACK",
       {{'S', 0, "SA", 0, 1}, {'C', 10, "A", 1, 1}, {'C', 20, "PA", 1, 1, kConnect}},
       "client 16 server 0\nC 10 A 0+0 has 0 knew 0\nC 20 PA 0+16 has 0 knew 0\n"
       "S 0 SA 0+0 has 0 knew 0\n"},
      {"from behind the CONNECT",
       {{'C', 0, "PA", 17, 5, kPing}, {'S', 200, "A", 5, 19}},
       "skipped 1x2 " + kFlow + ": midstream\n"},
      {"a SYN-ACK alone",
       {{'S', 0, "SA", 0, 1}},
       "skipped 1x1 198.18.0.10:1883 > 198.18.0.7:40000: midstream\n"},
      {"a CONNECT of the other side",
       {{'C', 0, "PA", 1, 1, "xyz"}, {'S', 200, "PA", 1, 4, kConnect}},
       "client 16 server 3\nC 200 PA 0+16 has 3 knew 0\nS 0 PA 0+3 has 0 knew 0\n"},
  };
  check_rows(rows);
}

// Two connections on the same addresses, and segments that claim to be of one.
void test_conversations(void**) {
  const std::string connected = "client 16 server 4\n" + kConnectedClient + kConnectedServer;
  const int64_t far = 1 << 29;  // within a quarter of the numbers
  const int64_t farther = 3 << 29;
  const Row rows[] = {
      {"a SYN alone, and refused ones",
       {{'C', 0, "S", 0, 0}, {'C', 9, "S", 5000, 0}, {'S', 20, "RA", -9000, 5001}},
       "skipped 1x1 " + kFlow + ": unanswered\nskipped 2x2 " + kFlow + ": unanswered\n"},
      {"no payload", kHandshake + Lines{{'C', 150, "RA", 1, 1}},
       "skipped 1x4 " + kFlow + ": unanswered\n"},
      {"a forged SYN, and the server's answer to it",
       kConnected + Lines{{'C', 450, "S", far, 0}, {'S', 451, "A", 5, 17}, {'C', 460, "S", 99, 0}},
       "client 16 server 4\n" + kConnectedClient + kConnectedServer +
           "S 451 A 4+0 has 16 knew 0\nskipped 8x1 " + kFlow + ": unanswered\nskipped 10x1 " +
           kFlow + ": unanswered\n"},
      {"forged RSTs: beyond, before, far outside",
       kConnected + Lines{{'C', 450, "R", 18, 0},
                          {'C', 451, "R", -5, 0},
                          {'C', 452, "R", far, 0},
                          {'C', 453, "R", farther, 0}},
       connected + "skipped 8x4 " + kFlow + ": foreign\n"},
      {"a forged ACK", kConnected + Lines{{'C', 450, "A", 17, far}},
       "client 16 server 4\n" + kConnectedClient + "C 450 A 16+0 has 4 knew 16\n" +
           kConnectedServer},
      {"flags that make no sense, and a segment to itself",
       kConnected + Lines{{'C', 450, "SF", 0, 0}, {'C', 460, "", 0, 0}, {'C', 470, "F", 17, 0}},
       connected + "skipped 8x3 tcp: bad-flags\n"},
  };
  check_rows(rows);
}

void test_address_reuse(void**) {
  const std::string connected = "client 16 server 4\n" + kConnectedClient + kConnectedServer;
  const int64_t distances[] = {18, 65536, int64_t{1} << 31, -70'000, 3'000'000'000};
  for (const int64_t d : distances) {
    Lines lines = kConnected + shifted(kConnected, 1'000'000, d, 123);
    // A late repetition of the first one's.
    lines.push_back({'S', 1'000'500, "PA", 1, 17, kConnack});
    const replay::Capture capture = load_lines(lines);
    assert_string_equal(text_of(capture).c_str(),
                        (connected + "S 1000500 PA 0+4 has 16 knew 4\n" + connected).c_str());
    assert_int_equal(capture.recordings[0].begins.count(), 0);
    assert_int_equal(capture.recordings[1].begins.count(), 1'000'000);
    assert_int_equal(capture.recordings[1].record, 8);
  }
}

// Whatever the numbers begin with.
void test_wrap(void**) {
  const std::string connected = "client 16 server 4\n" + kConnectedClient + kConnectedServer;
  for (uint32_t iss = 0xffffffff - 40; iss != 10; ++iss) {
    Ends ends;
    ends.client_iss = iss;
    ends.server_iss = iss + 7;
    assert_string_equal(text_of(load_lines(kConnected, ends)).c_str(), connected.c_str());
  }
}

// A stream of over 4 GiB would wrap its numbers; one over 1 GiB is not taken.
void test_too_large(void**) {
  Lines lines = kHandshake;
  for (int64_t at = 1; at <= int64_t{5} << 30; at += 1 << 28) {
    lines.push_back({'S', 200, "A", at, 1, "x"});
  }
  lines.push_back({'C', 300, "PA", 1, 1, kConnect});
  assert_string_equal(
      text_of(load_lines(lines)).c_str(),
      ("skipped 1x" + std::to_string(lines.size()) + " " + kFlow + ": too-large\n").c_str());
}

void test_round_trips(void**) {
  // At the server: the client is 100 us away. The ACK of 300 is known to it from 400 on.
  const Lines lines{{'C', 0, "S", 0, 0},
                    {'S', 3, "SA", 0, 1},
                    {'C', 103, "A", 1, 1},
                    {'C', 200, "PA", 1, 1, kConnect},
                    {'S', 300, "A", 1, 17},
                    {'C', 399, "PA", 17, 1, kPing},
                    {'C', 400, "PA", 19, 1, kPing},
                    {'S', 402, "PA", 1, 17, kConnack},
                    {'C', 410, "A", 21, 5},
                    {'S', 412, "PA", 5, 21, kPing},
                    {'S', 413, "PA", 7, 21, kPing}};
  const std::string expected =
      "client 20 server 8\n"
      "C 0 S 0+0 has 0 knew 0\n"
      "C 103 A 0+0 has 0 knew 0\n"
      "C 200 PA 0+16 has 0 knew 0\n"
      "C 399 PA 16+2 has 0 knew 0\n"
      "C 400 PA 18+2 has 0 knew 16\n"
      "C 410 A 20+0 has 4 knew 16\n"
      "S 3 SA 0+0 has 0 knew 0\n"
      "S 300 A 0+0 has 16 knew 0\n"
      "S 402 PA 0+4 has 16 knew 0\n"
      "S 412 PA 4+2 has 20 knew 0\n"
      "S 413 PA 6+2 has 20 knew 4\n";
  assert_string_equal(text_of(load_lines(lines)).c_str(), expected.c_str());
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_played),        cmocka_unit_test(test_repeated),
      cmocka_unit_test(test_streams),       cmocka_unit_test(test_gaps),
      cmocka_unit_test(test_midstream),     cmocka_unit_test(test_conversations),
      cmocka_unit_test(test_address_reuse), cmocka_unit_test(test_wrap),
      cmocka_unit_test(test_too_large),     cmocka_unit_test(test_round_trips),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
