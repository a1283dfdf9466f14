// Byte reader and writer that fail closed, sequence numbers on their circle, and large pages.
#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <type_traits>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/glob.hh"
#include "lib/base/huge_pages.hh"
#include "lib/base/seq32.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb::base;

void test_loads_and_stores(void**) {
  const uint8_t bytes[] = {0xff, 0x12, 0x34, 0x56, 0x78, 0xff};
  // At odd addresses too.
  assert_int_equal(load_be16(bytes + 1), 0x1234);
  assert_int_equal(load_be16(bytes + 2), 0x3456);
  assert_int_equal(load_be32(bytes + 1), 0x12345678);
  uint8_t out[6] = {};
  store_be16(out + 1, 0xabcd);
  store_be16(out + 3, 0x0001);
  const uint8_t expected16[] = {0, 0xab, 0xcd, 0, 1, 0};
  assert_memory_equal(out, expected16, sizeof out);
  store_be32(out + 1, 0x01020304);
  const uint8_t expected32[] = {0, 1, 2, 3, 4, 0};
  assert_memory_equal(out, expected32, sizeof out);
}

void test_text_and_bytes(void**) {
  const std::string_view text("a\0b", 3);
  assert_int_equal(as_bytes(text).size(), 3);
  assert_int_equal(as_bytes(text)[1], 0);
  assert_true(as_text(as_bytes(text)) == text);
  assert_true(as_bytes("").empty());
}

void test_reader_reads_in_order(void**) {
  const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  ByteReader reader(bytes);
  assert_int_equal(reader.remaining(), 9);
  assert_int_equal(reader.u8(), 1);
  assert_int_equal(reader.be16(), 0x0203);
  assert_int_equal(reader.be32(), 0x04050607);
  assert_int_equal(reader.position(), 7);
  const Bytes rest = reader.take(2);
  assert_ptr_equal(rest.data(), bytes + 7);
  assert_int_equal(rest.size(), 2);
  assert_int_equal(reader.remaining(), 0);
  assert_true(reader.take(0).empty());
  assert_true(reader.ok());
}

void test_reader_fails_closed(void**) {
  const struct {
    size_t size;
    void (*read)(ByteReader&);
  } rows[] = {
      {0, [](ByteReader& r) { assert_int_equal(r.u8(), 0); }},
      {1, [](ByteReader& r) { assert_int_equal(r.be16(), 0); }},
      {3, [](ByteReader& r) { assert_int_equal(r.be32(), 0); }},
      {3, [](ByteReader& r) { assert_true(r.take(4).empty()); }},
      {3, [](ByteReader& r) { assert_true(r.take(SIZE_MAX).empty()); }},
  };
  for (const auto& row : rows) {
    const std::vector<uint8_t> bytes(row.size, 0xee);
    ByteReader reader(bytes);
    row.read(reader);
    assert_false(reader.ok());
    // What would have fitted before does not any more.
    assert_int_equal(reader.u8(), 0);
    assert_true(reader.take(0).empty());
    assert_false(reader.ok());
    assert_int_equal(reader.position(), 0);
    assert_int_equal(reader.remaining(), row.size);
  }
}

void test_writer_writes_in_order(void**) {
  uint8_t out[9];
  ByteWriter writer(out);
  writer.u8(1);
  writer.be16(0x0203);
  writer.be32(0x04050607);
  const uint8_t tail[] = {8, 9};
  writer.bytes(tail);
  writer.bytes({});
  assert_true(writer.ok());
  assert_int_equal(writer.size(), 9);
  const uint8_t expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  assert_memory_equal(out, expected, sizeof out);
}

