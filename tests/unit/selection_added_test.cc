// A backend that is added to a pool in use: with slow start it moves nobody but its own clients.
#include <string>

#include "lib/engine/selection.hh"
#include "tests/unit/selection_pool.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;

config::Model slow_pool_of(size_t backends) {
  config::Model m = pool_of(backends);
  m.pools[0].slow_start = std::chrono::seconds(30);
  return m;
}

// How many clients go elsewhere than before, other than to `added`.
size_t moved_between_others(const std::vector<BackendId>& before, const std::vector<BackendId>& now,
                            BackendId added) {
  size_t n = 0;
  for (size_t i = 0; i < kKeys; ++i) n += now[i] != before[i] && now[i] != added;
  return n;
}

// All that Maglev itself moves between the others, it moves at once, and that is little; then
// clients come to the new backend from where they were, in proportion, and none goes elsewhere.
// Whatever else is configured meanwhile.
void test_slow_start_of_an_added_backend(void**) {
  for (size_t backends = 2; backends <= 5; ++backends) {
    Pool pool(slow_pool_of(backends));
    const auto before = pool.homes();
    const auto with = Pool(backends + 1).homes();
    const BackendId added = pool.add();
    auto last = pool.homes();
    assert_int_equal(count(last).count(added), 0);
    for (size_t i = 0; i < kKeys; ++i) {
      assert_int_equal(last[i], with[i] == added ? before[i] : with[i]);
    }
    assert_true(moved_between_others(before, last, added) < kKeys / 200);
    const auto share = static_cast<double>(count(with)[added]);
    for (const uint32_t percent : {1U, 10U, 25U, 50U, 75U, 90U, 99U, 100U}) {
      pool.set_fresh(added, percent);
      const auto now = pool.homes();
      for (size_t i = 0; i < kKeys; ++i) {
        if (now[i] != last[i]) assert_true(now[i] == added && with[i] == added);
      }
      const auto taken = static_cast<double>(count(now)[added]);
      assert_true(std::abs(taken - share * percent / 100) < 0.05 * share);
      pool.model.settings.rst_per_second = percent;
      pool.compile();
      assert_true(pool.homes() == now);
      assert_int_equal(pool.snapshot->backends[added].fresh, percent < 100);
      last = now;
    }
    assert_true(last == with);
  }
}

// The table alone decides as soon as it has all of its clients, and what becomes of it then is as
// of any other.
void test_an_added_backend_that_has_all(void**) {
  Pool pool(slow_pool_of(3));
  const BackendId added = pool.add();
  pool.set_fresh(added, 100);
  assert_false(pool.snapshot->pools[0].settled.empty());
  const auto with = pool.homes();
  pool.set(added, Availability::down);
  const auto without = pool.homes();
  assert_only_its_clients_move(with, without, added, 3);
  pool.compile();
  assert_true(pool.snapshot->pools[0].settled.empty());
  assert_true(pool.homes() == without);
}

// One that is down, or is kept from clients by command, before it had all of them moves nobody but
// its own, and these back to where they were.
void test_an_added_backend_that_does_not_come_up(void**) {
  for (const Availability state : {Availability::down, Availability::maintenance,
                                   Availability::drain, Availability::failing}) {
    Pool pool(slow_pool_of(3));
    const BackendId added = pool.add();
    const auto none = pool.homes();
    pool.set_fresh(added, 50);
    assert_true(pool.homes() != none);
    pool.set_fresh(added, 50, state);
    assert_true(pool.homes() == none);
    pool.compile();
    assert_true(pool.homes() == none);
  }
  // Even without slow start, if it is added so.
  Pool pool(3);
  config::Model m = pool_of(4);
  m.pools[0].backends[3].state = config::AdminState::maintenance;
  const auto before = pool.homes();
  pool.model = m;
  pool.compile();
  pool.set_fresh(3, 0, Availability::maintenance);
  assert_true(moved_between_others(before, pool.homes(), 3) < kKeys / 200);
}

// Clients of a backend that is down stay where they went instead.
void test_an_added_backend_beside_one_that_is_down(void**) {
  Pool pool(slow_pool_of(4));
  pool.set(2, Availability::down);
  const auto before = pool.homes();
  const BackendId added = pool.add();
  auto last = pool.homes();
  assert_int_equal(count(last).count(added), 0);
  assert_true(moved_between_others(before, last, added) < kKeys / 200);
  for (const uint32_t percent : {25U, 50U, 100U}) {
    pool.set_fresh(added, percent);
    const auto now = pool.homes();
    assert_int_equal(moved_between_others(last, now, added), 0);
    last = now;
  }
}

void test_two_added_backends(void**) {
  Pool pool(slow_pool_of(3));
  const auto before = pool.homes();
  const BackendId one = pool.add();
  const BackendId two = pool.add();
  auto last = pool.homes();
  assert_true(moved_between_others(before, last, one) < kKeys / 200);
  for (const uint32_t percent : {25U, 50U, 100U}) {
    pool.set_fresh(one, percent);
    const auto first = pool.homes();
    assert_int_equal(moved_between_others(last, first, one), 0);
    pool.set_fresh(two, percent);
    last = pool.homes();
    assert_int_equal(moved_between_others(first, last, two), 0);
  }
  assert_true(last == Pool(5).homes());
}

// It is named as the one passed over; and it is tried when the others are gone.
void test_what_is_noted_of_an_added_backend(void**) {
  Pool pool(slow_pool_of(3));
  const BackendId added = pool.add();
  const auto with = Pool(4).homes();
  const auto home = std::find(with.begin(), with.end(), added) - with.begin();
  std::vector<std::pair<BackendId, Standing>> noted;
  const auto ids = pool.select(KeyPolicy::client_id, Pool::hash_of(static_cast<size_t>(home)), 4,
                               [&](BackendId id, Standing s) { noted.emplace_back(id, s); });
  assert_int_equal(noted.size(), 4);
  assert_true(noted[0] == std::pair(added, Standing::slow_start));
  assert_int_equal(ids.size(), 4);
  assert_int_equal(ids[3], added);
  for (size_t i = 1; i < 4; ++i) assert_int_equal(ids[i - 1], noted[i].first);
  for (BackendId id = 0; id < 3; ++id) pool.set(id, Availability::down);
  assert_int_equal(count(pool.homes())[added], kKeys);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_slow_start_of_an_added_backend),
      cmocka_unit_test(test_an_added_backend_that_has_all),
      cmocka_unit_test(test_an_added_backend_that_does_not_come_up),
      cmocka_unit_test(test_an_added_backend_beside_one_that_is_down),
      cmocka_unit_test(test_two_added_backends),
      cmocka_unit_test(test_what_is_noted_of_an_added_backend),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
