// What captures hold besides streams: options, other traffic, several files, floods.
#include "tests/support/cmocka.hh"
#include "tests/support/recordings.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using replay::Capture;

const Octets kScale7{3, 3, 7, 0};
const Octets kScale2{3, 3, 2, 0};

void test_options(void**) {
  Lines lines = kConnected;
  lines[0].options = kScale7;
  lines[1].options = kScale2;
  lines[3].options = {1, 1, 8, 10, 0, 0, 1, 0, 0, 0, 0, 0};
  // Of the server's bytes 1 to 5: two blocks; then one backwards and one beyond.
  lines.push_back({'S', 500, "PA", 5, 17, kPing + kPing});
  lines.push_back({'C', 510, "A", 17, 5});
  lines.back().options = {1, 1, 5, 34};
  const uint32_t numbers[] = {9005, 9006, 9007, 9009, 9009, 9007, 9007, 9010};
  for (const uint32_t number : numbers) {
    uint8_t bytes[4];
    base::store_be32(bytes, number);
    lines.back().options.insert(lines.back().options.end(), bytes, bytes + 4);
  }
  const Capture both = load_lines(lines);
  const auto& r = both.recordings.at(0);
  assert_int_equal(*r.client.syn.window_scale, 7);
  assert_int_equal(*r.server.syn.window_scale, 2);
  assert_int_equal(r.client.iss.raw(), 1000);
  assert_int_equal(r.server.iss.raw(), 9000);
  assert_int_equal(r.client.steps[0].window, 1000);
  assert_int_equal(r.client.steps[1].window, 128'000);
  assert_int_equal(r.server.steps[0].window, 1000);
  assert_int_equal(r.server.steps[1].window, 4000);
  assert_int_equal(*r.client.steps[2].tsval, 256);
  assert_false(r.client.steps[1].tsval.has_value());
  const auto& sack = r.client.steps.back();
  assert_int_equal(sack.sack_blocks, 2);
  assert_int_equal(sack.sack[0].left, 4);
  assert_int_equal(sack.sack[0].right, 5);
  assert_int_equal(sack.sack[1].left, 6);
  assert_int_equal(sack.sack[1].right, 8);

  lines[1].options = {};  // the server does not scale
  assert_int_equal(load_lines(lines).recordings.at(0).client.steps[1].window, 1000);

  const Capture behind = load_lines({lines[3], lines[5]});
  const auto& client = behind.recordings.at(0).client;
  assert_false(client.has_syn);
  assert_int_equal(client.iss.raw(), 1000);
  assert_int_equal(behind.recordings.at(0).server.iss.raw(), 9000);
  assert_int_equal(*client.syn.mss, 1460);
  assert_true(client.syn.sack_permitted);
  assert_int_equal(client.syn.timestamps->value, 256);
  assert_false(behind.recordings.at(0).server.syn.timestamps.has_value());
  assert_int_equal(client.steps[0].window, 1000);
}

void test_snapped(void**) {
  const TemporaryDirectory directory;
  const auto load_cut = [&](const Line& cut, size_t bytes) {
    PcapFile file;
    for (const Line& line : kConnected) add_line(file, line);
    Octets frame = frame_of(cut);
    const auto whole = static_cast<uint32_t>(frame.size());
    frame.resize(bytes);
    file.record(1'000'001, 0, frame, whole);
    return text_of(load_files({directory.write("f", file.bytes())}));
  };
  const std::string connected = "client 16 server 4\n" + kConnectedClient + kConnectedServer;
  const Line client{'C', 0, "PA", 17, 5, kPing};
  const Line server{'S', 0, "PA", 5, 17, kPing};
  assert_string_equal(load_cut(client, 55).c_str(),
                      ("skipped 1x8 " + kFlow + ": snapped\n").c_str());
  assert_string_equal(load_cut(server, 54).c_str(),
                      ("skipped 1x8 " + kFlow + ": snapped\n").c_str());
  assert_string_equal(load_cut(server, 53).c_str(),
                      (connected + "skipped 8x1 tcp: snapped\n").c_str());
}

void test_ports(void**) {
  const std::string connected = "client 16 server 4\n" + kConnectedClient + kConnectedServer;
  const Lines midstream{kConnected[5]};
  const auto load_ports = [](const Lines& lines, std::vector<uint16_t> ports) {
    return text_of(load_lines(lines, {}, {.ports = std::move(ports), .keep_loose = false}));
  };
  assert_string_equal(load_ports(kConnected, {8883, 1883}).c_str(), connected.c_str());
  assert_string_equal(load_ports(kConnected, {8883, 40000}).c_str(),
                      ("skipped 1x7 " + kFlow + ": other-port\n").c_str());
  const std::string answer = "skipped 1x1 198.18.0.10:1883 > 198.18.0.7:40000: ";
  assert_string_equal(load_ports(midstream, {1883}).c_str(), (answer + "midstream\n").c_str());
  assert_string_equal(load_ports(midstream, {8883}).c_str(), (answer + "other-port\n").c_str());
}

Octets arp_frame() {
  Octets frame(wire::kArpFrame);
  wire::build_arp({}, {kMacA, kMacB}, frame);
  return frame;
}

void test_loose(void**) {
  const TemporaryDirectory directory;
  Ends other;  // never gets beyond its SYN
  other.client.port = 7;
  Ends itself;
  itself.client = itself.server;
  PcapFile file;
  for (const Line& line : kConnected) add_line(file, line);
  add_line(file, {'C', 1000, "S", 0, 0}, other);       // kept
  add_line(file, {'S', 2000, "RA", 0, 1}, other);      // the server's answer: not
  add_line(file, {'C', 3000, "R", 900, 0});            // forged, but from the client's side: kept
  add_line(file, {'S', 4000, "R", 900, 0});            // from the server's: not
  file.record(1'000'000, 5'000'000, arp_frame());      // kept
  file.record(1'000'000, 6'000'000, arp_frame(), 99);  // snapped: not
  add_line(file, {'C', 7000, "S", 0, 0}, itself);      // from the server's endpoint: not
  add_line(file, {'C', 8000, "FSRPAU", 0, 0}, other);  // kept
  const std::string path = directory.write("f", file.bytes());
  assert_int_equal(load_files({path}).loose.size(), 0);
  const Capture capture = load_files({path}, {.ports = {}, .keep_loose = true});
  std::string times;
  for (const auto& frame : capture.loose) times += std::to_string(frame.at.count()) + " ";
  assert_string_equal(times.c_str(), "1000 3000 5000 8000 ");
  assert_true(capture.loose[0].bytes == frame_of({'C', 1000, "S", 0, 0}, other));
  assert_true(capture.loose[2].bytes == arp_frame());
  assert_int_equal(capture.records, 15);
  assert_string_equal(text_of(capture).c_str(),
                      ("client 16 server 4\n" + kConnectedClient + kConnectedServer +
                       "skipped 8x2 198.18.0.7:7 > 198.18.0.10:1883: unanswered\n"
                       "skipped 10x2 " +
                       kFlow +
                       ": foreign\n"
                       "skipped 12x2 arp: not-ip\n"
                       "skipped 14x1 tcp: same-endpoints\n"
                       "skipped 15x1 tcp: bad-flags\n")
                          .c_str());
  // Only Ethernet can be sent as it is.
  PcapFile cooked({.link_type = 113});
  cooked.record(1, 0, Octets(40));
  assert_int_equal(
      load_files({directory.write("cooked", cooked.bytes())}, {.ports = {}, .keep_loose = true})
          .loose.size(),
      0);
}

std::string write_lines(const TemporaryDirectory& directory, const std::string& name,
                        const Lines& lines) {
  PcapFile file;
  for (const Line& line : lines) add_line(file, line);
  return directory.write(name, file.bytes());
}

void test_several_files(void**) {
  const TemporaryDirectory directory;
  const std::string late = write_lines(directory, "late", shifted(kConnected, 700'000, 0, 0));
  // A quarter of an hour of nothing between two captures is not waited for.
  const std::string last = write_lines(directory, "last", shifted(kConnected, 900'000'000, 0, 0));
  const std::string early = write_lines(directory, "early", kConnected);
  const std::string rest = write_lines(directory, "rest", {{'C', 500, "PA", 17, 5, kPing}});
  const std::string empty = directory.write("empty", PcapFile().bytes());
  const Capture capture = load_files({last, late, rest, empty, early});
  assert_int_equal(capture.recordings.size(), 3);
  assert_string_equal(capture.recordings[0].file.c_str(), early.c_str());
  assert_int_equal(capture.recordings[0].begins.count(), 0);
  assert_string_equal(capture.recordings[1].file.c_str(), late.c_str());
  assert_int_equal(capture.recordings[1].begins.count(), 700'000);
  assert_in_range(capture.recordings[2].begins.count(), 1'700'000, 1'800'000);
  assert_int_equal(capture.skipped.size(), 1);
  assert_string_equal(capture.skipped[0].file.c_str(), rest.c_str());
  assert_int_equal(capture.records, 22);

  const auto missing = replay::load({early, "/nonexistent"}, {});
  assert_false(missing.has_value());
  assert_string_equal(missing.error().message.c_str(), "/nonexistent: No such file or directory");
  const std::string bytes = PcapFile().record(1, 0, Octets(60)).bytes();
  const auto cut = replay::load({directory.write("cut", bytes.substr(0, 60))}, {});
  assert_false(cut.has_value());
  assert_true(cut.error().message.find("/cut: record 1: ") != std::string::npos);
  assert_int_equal(load_files({}).records, 0);
}

// Every connection is answered for, and a stream with a hole takes no memory for what is not there.
void test_floods(void**) {
  const TemporaryDirectory directory;
  constexpr uint32_t kSyns = 20'000;
  PcapFile file;
  for (uint32_t i = 0; i < kSyns; ++i) {
    Ends ends;
    ends.client.port = static_cast<uint16_t>(1 + i % 3);
    ends.client_iss = i * 2'654'435'761U;
    add_line(file, {'C', i, "S", 0, 0}, ends);
  }
  const Capture syns = load_files({directory.write("f", file.bytes())});
  assert_int_equal(syns.skipped.size(), kSyns);
  assert_int_equal(syns.recordings.size(), 0);
  const Lines hole = kConnected + Lines{{'S', 500, "A", 1 << 29, 17, "x"}};
  const auto r = load_lines(hole).recordings.at(0);
  assert_int_equal(*r.server_gap, 4);
  assert_in_range(r.server.stream.capacity(), 4, 64);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_options),       cmocka_unit_test(test_snapped),
      cmocka_unit_test(test_ports),         cmocka_unit_test(test_loose),
      cmocka_unit_test(test_several_files), cmocka_unit_test(test_floods),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
