// Which backends new clients go to: each policy, each state, and that a change moves only those
// clients that it must.
#include "lib/engine/selection.hh"

#include <functional>
#include <string>

#include "tests/unit/selection_pool.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;

void test_who_is_passed_over(void**) {
  for (const Availability state : {Availability::down, Availability::maintenance,
                                   Availability::drain, Availability::failing}) {
    Pool pool(5);
    const auto before = pool.homes();
    pool.set(2, state);
    assert_only_its_clients_move(before, pool.homes(), 2, 4);
    pool.set(2, Availability::up);
    assert_true(pool.homes() == before);
  }
}

void test_full_is_passed_over(void**) {
  Pool pool(5);
  const auto before = pool.homes();
  pool.model.pools[0].backends[1].max_connections = 7;
  pool.compile();
  pool.load(1, 6);
  assert_true(pool.homes() == before);
  pool.load(1, 1);
  assert_only_its_clients_move(before, pool.homes(), 1, 4);
}

void test_load_limit_is_passed_over(void**) {
  Pool pool(5);
  const auto before = pool.homes();
  pool.set(3, Availability::up, 0, 100);
  pool.load(3, 99);
  assert_true(pool.homes() == before);
  pool.load(3, 1);
  assert_only_its_clients_move(before, pool.homes(), 3, 4);
}

void test_several_down_at_once(void**) {
  Pool pool(6);
  pool.set(0, Availability::down);
  const auto one = pool.homes();
  pool.set(4, Availability::down);
  assert_only_its_clients_move(one, pool.homes(), 4, 4);
}

// As it takes its share in, clients come to it from where they were while it was away, in
// proportion, and none goes elsewhere.
void test_slow_start(void**) {
  Pool pool(4);
  const auto with = pool.homes();
  pool.set(1, Availability::down);
  auto last = pool.homes();
  const auto share = static_cast<double>(count(with)[1]);
  for (const uint32_t percent : {0U, 1U, 10U, 25U, 50U, 75U, 90U, 99U, 100U}) {
    pool.set(1, Availability::up, static_cast<uint16_t>(65535 - percent * 65535 / 100));
    const auto now = pool.homes();
    for (size_t i = 0; i < kKeys; ++i) {
      if (now[i] != last[i]) assert_true(now[i] == 1 && with[i] == 1);
    }
    const auto taken = static_cast<double>(count(now)[1]);
    assert_true(std::abs(taken - share * percent / 100) < 0.03 * share);
    last = now;
  }
  assert_true(last == with);
}

// How many Client IDs a change of one backend moves: its own, and others'.
struct Moved {
  size_t own = 0;     // to the backend, or from it
  size_t others = 0;  // between others
};

Moved moved(const std::vector<BackendId>& before, const std::vector<BackendId>& after,
            BackendId backend) {
  Moved m;
  for (size_t i = 0; i < kKeys; ++i) {
    if (before[i] == after[i]) continue;
    ++(before[i] == backend || after[i] == backend ? m.own : m.others);
  }
  return m;
}

void print_row(const std::string& change, const Moved& m) {
  print_message("  %-20s %6zu %6zu\n", change.c_str(), m.own, m.others);
}

// Maglev fills its table anew, which moves a few of others: less than 1.5 % of all IDs.
constexpr size_t kDisturbance = kKeys * 15 / 1000;

void test_weight_moves_little(void**) {
  Pool pool(5);
  const auto first = pool.homes();
  auto before = first;
  for (const auto& [from, to] : {std::pair{1U, 2U}, {2U, 1U}, {1U, 10U}, {10U, 1U}}) {
    pool.model.pools[0].backends[2].weight = static_cast<uint16_t>(to);
    pool.compile();
    const auto after = pool.homes();
    const Moved m = moved(before, after, 2);
    print_row("weight " + std::to_string(from) + " to " + std::to_string(to), m);
    assert_true(m.others < kDisturbance);
    for (size_t i = 0; i < kKeys; ++i) {  // to it, or from it, but not both
      if (from < to && before[i] == 2) assert_int_equal(after[i], 2);
      if (from > to && before[i] != 2) assert_int_not_equal(after[i], 2);
    }
    const double share = static_cast<double>(kKeys) * to / (4 + to);
    assert_true(std::abs(static_cast<double>(count(after)[2]) - share) < 0.1 * share);
    before = after;
  }
  assert_true(before == first);
}

