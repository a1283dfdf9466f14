// Fights are found, roaming is none, and a crowd of Client IDs hides nothing.
#include "lib/admission/client_id_watch.hh"

#include <string>
#include <vector>

#include "lib/base/random.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using admission::ClientIdWatch;
using admission::RecentIds;
using Row = ClientIdWatch::Row;

wire::IpAddress host(uint32_t n) { return wire::IpAddress::v4(0xc6120000U + n); }

// Some workers with a watch each; each connect comes to the one that `worker` says.
struct Watches {
  explicit Watches(size_t workers = 1, uint32_t capacity = 64) : recent(capacity) {
    for (size_t i = 0; i < workers; ++i) each.emplace_back(capacity);
  }
  bool connect(uint64_t id, uint32_t source, uint32_t now, const std::string& text = "device",
               bool refused = false, size_t worker = 0) {
    const RecentIds::Meeting meeting = recent.note(id, host(source), now);
    return each[worker].note({id, 1, base::as_bytes(text), host(source), refused}, meeting, now);
  }
  [[nodiscard]] std::vector<Row> list(uint32_t now) const {
    std::vector<Row> rows;
    for (const ClientIdWatch& watch : each) {
      for (size_t i = 0; i < watch.bucket_count(); i += 3) watch.list(i, 3, now, rows);
    }
    ClientIdWatch::merge(rows);
    return rows;
  }

  RecentIds recent;
  std::vector<ClientIdWatch> each;
};

struct Story {
  const char* name;
  std::vector<std::pair<uint32_t, uint32_t>> connects;  // when, from which host
  bool fight;
  uint32_t switches, sources;
};

void test_stories(void**) {
  const Story table[] = {
      {"one that comes again", {{100, 1}, {105, 1}, {110, 1}, {112, 1}}, false, 0, 1},
      {"roams once", {{100, 1}, {105, 2}, {110, 2}, {112, 2}}, false, 1, 1},
      {"goes and comes back", {{100, 1}, {105, 2}, {110, 1}, {112, 1}}, false, 2, 2},
      {"two in turns", {{100, 1}, {101, 2}, {102, 1}, {103, 2}}, true, 3, 2},
      {"two in turns, half a minute each", {{100, 1}, {130, 2}, {160, 1}, {190, 2}}, true, 3, 2},
      {"two in turns, slowly", {{100, 1}, {131, 2}, {162, 1}, {193, 2}, {194, 2}}, false, 0, 1},
      {"three", {{100, 1}, {101, 2}, {102, 3}, {103, 1}}, true, 3, 3},
      {"many", {{100, 1}, {100, 2}, {100, 3}, {100, 4}, {100, 5}, {100, 6}}, true, 5, 4},
      {"over", {{100, 1}, {101, 2}, {102, 1}, {103, 2}, {170, 2}, {171, 2}}, false, 0, 2},
  };
  for (const Story& story : table) {
    print_message("  %s\n", story.name);
    Watches watch;
    bool fight = false;
    for (const auto& [when, from] : story.connects) fight = watch.connect(77, from, when);
    assert_int_equal(fight, story.fight);
    const auto rows = watch.list(story.connects.back().first);
    assert_int_equal(rows.size(), 1);
    assert_int_equal(rows[0].is_fight(), story.fight);
    assert_int_equal(rows[0].switches, story.switches);
    assert_int_equal(rows[0].sources.size(), story.sources);
    assert_true(rows[0].sources[0] == host(story.connects.back().second));
    assert_string_equal(rows[0].client_id.c_str(), "device");
    assert_int_equal(rows[0].listener, 1);
    // It is forgotten when it is silent.
    assert_int_equal(watch.list(story.connects.back().first + 121).size(), 0);
  }
}

void test_connects_in_a_minute(void**) {
  Watches watch;
  assert_int_equal(watch.list(600).size(), 0);
  watch.connect(5, 1, 600);
  assert_int_equal(watch.list(600).size(), 0);  // once is nothing
  for (uint32_t now = 601; now < 900; ++now) {
    watch.connect(5, 1, now, "device", now % 10 == 0);
    const auto rows = watch.list(now);
    assert_int_equal(rows.size(), 1);
    assert_in_range(rows[0].connects, std::min(now - 599, 60U), std::min(now - 599, 61U));
  }
  assert_int_equal(watch.list(899)[0].refused, 29);
  assert_int_equal(watch.list(899)[0].since, 600);
  assert_in_range(watch.list(930)[0].connects, 29, 31);
}

