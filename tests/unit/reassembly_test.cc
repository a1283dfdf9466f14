// Reassembly against a plain reference: whatever the order, what is contiguous is what was sent.
#include "lib/tcp/reassembly.hh"

#include <algorithm>
#include <random>
#include <vector>

#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using Octets = std::vector<uint8_t>;
using tcp::Reassembly;

Octets stream(size_t n) {
  Octets bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + (i >> 8));
  return bytes;
}

base::Bytes part(const Octets& bytes, size_t from, size_t size) {
  return base::Bytes(bytes).subspan(from, size);
}

void assert_is_prefix(const Reassembly& r, const Octets& bytes, size_t size) {
  assert_int_equal(r.contiguous().size(), size);
  if (size > 0) assert_memory_equal(r.contiguous().data(), bytes.data(), size);
}

// Which bytes there are, one flag each. The gaps that it counts are those of Reassembly.
struct Reference {
  std::vector<bool> present;

  explicit Reference(size_t limit) : present(limit) {}
  void insert(size_t from, size_t size) {
    for (size_t i = from; i < std::min(from + size, present.size()); ++i) present[i] = true;
  }
  [[nodiscard]] size_t contiguous() const {
    return static_cast<size_t>(std::find(present.begin(), present.end(), false) - present.begin());
  }
  [[nodiscard]] size_t ranges() const {
    size_t n = 0;
    for (size_t i = contiguous(); i < present.size(); ++i) {
      n += present[i] && !present[i - 1] ? 1U : 0U;
    }
    return n;
  }
};

void test_random_against_reference(void**) {
  std::mt19937 random(6);
  for (int round = 0; round < 3000; ++round) {
    const size_t limit = 1 + random() % 400;
    const Octets bytes = stream(600);
    Reassembly r(static_cast<uint32_t>(limit));
    Reference reference(limit);
    for (int step = 0; step < 60; ++step) {
      const size_t from = random() % 420;
      const size_t size = random() % 3 == 0 ? random() % 5 : random() % 60;
      Reference after = reference;
      after.insert(from, size);
      // Refused: all beyond the limit, or one range too many.
      const bool beyond = from >= limit && size > 0;
      const bool fits = !beyond && after.ranges() <= 8;
      assert_int_equal(r.insert(static_cast<uint32_t>(from), part(bytes, from, size)), fits);
      if (fits) reference = after;
      assert_is_prefix(r, bytes, reference.contiguous());
    }
  }
}

// A stream cut anywhere, shuffled, with repetitions that overlap: complete at the end.
void test_all_orders_complete(void**) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    const Octets bytes = stream(1 + random() % 3000);
    Reassembly r(4000);
    std::vector<std::pair<size_t, size_t>> segments;
    for (size_t from = 0; from < bytes.size();) {
      const size_t size = std::min<size_t>(1 + random() % 400, bytes.size() - from);
      const size_t more = std::min<size_t>(random() % 50, bytes.size() - from - size);
      segments.emplace_back(from, size + more);
      from += size;
    }
    // A refused segment comes again, as a client would send it.
    for (int times = 0; r.contiguous().size() < bytes.size(); ++times) {
      assert_true(times < 100);
      std::shuffle(segments.begin(), segments.end(), random);
      for (const auto& [from, size] : segments) {
        (void)r.insert(static_cast<uint32_t>(from), part(bytes, from, size));
      }
    }
    assert_is_prefix(r, bytes, bytes.size());
  }
}

void test_what_is_contiguous_stays(void**) {
  Reassembly r(100);
  const Octets bytes = stream(50);
  const Octets forged(100, 0xee);
  assert_true(r.insert(0, bytes));
  assert_true(r.insert(0, forged));
  assert_int_equal(r.contiguous().size(), 100);
  assert_memory_equal(r.contiguous().data(), bytes.data(), 50);
}

void test_limit(void**) {
  const Octets bytes = stream(300);
  Reassembly r(100);
  assert_int_equal(r.limit(), 100);
  assert_false(r.insert(100, part(bytes, 100, 1)));
  assert_false(r.insert(0xffffffff, part(bytes, 0, 300)));
  assert_true(r.insert(99, part(bytes, 99, 201)));  // one byte of it
  assert_true(r.insert(0, part(bytes, 0, 300)));
  assert_is_prefix(r, bytes, 100);
  assert_true(r.memory() <= 100);
  assert_false(r.insert(100, part(bytes, 100, 1)));
  Reassembly none(0);
  assert_false(none.insert(0, bytes));
  assert_int_equal(none.contiguous().size(), 0);
}

void test_gaps(void**) {
  const Octets bytes = stream(100);
  Reassembly r(100);
  for (uint32_t i = 0; i < 8; ++i) assert_true(r.insert(10 + 10 * i, part(bytes, 10 + 10 * i, 5)));
  assert_false(r.insert(95, part(bytes, 95, 1)));
  // What touches a range needs no other, and may join two.
  assert_true(r.insert(85, part(bytes, 85, 1)));
  assert_true(r.insert(15, part(bytes, 15, 5)));
  assert_true(r.insert(95, part(bytes, 95, 1)));
  assert_is_prefix(r, bytes, 0);
  assert_true(r.insert(0, part(bytes, 0, 10)));
  assert_is_prefix(r, bytes, 25);
  assert_true(r.insert(25, part(bytes, 25, 75)));
  assert_is_prefix(r, bytes, 100);
}

// Nothing takes no room: neither memory nor one of the ranges.
void test_nothing(void**) {
  const Octets bytes = stream(100);
  Reassembly r(100);
  for (uint32_t i = 0; i < 200; i += 3) assert_true(r.insert(i, {}));
  assert_int_equal(r.memory(), 0);
  for (uint32_t i = 0; i < 8; ++i) assert_true(r.insert(10 + 10 * i, part(bytes, 10 + 10 * i, 5)));
  assert_is_prefix(r, bytes, 0);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_random_against_reference),
      cmocka_unit_test(test_all_orders_complete),
      cmocka_unit_test(test_what_is_contiguous_stays),
      cmocka_unit_test(test_limit),
      cmocka_unit_test(test_gaps),
      cmocka_unit_test(test_nothing),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
