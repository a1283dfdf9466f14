// SNAT ports: in turn, after their quarantine, and each to one proxy only.
#include "lib/flow/snat_ports.hh"

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using base::Seq32;
using flow::SnatPorts;

constexpr uint32_t kQuarantine = 60;

// A million seconds: past every quarantine that began at 0.
constexpr uint32_t kNow = 1'000'000;

void test_residues_partition(void**) {
  const struct {
    uint16_t first, last;
  } ranges[] = {{1024, 65535}, {1, 65535}, {1, 1}, {65535, 65535}, {1000, 1006}, {65000, 65535}};
  for (const auto& range : ranges) {
    for (const uint16_t modulus : std::initializer_list<uint16_t>{1, 2, 3, 5, 7, 16, 64, 127}) {
      std::set<unsigned> seen;
      for (uint16_t residue = 0; residue < modulus; ++residue) {
        SnatPorts ports(range.first, range.last, residue, modulus, residue * 0x9e3779b9U);
        const uint32_t capacity = ports.capacity();
        for (uint32_t i = 0; i < capacity; ++i) {
          const auto port = ports.take(i, kNow, kQuarantine);
          assert_true(port.has_value());
          assert_in_range(*port, range.first, range.last);
          assert_int_equal(*port % modulus, residue);
          assert_true(seen.insert(*port).second);
          assert_int_equal(ports.lookup(*port), i);
        }
        assert_false(ports.take(0, kNow, kQuarantine).has_value());
        assert_int_equal(ports.in_use(), capacity);
      }
      assert_int_equal(seen.size(), range.last - range.first + 1);
    }
  }
}

// The first port is where the random number says, whatever the number is.
void test_start(void**) {
  for (const uint16_t last : std::initializer_list<uint16_t>{1024, 1026, 1033, 65535}) {
    for (const uint32_t start : {0U, 1U, 5U, 64511U, 64512U, 0x80000000U, ~0U - 1, ~0U}) {
      SnatPorts ports(1024, last, 0, 1, start);
      std::set<unsigned> seen;
      const uint32_t first = start % ports.capacity();
      for (uint32_t i = 0; i < ports.capacity(); ++i) {
        const auto port = ports.take(7, kNow, kQuarantine);
        assert_true(port.has_value());
        assert_int_equal(*port, 1024 + (first + i) % ports.capacity());
        assert_true(seen.insert(*port).second);
      }
      assert_false(ports.take(7, kNow, kQuarantine).has_value());
    }
  }
}

// The last ports of the range are never given out, whoever owns them; the rest is as ever.
void test_reserved(void**) {
  for (const uint16_t modulus : std::initializer_list<uint16_t>{1, 3}) {
    std::set<unsigned> seen;
    for (uint16_t residue = 0; residue < modulus; ++residue) {
      SnatPorts ports(1000, 1099, residue, modulus, 12345, {}, 8);
      const uint32_t capacity = ports.capacity();
      for (uint32_t i = 0; i < capacity; ++i) {
        const auto port = ports.take(i, kNow, kQuarantine);
        assert_true(port.has_value());
        seen.insert(*port);
      }
      assert_false(ports.take(0, kNow, kQuarantine).has_value());
      for (uint16_t port = 1092; port < 1100; ++port) {
        const SnatPorts::Use* use = ports.use_of(port);
        assert_true(use == nullptr || !use->taken());
      }
    }
    assert_int_equal(seen.size(), 92);
    assert_int_equal(*seen.rbegin(), 1091);
  }
}

void test_first_in_first_out(void**) {
  SnatPorts ports(10, 13, 0, 1, 0);
  for (unsigned i = 0; i < 4; ++i) assert_int_equal(*ports.take(i, 0, 0), 10 + i);
  for (const uint16_t port : std::initializer_list<uint16_t>{12, 10, 13, 11})
    ports.give_back(port, Seq32(port), 5);
  for (const unsigned port : {12U, 10U, 13U, 11U}) assert_int_equal(*ports.take(1, 5, 0), port);
}