// The table of what each change of a backend moves.
void test_changes_move_its_own(void**) {
  Pool pool(5);
  print_message("  of %zu Client IDs       own others\n", kKeys);
  const auto first = pool.homes();
  auto before = first;
  const size_t own = count(first)[2];
  const auto change = [&](const char* what, Availability state, uint16_t withheld, size_t moves) {
    pool.set(2, state, withheld);
    const auto after = pool.homes();
    const Moved m = moved(before, after, 2);
    print_row(what, m);
    assert_int_equal(m.own, moves);
    assert_int_equal(m.others, 0);
    before = after;
  };
  change("down", Availability::down, 0, own);
  change("up", Availability::up, 0, own);
  change("drain", Availability::drain, 0, own);
  change("up", Availability::up, 0, own);
  change("maintenance", Availability::maintenance, 0, own);
  change("up, slow start", Availability::up, 65535, 0);
  const size_t half = own / 2;
  pool.set(2, Availability::up, 32768);
  const Moved m = moved(before, pool.homes(), 2);
  print_row("it takes half", m);
  assert_in_range(m.own, half * 9 / 10, half * 11 / 10);
  assert_int_equal(m.others, 0);
  before = pool.homes();
  change("it takes all", Availability::up, 0, own - m.own);
  assert_true(before == first);
}

void test_backup(void**) {
  config::Model m = pool_of(4);
  m.pools[0].backends[3].backup = true;
  Pool pool(m);
  auto homes = count(pool.homes());
  assert_int_equal(homes.size(), 3);
  assert_int_equal(homes.count(3), 0);
  // It is the last one to try.
  assert_int_equal(pool.select(KeyPolicy::client_id, 1, 4)[3], 3);
  pool.set(0, Availability::down);
  pool.set(1, Availability::down);
  assert_int_equal(count(pool.homes()).count(3), 0);
  pool.set(2, Availability::down);
  assert_int_equal(count(pool.homes())[3], kKeys);
  pool.set(3, Availability::down);
  assert_int_equal(count(pool.homes())[kNobody], kKeys);
}

// Behind all others, backups included, comes one whose connections failed, and then one that
// drains: it gets a client only when those before it are down, or turn out to be gone. One that is
// down or in maintenance is never asked.
void test_last_resorts(void**) {
  config::Model m = pool_of(5);
  m.pools[0].backends[3].backup = true;
  for (const KeyPolicy policy :
       {KeyPolicy::client_id, KeyPolicy::round_robin, KeyPolicy::least_connections}) {
    Pool pool(m);
    pool.set(0, Availability::drain);
    pool.set(4, Availability::failing);
    pool.load(3, 50);
    for (size_t i = 0; i < 100; ++i) {
      const auto ids = pool.select(policy, Pool::hash_of(i), 5);
      assert_int_equal(ids.size(), 5);
      assert_true(
          (std::vector<BackendId>(ids.begin() + 2, ids.end()) == std::vector<BackendId>{3, 4, 0}));
    }
    pool.set(1, Availability::down);
    pool.set(2, Availability::maintenance);
    const auto is = [&](std::vector<BackendId> expected) {
      return pool.select(policy, 5, 5) == expected;
    };
    assert_true(is({3, 4, 0}));
    pool.set(3, Availability::down);
    assert_true(is({4, 0}));
    pool.set(4, Availability::down);
    assert_true(is({0}));
    pool.set(0, Availability::maintenance);
    assert_true(is({}));
  }
}

// A place that is missing elsewhere is no reason to turn clients away from one that may be well.
void test_failing_is_asked_before_clients_are_refused(void**) {
  Pool pool(2);
  pool.model.pools[0].backends[1].max_connections = 1;
  pool.compile();
  pool.load(1, 1);
  pool.set(0, Availability::failing);
  assert_int_equal(count(pool.homes())[0], kKeys);
}