void test_writer_fails_closed(void**) {
  static constexpr uint8_t kFour[4] = {1, 2, 3, 4};
  const struct {
    size_t room;
    void (*write)(ByteWriter&);
  } rows[] = {
      {0, [](ByteWriter& w) { w.u8(1); }},
      {1, [](ByteWriter& w) { w.be16(1); }},
      {3, [](ByteWriter& w) { w.be32(1); }},
      {3, [](ByteWriter& w) { w.bytes(kFour); }},
  };
  for (const auto& row : rows) {
    std::vector<uint8_t> out(row.room, 0xee);
    ByteWriter writer(out);
    row.write(writer);
    assert_false(writer.ok());
    writer.u8(7);
    assert_false(writer.ok());
    assert_int_equal(writer.size(), 0);
    for (const uint8_t b : out) assert_int_equal(b, 0xee);
  }
}

// Around every point of the circle where a wrap or a change of sign could go wrong.
constexpr uint32_t kPoints[] = {0, 1, 0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xffffffff};

void test_seq_distance(void**) {
  const struct {
    uint32_t ahead;
    int32_t distance;
    bool before, after;  // start against start + ahead
  } rows[] = {
      {0, 0, false, false},          {1, 1, true, false},
      {1000, 1000, true, false},     {0x7fffffff, 0x7fffffff, true, false},
      {0xffffffff, -1, false, true}, {0x80000001, -0x7fffffff, false, true},
  };
  for (const uint32_t point : kPoints) {
    const Seq32 start(point);
    for (const auto& row : rows) {
      const Seq32 other = start + row.ahead;
      assert_int_equal(other - start, row.distance);
      assert_int_equal(start.before(other), row.before);
      assert_int_equal(start.after(other), row.after);
      assert_int_equal(other.after(start), row.before);
      assert_true(other - row.ahead == start);
      assert_true(later(start, other) == (row.before ? other : start));
      Seq32 moved = start;
      moved += row.ahead;
      assert_true(moved == other);
    }
    // Opposite points: each is before the other, and neither answer is undefined.
    const Seq32 opposite = start + 0x80000000U;
    assert_int_equal(opposite - start, INT32_MIN);
    assert_true(start.before(opposite) && opposite.before(start));
  }
}

void test_seq_window(void**) {
  const struct {
    uint32_t offset, size;
    bool inside;
  } rows[] = {
      {0, 0, false},
      {0, 1, true},
      {1, 1, false},
      {999, 1000, true},
      {1000, 1000, false},
      {0xffffffff, 1000, false},
      {0, 0xffffffff, true},
      {0xfffffffe, 0xffffffff, true},
      {0xffffffff, 0xffffffff, false},
  };
  for (const uint32_t point : kPoints) {
    const Seq32 start(point);
    for (const auto& row : rows) {
      assert_int_equal((start + row.offset).in_window(start, row.size), row.inside);
    }
  }
}

template <typename T>
concept Ordered = requires(T a, T b) {
  a < b;
};

void test_seq_has_no_order(void**) {
  static_assert(!std::is_convertible_v<uint32_t, Seq32>);
  static_assert(Ordered<uint32_t> && !Ordered<Seq32>);
  assert_int_equal(Seq32().raw(), 0);
  assert_int_equal(Seq32(0xdeadbeef).raw(), 0xdeadbeef);
}

void test_globs(void**) {
  const struct {
    std::string_view pattern, text;
    bool matches;
  } rows[] = {
      {"", "", true},
      {"", "a", false},
      {"*", "", true},
      {"*", "anything", true},
      {"a", "a", true},
      {"a", "b", false},
      {"a", "ab", false},
      {"ab", "a", false},
      {"?", "", false},
      {"?", "x", true},
      {"??", "x", false},
      {"car-*", "car-", true},
      {"car-*", "car-17", true},
      {"car-*", "bus-car-17", false},
      {"*-17", "car-17", true},
      {"*-17", "car-171", false},
      {"*a*b*", "xxaxxbxx", true},
      {"*a*b*", "xxbxxaxx", false},
      {"a*a", "a", false},
      {"a*a", "aa", true},
      {"*ab", "aab", true},
      {"*aab", "aaaaaaab", true},
      {"**", "x", true},
      {"a?c*", "abcd", true},
      {"a\\*", "a\\b", true},
  };
  for (const auto& row : rows) {
    assert_int_equal(matches_glob(row.pattern, row.text), row.matches);
  }
  const std::string text = std::string("x\0y", 3);
  assert_true(matches_glob("x?y", text));
  // The worst case ends soon.
  assert_false(matches_glob("*a*a*a*a*a*b", std::string(65535, 'a')));
}