void test_long_and_odd_ids(void**) {
  Watches watch;
  const std::string texts[] = {std::string(65'535, 'x'), std::string("a\0b", 3),
                               std::string(64, 'y')};
  for (uint64_t i = 0; i < 3; ++i) {
    for (int n = 0; n < 3; ++n) watch.connect(i << 33 | 1, 1, 100, texts[i]);
  }
  const auto rows = watch.list(100);
  assert_int_equal(rows.size(), 3);
  for (const Row& row : rows) {
    const std::string& text = texts[row.id >> 33];
    assert_true(row.client_id == text.substr(0, 64));
    assert_int_equal(row.length, text.size());
  }
}

// While two fight each few seconds, thousands of other IDs come in between, also from two
// addresses each, and into the same bucket.
void test_a_crowd_hides_no_fight(void**) {
  for (const bool same_bucket : {false, true}) {
    base::Random random(3);
    Watches watch(1, 1024);
    for (uint32_t now = 1000; now < 1100; now += 2) {
      watch.connect(99, now / 2 % 2, now, "twin");
      const uint32_t crowd = now < 1004 ? 0 : 5000;  // two switches bring it in
      for (uint32_t i = 0; i < crowd; ++i) {
        const uint64_t id = same_bucket ? uint64_t{random.u32()} : random.u64();
        watch.connect(id, 5, now, "crowd");
      }
    }
    const auto rows = watch.list(1100);
    assert_true(!rows.empty() && rows[0].is_fight());
    assert_string_equal(rows[0].client_id.c_str(), "twin");
    assert_int_equal(rows[0].switches, 49);
  }
}

// What control looks at each second is only what may be a fight.
void test_only_the_contested(void**) {
  Watches watch;
  for (uint32_t now = 100; now < 110; ++now) {
    watch.connect(1, now % 2, now, "twin");
    watch.connect(2, 1, now, "busy");
  }
  assert_int_equal(watch.list(110).size(), 2);
  std::vector<Row> rows;
  watch.each[0].list(0, watch.each[0].bucket_count(), 110, rows, ClientIdWatch::Which::contested);
  assert_int_equal(rows.size(), 1);
  assert_true(rows[0].is_fight());
  assert_string_equal(rows[0].printable().c_str(), "twin");
}

// Each connect may come to any worker, which knows nothing of the others but what RecentIds says.
void test_workers_see_one_fight(void**) {
  for (const size_t workers : {size_t{2}, size_t{8}, size_t{64}}) {
    base::Random random(4);
    Watches watch(workers);
    uint32_t now = 1000;
    size_t fights = 0;
    constexpr uint32_t kConnects = 40;
    for (uint32_t i = 0; i < kConnects; ++i, now += 10) {
      watch.connect(8, 1, now, "restless", false, random.below(workers));
      if (watch.connect(7, 1 + i % 2, now, "twin", false, random.below(workers))) ++fights;
      if (i < 3) continue;
      const auto rows = watch.list(now);
      assert_true(rows.size() >= 2);
      assert_true(rows[0].is_fight() && !rows[1].is_fight());
      assert_string_equal(rows[0].client_id.c_str(), "twin");
      assert_int_equal(rows[0].last, now);
      assert_true(rows[0].sources[0] == host(1 + i % 2));
      assert_true(rows[0].switches >= 1);
    }
    assert_int_equal(fights, kConnects - 3);
    assert_in_range(watch.list(now - 10)[0].connects, 6, 14);
  }
}

// A crowd of new IDs leaves those alone that came twice a few seconds apart, if there is room for
// what comes meanwhile.
void test_room_for_a_storm(void**) {
  base::Random random(5);
  RecentIds recent(1 << 17);
  for (uint32_t now = 100; now < 140; ++now) {
    if (now % 10 == 0 && now > 100) assert_true(recent.note(77, host(1), now).known);
    if (now == 100) recent.note(77, host(1), now);
    for (int i = 0; i < 2000; ++i) recent.note(random.u64(), host(2), now);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_stories),
      cmocka_unit_test(test_connects_in_a_minute),
      cmocka_unit_test(test_long_and_odd_ids),
      cmocka_unit_test(test_a_crowd_hides_no_fight),
      cmocka_unit_test(test_only_the_contested),
      cmocka_unit_test(test_workers_see_one_fight),
      cmocka_unit_test(test_room_for_a_storm),
  };
  return cmocka_run_group_tests_name("client_id_watch", tests, nullptr, nullptr);
}