// When nobody else is left, those above their load take all, and behind them those in slow start.
void test_reluctant_ones_take_all_if_alone(void**) {
  Pool pool(3);
  pool.set(0, Availability::up, 65535);
  pool.set(1, Availability::down);
  pool.set(2, Availability::up, 0, 1);
  pool.load(2, 5);
  for (size_t i = 0; i < kKeys; ++i) {
    assert_true(
        (pool.select(KeyPolicy::client_id, Pool::hash_of(i), 3) == std::vector<BackendId>{2, 0}));
  }
  pool.set(2, Availability::down);
  assert_int_equal(count(pool.homes())[0], kKeys);
}

void test_round_robin_by_weight(void**) {
  config::Model m = pool_of(4);
  m.pools[0].backends[1].weight = 3;
  m.pools[0].backends[2].weight = 2;
  m.pools[0].backends[3].backup = true;
  Pool pool(m);
  std::map<BackendId, size_t> turns;
  for (size_t i = 0; i < 60; ++i) {
    ++turns[pool.first(KeyPolicy::round_robin, 7)];
    // After any number of turns, each has had its share, give or take one.
    for (const auto& [id, n] : turns) {
      const double share = static_cast<double>((i + 1) * m.pools[0].backends[id].weight) / 6;
      assert_true(std::abs(static_cast<double>(n) - share) <= 1);
    }
  }
  assert_int_equal(turns[0], 10);
  assert_int_equal(turns[1], 30);
  assert_int_equal(turns[2], 20);
  assert_int_equal(turns.count(3), 0);
  // The next ones to try are others, the backup last.
  const auto all = pool.select(KeyPolicy::round_robin, 7, 4);
  assert_int_equal(all.size(), 4);
  assert_int_equal(all[3], 3);
  pool.set(1, Availability::down);
  turns.clear();
  for (size_t i = 0; i < 60; ++i) ++turns[pool.first(KeyPolicy::round_robin, 7)];
  assert_int_equal(turns.count(1), 0);
  assert_in_range(turns[0], 19, 21);
}

// Backups, those that drain and those above their loads have turns and loads among themselves.
void test_turns_and_loads_of_last_resorts(void**) {
  for (const KeyPolicy policy : {KeyPolicy::round_robin, KeyPolicy::least_connections}) {
    for (const auto standing : {Standing::backup, Standing::draining, Standing::over_load}) {
      config::Model m = pool_of(4);
      m.pools[0].backends[2].weight = 2;
      for (config::Backend& b : m.pools[0].backends) b.backup = standing == Standing::backup;
      Pool pool(m);
      pool.set(0, Availability::down);
      for (BackendId id = 1; id < 4; ++id) {
        if (standing == Standing::draining) pool.set(id, Availability::drain);
        if (standing == Standing::over_load) pool.set(id, Availability::up, 0, 1);
        pool.load(id, m.pools[0].backends[id].weight);
      }
      for (size_t i = 0; i < 80; ++i) pool.load(pool.first(policy, Pool::hash_of(i)), 1);
      assert_in_range(pool.loads->lookup(1), 20, 22);
      assert_in_range(pool.loads->lookup(2), 41, 43);
      assert_in_range(pool.loads->lookup(3), 20, 22);
    }
  }
}

void test_least_connections(void**) {
  config::Model m = pool_of(4);
  m.pools[0].backends[2].weight = 2;
  m.pools[0].backends[3].backup = true;
  Pool pool(m);
  pool.load(0, 30);
  pool.load(1, 20);
  pool.load(2, 50);
  assert_true(
      (pool.select(KeyPolicy::least_connections, 9, 4) == std::vector<BackendId>{1, 2, 0, 3}));
  // It evens out.
  for (size_t i = 0; i < 300; ++i) {
    pool.load(pool.first(KeyPolicy::least_connections, Pool::hash_of(i)), 1);
  }
  assert_in_range(pool.loads->lookup(0), 99, 101);
  assert_in_range(pool.loads->lookup(1), 99, 101);
  assert_in_range(pool.loads->lookup(2), 199, 201);
  assert_int_equal(pool.loads->lookup(3), 0);
}