void test_quarantine(void**) {
  SnatPorts ports(10, 11, 0, 1, 0);
  // Ports that were never used need none, at whatever time.
  assert_int_equal(*ports.take(1, 0, kQuarantine), 10);
  ports.give_back(10, Seq32(100), 50);
  assert_int_equal(ports.quarantined(50, kQuarantine), 1);
  assert_int_equal(*ports.take(2, 51, kQuarantine), 11);
  assert_false(ports.take(3, 50 + kQuarantine - 1, kQuarantine).has_value());
  assert_int_equal(ports.quarantined(50 + kQuarantine - 1, kQuarantine), 1);
  assert_int_equal(ports.quarantined(50 + kQuarantine, kQuarantine), 0);
  assert_int_equal(*ports.take(3, 50 + kQuarantine, kQuarantine), 10);
  // The clock of seconds wraps after 136 years, and nothing breaks then.
  ports.give_back(10, Seq32(1), 0xfffffff0);
  assert_false(ports.take(4, 0xfffffff5, kQuarantine).has_value());
  assert_false(ports.take(4, 5, kQuarantine).has_value());
  assert_true(ports.take(4, kQuarantine, kQuarantine).has_value());
  // None at all is a quarantine too.
  ports.give_back(10, Seq32(1), 7);
  assert_true(ports.take(5, 7, 0).has_value());
}

void test_last_seq(void**) {
  SnatPorts ports(1024, 1025, 0, 1, 0);
  assert_false(ports.last_seq(1024).has_value());
  const auto port = ports.take(1, 0, 0);
  assert_false(ports.last_seq(*port).has_value());
  ports.give_back(*port, Seq32(0xfffffffe), 0);
  assert_int_equal(ports.last_seq(*port)->raw(), 0xfffffffe);
  (void)ports.take(2, 0, 0);
  assert_int_equal(*ports.take(3, 0, 0), *port);
  assert_int_equal(ports.last_seq(*port)->raw(), 0xfffffffe);  // still, for the next ISN
}

void test_foreign_ports(void**) {
  const struct {
    uint16_t first, last, residue, modulus;
  } rows[] = {{2000, 2099, 0, 1},
              {2000, 2099, 2, 3},
              {2001, 2001, 1, 2},
              {2000, 2000, 1, 2},
              {60000, 65535, 6, 7}};
  for (const auto& row : rows) {
    SnatPorts ports(row.first, row.last, row.residue, row.modulus, 12345);
    std::set<unsigned> taken;
    while (const auto port = ports.take(9, 0, 0)) taken.insert(*port);
    for (unsigned port = 0; port <= 0xffff; ++port) {
      const auto p = static_cast<uint16_t>(port);
      assert_int_equal(ports.lookup(p), taken.count(port) != 0 ? 9 : flow::kNoFlow);
      assert_false(ports.last_seq(p).has_value());
    }
  }
}

// No port of the residue within the range: nothing to take, and questions have answers.
void test_empty(void**) {
  SnatPorts ports(2000, 2000, 1, 2, 1);
  assert_int_equal(ports.capacity(), 0);
  assert_false(ports.take(1, 0, 0).has_value());
  assert_int_equal(ports.lookup(2000), flow::kNoFlow);
  assert_int_equal(ports.quarantined(0, 1), 0);
}

bool one_of_three(uint16_t port) { return port % 3 == 1; }

// All preferred ports come first, each kind in its own order, and none is lost.
void test_preferred_first(void**) {
  const struct {
    uint16_t first, last, residue, modulus;
    uint32_t start;
  } rows[] = {{1024, 65535, 0, 1, 17},
              {1024, 65535, 1, 4, 40000},
              {1000, 1007, 0, 2, 3},
              {1000, 1000, 0, 1, 0},
              {1001, 1002, 0, 3, 9}};
  for (const auto& row : rows) {
    SnatPorts plain(row.first, row.last, row.residue, row.modulus, row.start);
    SnatPorts ports(row.first, row.last, row.residue, row.modulus, row.start, one_of_three);
    assert_int_equal(ports.capacity(), plain.capacity());
    std::vector<uint16_t> expected;
    while (const auto port = plain.take(1, kNow, kQuarantine)) expected.push_back(*port);
    const auto middle = std::stable_partition(expected.begin(), expected.end(), one_of_three);
    for (auto i = expected.begin(); i != expected.end(); ++i) {
      const auto choice = i < middle ? SnatPorts::Choice::preferred : SnatPorts::Choice::any;
      if (i == middle) {
        assert_false(ports.take(1, kNow, kQuarantine, SnatPorts::Choice::preferred).has_value());
      }
      const auto port = ports.take(1, kNow, kQuarantine, choice);
      assert_true(port.has_value());
      assert_int_equal(*port, *i);
    }
    assert_false(ports.take(1, kNow, kQuarantine).has_value());
  }
}