// Whatever is taken and given back in whatever order: what one array holds, no other one writes.
void test_huge_pages_overlap_nowhere(void**) {
  HugePages memory;
  std::mt19937 random(1);
  std::map<uint8_t*, std::pair<size_t, uint8_t>> held;
  const auto check = [](uint8_t* p, size_t size, uint8_t mark) {
    assert_int_equal(p[0], mark);
    assert_int_equal(p[size / 2], mark);
    assert_int_equal(p[size - 1], mark);
  };
  for (unsigned i = 0; i < 3000; ++i) {
    if (held.size() > 40 || (!held.empty() && random() % 3 == 0)) {
      auto one = std::next(held.begin(), static_cast<int>(random() % held.size()));
      check(one->first, one->second.first, one->second.second);
      memory.deallocate(one->first, one->second.first);
      held.erase(one);
      continue;
    }
    const size_t size = 1 + random() % (size_t{1} << (random() % 23));  // some above a page
    auto* p = static_cast<uint8_t*>(memory.allocate(size));
    assert_int_equal(reinterpret_cast<uintptr_t>(p) % 64, 0);
    const auto mark = static_cast<uint8_t>(random());
    std::fill_n(p, size, mark);
    assert_true(held.emplace(p, std::pair(size, mark)).second);
  }
  for (const auto& [p, what] : held) {
    check(p, what.first, what.second);
    memory.deallocate(p, what.first);
  }
  assert_in_range(HugePages::mapped(), 1, size_t{64} << 20);  // what was above a page is gone
}

void test_huge_pages_are_shared_and_used_again(void**) {
  constexpr size_t kPage = size_t{2} << 20;
  constexpr size_t kSize = 65'535 * 4;  // eight fill a page
  HugePages memory;
  std::set<uintptr_t> pages;
  std::vector<void*> held;
  for (unsigned i = 0; i < 16; ++i) {
    held.push_back(memory.allocate(kSize));
    pages.insert(reinterpret_cast<uintptr_t>(held.back()) / kPage);
  }
  assert_int_equal(pages.size(), 2);
  for (unsigned i = 0; i < 1000; ++i) {
    memory.deallocate(held[i % 16], kSize);
    held[i % 16] = memory.allocate(kSize - i % 100);  // its size when rounded
    pages.insert(reinterpret_cast<uintptr_t>(held[i % 16]) / kPage);
  }
  assert_int_equal(pages.size(), 2);
  const auto large = reinterpret_cast<uintptr_t>(memory.allocate(kPage + 1));
  assert_int_equal(large % kPage, 0);
  assert_int_equal(HugePages::mapped(), 4 * kPage);
  memory.deallocate(reinterpret_cast<void*>(large), kPage + 1);
  assert_int_equal(HugePages::mapped(), 2 * kPage);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_globs),
      cmocka_unit_test(test_huge_pages_overlap_nowhere),
      cmocka_unit_test(test_huge_pages_are_shared_and_used_again),
      cmocka_unit_test(test_loads_and_stores),
      cmocka_unit_test(test_text_and_bytes),
      cmocka_unit_test(test_reader_reads_in_order),
      cmocka_unit_test(test_reader_fails_closed),
      cmocka_unit_test(test_writer_writes_in_order),
      cmocka_unit_test(test_writer_fails_closed),
      cmocka_unit_test(test_seq_distance),
      cmocka_unit_test(test_seq_window),
      cmocka_unit_test(test_seq_has_no_order),
  };
  return cmocka_run_group_tests_name("base", tests, nullptr, nullptr);
}