void test_slow_start_of_turns_and_loads(void**) {
  for (const KeyPolicy policy : {KeyPolicy::round_robin, KeyPolicy::least_connections}) {
    Pool pool(2);
    pool.set(1, Availability::up, 49152);  // takes a quarter of its share
    for (size_t i = 0; i < 100; ++i) pool.load(pool.first(policy, Pool::hash_of(i)), 1);
    assert_in_range(pool.loads->lookup(1), 19, 21);
  }
}

void test_what_is_noted(void**) {
  config::Model m = pool_of(9);
  m.pools[0].backends[4].backup = true;
  m.pools[0].backends[5].max_connections = 1;
  Pool pool(m);
  pool.set(0, Availability::down);
  pool.set(1, Availability::maintenance);
  pool.set(2, Availability::drain);
  pool.set(3, Availability::up, 65535);
  pool.load(5, 1);
  pool.set(6, Availability::up, 0, 2);
  pool.load(6, 2);
  pool.set(8, Availability::failing);
  const std::map<BackendId, Standing> expected{
      {0, Standing::down},       {1, Standing::maintenance}, {2, Standing::draining},
      {3, Standing::slow_start}, {4, Standing::backup},      {5, Standing::full},
      {6, Standing::over_load},  {7, Standing::takes},       {8, Standing::failing}};
  std::map<BackendId, Standing> noted;
  std::vector<BackendId> order;
  const auto ids = pool.select(KeyPolicy::client_id, 1, 16, [&](BackendId id, Standing s) {
    noted[id] = s;
    order.push_back(id);
  });
  assert_true(noted == expected);
  assert_int_equal(order.size(), 9);
  assert_true((ids == std::vector<BackendId>{7, 6, 3, 4, 8, 2}));
}

void test_no_backend(void**) {
  config::Model m = sample_model();
  m.pools[0].backends.clear();
  Pool pool(m);
  for (const KeyPolicy policy :
       {KeyPolicy::client_id, KeyPolicy::round_robin, KeyPolicy::least_connections}) {
    assert_true(pool.select(policy, 1, 3).empty());
  }
}

void test_none_left_for_want_of_places(void**) {
  Pool pool(3);
  pool.model.pools[0].backends[2].max_connections = 1;
  pool.compile();
  pool.set(0, Availability::down);
  pool.set(1, Availability::maintenance);
  pool.load(2, 1);
  assert_true(pool.select(KeyPolicy::client_id, 1, 3).empty());
  assert_true(pool.is_full());
  pool.set(2, Availability::down);
  assert_true(pool.select(KeyPolicy::client_id, 1, 3).empty());
  assert_false(pool.is_full());
}

void test_limits_count_exactly(void**) {
  engine::BackendLoads loads;
  assert_true(loads.try_add(1, 2));
  assert_true(loads.try_add(1, 2));
  assert_false(loads.try_add(1, 2));
  assert_true(loads.try_add(1, 0));
  assert_int_equal(loads.lookup(1), 3);
  loads.subtract(1);
  loads.subtract(1);
  assert_true(loads.try_add(1, 2));
  assert_int_equal(loads.lookup(1), 2);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_who_is_passed_over),
      cmocka_unit_test(test_full_is_passed_over),
      cmocka_unit_test(test_load_limit_is_passed_over),
      cmocka_unit_test(test_several_down_at_once),
      cmocka_unit_test(test_slow_start),
      cmocka_unit_test(test_changes_move_its_own),
      cmocka_unit_test(test_weight_moves_little),
      cmocka_unit_test(test_backup),
      cmocka_unit_test(test_last_resorts),
      cmocka_unit_test(test_reluctant_ones_take_all_if_alone),
      cmocka_unit_test(test_round_robin_by_weight),
      cmocka_unit_test(test_failing_is_asked_before_clients_are_refused),
      cmocka_unit_test(test_turns_and_loads_of_last_resorts),
      cmocka_unit_test(test_least_connections),
      cmocka_unit_test(test_slow_start_of_turns_and_loads),
      cmocka_unit_test(test_what_is_noted),
      cmocka_unit_test(test_no_backend),
      cmocka_unit_test(test_none_left_for_want_of_places),
      cmocka_unit_test(test_limits_count_exactly),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