// A port goes back to its kind; each kind has quarantines of its own.
void test_preferred_rest(void**) {
  SnatPorts ports(10, 13, 0, 1, 0, one_of_three);  // 10 and 13
  const auto take = [&ports](uint32_t now) { return ports.take(1, now, kQuarantine).value_or(0); };
  assert_int_equal(take(0), 10);
  assert_int_equal(take(0), 13);
  assert_int_equal(take(0), 11);
  ports.give_back(13, Seq32(5), 100);
  assert_int_equal(take(100), 12);
  ports.give_back(11, Seq32(6), 110);
  ports.give_back(12, Seq32(7), 111);
  assert_int_equal(ports.quarantined(111, kQuarantine), 3);
  assert_int_equal(take(100 + kQuarantine - 1), 0);
  assert_int_equal(take(100 + kQuarantine), 13);
  assert_int_equal(ports.quarantined(100 + kQuarantine, kQuarantine), 2);
  assert_int_equal(take(100 + kQuarantine), 0);
  assert_int_equal(take(110 + kQuarantine), 11);
  ports.give_back(10, Seq32(8), 200);
  assert_int_equal(take(200), 12);  // 10 rests again
  assert_int_equal(ports.in_use(), 3);
  assert_int_equal(ports.last_seq(12)->raw(), 7);
}

// Years of taking and giving back, against lists that say the same in a plainer way.
void test_random_against_reference(void**) {
  std::mt19937 random(12);
  for (int round = 0; round < 20; ++round) {
    const auto modulus = static_cast<uint16_t>(1 + random() % 4);
    SnatPorts ports(5000, static_cast<uint16_t>(5010 + random() % 60), 1 % modulus, modulus,
                    static_cast<uint32_t>(random()));
    std::map<uint16_t, uint32_t> taken;
    std::deque<std::pair<uint16_t, uint32_t>> given_back;  // with the time
    size_t never_used = ports.capacity();
    uint32_t now = 0;
    for (int step = 0; step < 20000; ++step) {
      now += static_cast<uint32_t>(random() % 4);
      if (random() % 2 == 0) {
        const auto flow = static_cast<uint32_t>(random() % 1000);
        const auto port = ports.take(flow, now, kQuarantine);
        const bool rested = !given_back.empty() && now - given_back.front().second >= kQuarantine;
        assert_int_equal(port.has_value(), never_used > 0 || rested);
        if (!port) continue;
        if (never_used > 0) {
          --never_used;
        } else {
          assert_int_equal(*port, given_back.front().first);
          given_back.pop_front();
        }
        assert_true(taken.emplace(*port, flow).second);
      } else if (!taken.empty()) {
        const auto it = std::next(taken.begin(), static_cast<long>(random() % taken.size()));
        assert_int_equal(ports.lookup(it->first), it->second);
        ports.give_back(it->first, Seq32(now), now);
        assert_int_equal(ports.lookup(it->first), flow::kNoFlow);
        assert_int_equal(ports.last_seq(it->first)->raw(), now);
        given_back.emplace_back(it->first, now);
        taken.erase(it);
      }
      assert_int_equal(ports.in_use(), taken.size());
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_residues_partition),
      cmocka_unit_test(test_start),
      cmocka_unit_test(test_reserved),
      cmocka_unit_test(test_first_in_first_out),
      cmocka_unit_test(test_quarantine),
      cmocka_unit_test(test_last_seq),
      cmocka_unit_test(test_foreign_ports),
      cmocka_unit_test(test_empty),
      cmocka_unit_test(test_preferred_first),
      cmocka_unit_test(test_preferred_rest),
      cmocka_unit_test(test_random_against_reference),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
