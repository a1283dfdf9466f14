// Capture files: what is written is read again, every kind of pcap, and files that are broken.
#include <algorithm>

#include "lib/pcap/reader.hh"
#include "lib/pcap/writer.hh"
#include "tests/support/captures.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/temporary_directory.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;

// Each record as "NUMBER TIME CAPTURED/ORIGINAL", one a line; an error ends them.
std::string listing(const std::string& path) {
  auto reader = pcap::Reader::open(path);
  if (!reader) return reader.error().message;
  std::string text;
  while (true) {
    const auto record = reader->next();
    if (!record) return text + record.error().message;
    if (!*record) return text;
    text += std::to_string((*record)->number) + " " + std::to_string((*record)->time) + " " +
            std::to_string((*record)->bytes.size()) + "/" +
            std::to_string((*record)->original_length) + "\n";
  }
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Writes it to a file named "f", so that messages begin the same wherever that is.
std::string listing_of(const TemporaryDirectory& directory, const std::string& bytes) {
  const std::string path = directory.write("f", bytes);
  std::string text = listing(path);
  for (size_t at = text.find(path); at != std::string::npos; at = text.find(path)) {
    text.replace(at, path.size(), "f");
  }
  return text;
}

struct Row {
  const char* what;
  std::string bytes;
  std::string expected;
};

const Octets kTen(10, 0xab);

std::vector<Row> good_files() {
  std::vector<Row> rows;
  for (const bool big_endian : {false, true}) {
    for (const bool nanoseconds : {false, true}) {
      PcapFile file({.big_endian = big_endian, .nanoseconds = nanoseconds});
      file.record(7, 12, kTen).record(8, 999'999, {}).record(8, 0, kTen, 1500);
      rows.push_back({"both byte orders and resolutions", file.bytes(),
                      nanoseconds
                          ? "1 7000000012 10/10\n2 8000999999 0/0\n3 8000000000 10/1500\n"
                          : "1 7000012000 10/10\n2 8999999000 0/0\n3 8000000000 10/1500\n"});
    }
  }
  rows.push_back({"no record", PcapFile().bytes(), ""});
  rows.push_back({"shorter on the wire than in the file", PcapFile().record(1, 0, kTen, 4).bytes(),
                  "1 1000000000 10/10\n"});
  rows.push_back({"a fraction of more than a second",
                  PcapFile().record(1, 0x7fffffff, kTen).bytes(), "1 3147483647 10/10\n"});
  rows.push_back(
      {"before 1970", PcapFile().record(0xffffffff, 5, kTen).bytes(), "1 -999999995 10/10\n"});
  return rows;
}

void test_reads(void**) {
  const TemporaryDirectory directory;
  for (const Row& row : good_files()) {
    const std::string text = listing_of(directory, row.bytes);
    if (text != row.expected) fail_msg("%s: %s", row.what, text.c_str());
  }
}

void test_broken(void**) {
  const TemporaryDirectory directory;
  const std::string good = PcapFile().record(1, 0, kTen).record(2, 0, kTen).bytes();
  const std::string one = "1 1000000000 10/10\n";
  const Row rows[] = {
      {"empty", "", "f: "},
      {"text", "this is no capture at all, it is text", "f: unknown file format"},
      {"cut in the file's header", good.substr(0, 20), "f: "},
      {"cut in a record's header", good.substr(0, 24 + 26 + 3), one + "f: record 2: "},
      {"cut in a record", good.substr(0, good.size() - 1), one + "f: record 2: "},
      {"length beyond any frame",
       PcapFile().record(1, 0, kTen).header(2, 0, 0x7fffffff, 1).raw(kTen).bytes(),
       one + "f: record 2: "},
      {"another version",
       [&] {
         std::string s = good;
         s[4] = 9;
         return s;
       }(),
       "f: "},
  };
  for (const Row& row : rows) {
    const std::string text = listing_of(directory, row.bytes);
    const bool says_more = text.size() > row.expected.size() || text == row.expected;
    if (text.compare(0, row.expected.size(), row.expected) != 0 || !says_more) {
      fail_msg("%s: %s", row.what, text.c_str());
    }
  }
  assert_true(ends_with(listing("/nonexistent"), "/nonexistent: No such file or directory"));
  assert_true(ends_with(listing("/"), "/: error reading dump file: Is a directory"));
}

// Every cut of a file gives its whole records and then, unless it is at a record's end, an error.
void test_every_cut(void**) {
  const TemporaryDirectory directory;
  const std::string good = PcapFile().record(1, 0, kTen).record(2, 0, kTen).bytes();
  for (size_t cut = 24; cut <= good.size(); ++cut) {
    const std::string text = listing_of(directory, good.substr(0, cut));
    const size_t whole = (cut - 24) / 26;
    const bool at_end = (cut - 24) % 26 == 0;
    const auto lines = static_cast<size_t>(std::ranges::count(text, '\n'));
    assert_int_equal(lines, whole);
    const std::string error = "f: record " + std::to_string(whole + 1) + ": ";
    assert_int_equal(text.find(error) != std::string::npos, !at_end);
  }
}

std::string write_three(const std::string& path) {
  const std::string interfaces[] = {"clients", "b"};
  auto writer = pcap::Writer::create(path, interfaces);
  assert_true(writer.has_value());
  writer->write(0, pcap::Direction::in, 1'700'000'000'123'456'789, Octets(61, 0x11));
  writer->write(1, pcap::Direction::out, 1'700'000'001'000'000'000, Octets(14));
  writer->write(1, pcap::Direction::in, -1, {});
  assert_true(writer->finish().has_value());
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void test_written_is_read(void**) {
  const TemporaryDirectory directory;
  const std::string bytes = write_three(directory.file("a"));
  assert_string_equal(listing(directory.file("a")).c_str(),
                      "1 1700000000123456789 61/61\n2 1700000001000000000 14/14\n3 0 0/0\n");
  assert_true(bytes == write_three(directory.file("b")));
  assert_int_equal(bytes.size() % 4, 0);
}

// What the library does not show: the names of the interfaces, and which way a frame went.
void test_written_blocks(void**) {
  const TemporaryDirectory directory;
  const std::string bytes = write_three(directory.file("a"));
  const std::string section("\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0", 16);
  assert_true(bytes.compare(0, section.size(), section) == 0);
  // if_name, if_tsresol of 9, the end; behind an Ethernet interface without a snapshot length.
  const std::string interface(
      "\x01\0\0\0\x2c\0\0\0\x01\0\0\0\0\0\0\0\x02\0\x07\0clients\0\x09\0\x01\0\x09\0\0\0\0\0\0\0"
      "\x2c\0\0\0",
      44);
  assert_true(bytes.compare(28, interface.size(), interface) == 0);
  // epb_flags: inbound, outbound.
  const std::string in("\x11\0\0\0\x02\0\x04\0\x01\0\0\0\0\0\0\0", 16);
  const std::string out("\0\0\0\0\x02\0\x04\0\x02\0\0\0\0\0\0\0", 16);
  assert_true(bytes.find(in) != std::string::npos);
  assert_true(bytes.find(out) != std::string::npos);
}

void test_write_fails(void**) {
  const auto nowhere = pcap::Writer::create("/nonexistent/f", {});
  assert_false(nowhere.has_value());
  assert_string_equal(nowhere.error().message.c_str(), "/nonexistent/f: No such file or directory");
  auto full = pcap::Writer::create("/dev/full", {});
  assert_true(full.has_value());
  for (int i = 0; i < 1000; ++i) full->write(0, pcap::Direction::in, i, Octets(60));
  const auto finished = full->finish();
  assert_false(finished.has_value());
  assert_string_equal(finished.error().message.c_str(), "/dev/full: No space left on device");
}

// Two sections or interfaces of different link types cannot be read as one.
void test_pcapng_of_two_link_types(void**) {
  const TemporaryDirectory directory;
  std::string bytes = write_three(directory.file("a"));
  const size_t second = 28 + 44;  // the second interface's block
  bytes[second + 8] = 101;
  const std::string text = listing_of(directory, bytes);
  assert_int_equal(text.find("f: record 1: "), 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_reads),
      cmocka_unit_test(test_broken),
      cmocka_unit_test(test_every_cut),
      cmocka_unit_test(test_written_is_read),
      cmocka_unit_test(test_written_blocks),
      cmocka_unit_test(test_write_fails),
      cmocka_unit_test(test_pcapng_of_two_link_types),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
