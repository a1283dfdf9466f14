// States of backends over time: checks, failures, commands, slow start, load limits and the pace of
// closing.
#include "lib/control/backend_states.hh"

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;
using config::AdminState;
using config::BackendId;
using engine::Availability;

class World {
 public:
  World() : model(sample_model()) { adopt(); }

  config::Pool& pool() { return model.pools[0]; }
  void adopt() {
    config::IdUse use;
    use.fresh = [this](BackendId id) { return states.is_fresh(id); };
    auto next = config::compile(model, snapshot.get(), use);
    assert_true(next.has_value());
    states.adopt(**next, now);
    snapshot = std::move(*next);
  }
  void pass(Duration time, Duration step = 10ms) {
    for (const Instant end = now + time; now < end;) {
      now += step;
      states.advance(now);
    }
  }
  void fail(BackendId id, uint64_t count = 1) {
    states.note_failures(id, count, now);
    states.advance(now);
  }
  void load(BackendId id, uint32_t flows) {
    for (uint32_t i = 0; i < flows; ++i) assert_true(loads->try_add(id, 0));
  }
  Availability state(BackendId id) {
    const Availability published = status->lookup(id).availability;
    assert_int_equal(published, states.row(id, now).state);
    return published;
  }

  config::Model model;
  std::unique_ptr<const config::Snapshot> snapshot;
  std::unique_ptr<engine::BackendStatusTable> status =
      std::make_unique<engine::BackendStatusTable>();
  std::unique_ptr<engine::BackendLoads> loads = std::make_unique<engine::BackendLoads>();
  Instant now{1h};
  uint32_t at_once = 0xffff'ffff;  // flows that can be closed
  std::map<BackendId, uint32_t> closed;
  std::vector<std::string> lines;
  control::BackendStates states{*status, *loads,
                                [this](BackendId id, uint32_t most) {
                                  const uint32_t n = std::min({most, at_once, loads->lookup(id)});
                                  for (uint32_t i = 0; i < n; ++i) loads->subtract(id);
                                  closed[id] += n;
                                  return n;
                                },
                                [this](const std::string& line) { lines.push_back(line); }};
};

void test_checks(void**) {
  World w;
  assert_int_equal(w.state(0), Availability::up);
  w.states.set_check(0, false, "connection refused", w.now);
  assert_int_equal(w.state(0), Availability::down);
  assert_string_equal(w.states.row(0, w.now).why.c_str(), "check: connection refused");
  w.pass(3s);
  assert_int_equal(w.states.row(0, w.now).since.count(), Duration(3s).count());
  // All may be down by checks.
  w.states.set_check(1, false, "x", w.now);
  w.states.set_check(2, false, "x", w.now);
  for (BackendId id = 0; id < 3; ++id) assert_int_equal(w.state(id), Availability::down);
  w.states.set_check(0, true, "", w.now);
  assert_int_equal(w.state(0), Availability::up);
  w.states.clear_check(1, w.now);
  assert_int_equal(w.state(1), Availability::up);
  assert_int_equal(w.lines.size(), 5);
  assert_string_equal(w.lines[0].c_str(),
                      "backend broker1 of pool emqx is down: check: connection refused (was up)");
  assert_string_equal(w.lines[3].c_str(), "backend broker1 of pool emqx is up (was down)");
}

void test_failures_make_down_for_a_time(void**) {
  World w;
  w.fail(1);
  assert_int_equal(w.state(1), Availability::failing);
  assert_string_equal(std::string(control::to_string(w.states.row(1, w.now).state)).c_str(),
                      "down");
  w.pass(9900ms);
  assert_int_equal(w.state(1), Availability::failing);
  w.pass(200ms);
  assert_int_equal(w.state(1), Availability::up);
}

// Checks that find it well again know better than what connections met before.
void test_checks_end_what_failures_began(void**) {
  World w;
  w.fail(1);
  w.states.set_check(1, true, "", w.now);
  assert_int_equal(w.state(1), Availability::failing);  // nothing new
  w.states.set_check(1, false, "refused", w.now);
  assert_int_equal(w.state(1), Availability::down);
  w.pass(2s);
  w.states.set_check(1, true, "", w.now);
  assert_int_equal(w.state(1), Availability::up);
}

void test_failures_count_within_their_time(void**) {
  World w;
  w.pool().max_fails = 3;
  w.pool().fail_timeout = 1000ms;
  w.adopt();
  w.fail(1, 2);
  w.pass(1100ms);
  w.fail(1, 2);
  assert_int_equal(w.state(1), Availability::up);
  w.pass(500ms);
  w.fail(1);
  assert_int_equal(w.state(1), Availability::failing);
  w.pool().max_fails = 0;
  w.adopt();
  w.pass(1100ms);
  w.fail(1, 1000);
  assert_int_equal(w.state(1), Availability::up);
}

void test_failures_never_empty_a_pool(void**) {
  World w;
  for (BackendId id = 0; id < 3; ++id) w.fail(id);
  // The last one that failed would have been the last one left: none is believed to be down.
  for (BackendId id = 0; id < 3; ++id) assert_int_equal(w.state(id), Availability::up);
  // Nor is one whose fellows are down by checks, drain or are in maintenance.
  World v;
  v.states.set_check(0, false, "x", v.now);
  v.pool().backends[1].state = AdminState::drain;
  v.adopt();
  v.fail(2);
  assert_int_equal(v.state(2), Availability::up);
  v.states.set_check(0, true, "", v.now);
  assert_int_equal(v.state(2), Availability::failing);
}

void test_commands(void**) {
  World w;
  w.pool().backends[0].state = AdminState::drain;
  w.pool().backends[1].state = AdminState::maintenance;
  w.adopt();
  assert_int_equal(w.state(0), Availability::drain);
  assert_int_equal(w.state(1), Availability::maintenance);
  // What checks say of one that drains counts; in maintenance it does not.
  w.states.set_check(0, false, "x", w.now);
  w.states.set_check(1, false, "x", w.now);
  assert_int_equal(w.state(0), Availability::down);
  assert_int_equal(w.state(1), Availability::maintenance);
  w.states.set_check(0, true, "", w.now);
  assert_int_equal(w.state(0), Availability::drain);
  w.pool().backends[0].state = AdminState::up;
  w.pool().backends[1].state = AdminState::up;
  w.adopt();
  assert_int_equal(w.state(0), Availability::up);
  assert_int_equal(w.state(1), Availability::down);
}

// Whatever checks and connections say, and back as one that checks let back.
void test_down_by_command(void**) {
  World w;
  w.load(0, 100);
  w.pool().slow_start = 10s;
  w.pool().backends[0].state = AdminState::down;
  w.adopt();
  w.states.set_check(0, true, "", w.now);
  assert_int_equal(w.state(0), Availability::down);
  assert_string_equal(w.states.row(0, w.now).why.c_str(), "by command");
  w.fail(1);
  w.fail(2);
  assert_int_equal(w.state(2), Availability::up);  // the last one
  w.pass(1s);
  assert_int_equal(w.closed[0], 100);
  w.pool().backends[0].state = AdminState::up;
  w.adopt();
  assert_int_equal(w.state(0), Availability::up);
  assert_in_range(w.states.row(0, w.now).taking, 0, 1);
  w.load(0, 100);
  w.pool().close_on_down = config::CloseOnDown::off;
  w.pool().backends[0].state = AdminState::down;
  w.adopt();
  w.pass(1s);
  assert_int_equal(w.closed[0], 100);
}

void test_slow_start(void**) {
  World w;
  w.pool().slow_start = 100s;
  w.adopt();
  assert_int_equal(w.status->lookup(0).withheld, 0);  // not at the balancer's own start
  w.states.set_check(0, false, "x", w.now);
  w.states.set_check(0, true, "", w.now);
  assert_int_equal(w.status->lookup(0).withheld, 65535);
  uint32_t last = 65535;
  for (uint32_t percent = 10; percent < 100; percent += 10) {
    w.pass(10s, 100ms);
    const uint32_t withheld = w.status->lookup(0).withheld;
    assert_true(withheld < last);
    assert_in_range(withheld, 65535 * (100 - percent) / 100 - 1, 65535 * (100 - percent) / 100 + 1);
    assert_in_range(w.states.row(0, w.now).taking, percent - 1, percent + 1);
    last = withheld;
  }
  w.pass(10s, 100ms);
  assert_int_equal(w.status->lookup(0).withheld, 0);
  assert_int_equal(w.status->lookup(1).withheld, 0);
  // A backend that is added later starts slowly too.
  config::Backend fresh;
  fresh.name = "fresh";
  fresh.endpoint = endpoint("198.18.1.77:1883");
  w.pool().backends.push_back(fresh);
  w.adopt();
  assert_int_equal(w.status->lookup(3).withheld, 65535);
}

// A backend is fresh from when it is added until it has been through its slow start; one that
// returns is not.
void test_who_is_fresh(void**) {
  World w;
  w.pool().slow_start = 100s;
  w.adopt();
  w.states.set_check(0, false, "x", w.now);
  w.states.set_check(0, true, "", w.now);
  for (BackendId id = 0; id < 4; ++id) assert_false(w.states.is_fresh(id));
  config::Backend added;
  added.name = "added";
  added.endpoint = endpoint("198.18.1.77:1883");
  w.pool().backends.push_back(added);
  const auto assert_fresh = [&](bool fresh) {
    assert_int_equal(w.states.is_fresh(3), fresh);
    assert_int_equal(w.status->lookup(3).fresh, fresh);
    w.adopt();  // an unrelated change
    assert_int_equal(w.states.is_fresh(3), fresh);
    assert_int_equal(w.snapshot->backends[3].fresh, fresh);
    assert_int_equal(w.snapshot->pools[0].settled.empty(), !fresh);
  };
  w.adopt();
  assert_true(w.snapshot->backends[3].fresh);
  assert_fresh(true);
  w.pass(50s, 100ms);
  assert_fresh(true);
  // Its slow start begins anew.
  w.states.set_check(3, false, "x", w.now);
  assert_fresh(true);
  w.pass(200s, 100ms);
  assert_fresh(true);
  w.states.set_check(3, true, "", w.now);
  w.pass(99s, 100ms);
  assert_fresh(true);
  w.pass(2s, 100ms);
  assert_fresh(false);
  w.states.set_check(3, false, "x", w.now);
  w.states.set_check(3, true, "", w.now);
  assert_int_equal(w.status->lookup(3).withheld, 65535);
  assert_fresh(false);
  // Removed and added again.
  w.pool().backends.pop_back();
  w.adopt();
  assert_false(w.states.is_fresh(3));
  w.pool().backends.push_back(added);
  w.adopt();
  assert_fresh(true);
  // Added in maintenance, even without slow start.
  w.pool().backends.pop_back();
  w.pool().slow_start = 0s;
  w.adopt();
  w.pool().backends.push_back(added);
  w.adopt();
  assert_fresh(false);
  w.pool().backends.pop_back();
  w.adopt();
  added.state = AdminState::maintenance;
  w.pool().backends.push_back(added);
  w.adopt();
  assert_fresh(true);
  w.pool().backends[3].state = AdminState::up;
  w.adopt();
  assert_fresh(false);
}

void test_load_limits(void**) {
  World w;
  w.pool().load_factor = 150;
  w.pool().backends[2].weight = 2;
  w.load(0, 10);
  w.load(1, 20);
  w.load(2, 9);
  w.adopt();
  // 40 flows with the next one: shares of 10, 10 and 20.
  assert_int_equal(w.status->lookup(0).load_limit, 15);
  assert_int_equal(w.status->lookup(1).load_limit, 15);
  assert_int_equal(w.status->lookup(2).load_limit, 30);
  // One that is down takes no part.
  w.states.set_check(2, false, "x", w.now);
  assert_int_equal(w.status->lookup(0).load_limit, 24);
  assert_int_equal(w.status->lookup(2).load_limit, 0);
  // Back in slow start its share grows with what it takes, and that of the others shrinks.
  w.pool().slow_start = 100s;
  w.adopt();
  w.states.set_check(2, true, "", w.now);
  assert_int_equal(w.status->lookup(0).load_limit, 30);
  assert_int_equal(w.status->lookup(2).load_limit, 1);
  w.pass(50s, 100ms);
  assert_in_range(w.status->lookup(0).load_limit, 20, 21);
  assert_in_range(w.status->lookup(2).load_limit, 20, 21);
  w.pass(51s, 100ms);
  assert_int_equal(w.status->lookup(0).load_limit, 15);
  assert_int_equal(w.status->lookup(2).load_limit, 30);
  w.pool().load_factor = 0;
  w.adopt();
  assert_int_equal(w.status->lookup(0).load_limit, 0);
}

void test_pace_of_a_drain(void**) {
  World w;
  w.load(0, 5000);
  w.load(1, 5000);
  w.pool().backends[0].state = AdminState::drain;
  w.adopt();
  w.pass(2s);
  assert_int_equal(w.closed[0], 0);  // they stay
  w.pool().backends[0].drain_rate = 500;
  w.adopt();
  w.pass(1s);
  assert_in_range(w.closed[0], 495, 505);
  w.pass(3s, 7ms);
  assert_in_range(w.closed[0], 1990, 2010);
  assert_int_equal(w.states.row(0, w.now).closed, w.closed[0]);
  w.pass(10s);
  assert_int_equal(w.closed[0], 5000);
  assert_int_equal(w.closed[1], 0);
}

// A lower pace holds at once, whatever could not be closed before.
void test_another_pace(void**) {
  World w;
  w.load(0, 100'000);
  w.pool().backends[0].state = AdminState::drain;
  w.pool().backends[0].drain_rate = 1'000'000;
  w.at_once = 1;  // few can be closed at a time
  w.adopt();
  w.pass(1s);
  w.at_once = 100'000;
  w.pool().backends[0].drain_rate = 10;
  w.adopt();
  const uint32_t before = w.closed[0];
  w.pass(1s);
  assert_in_range(w.closed[0] - before, 9, 12);
}

// Flows of a backend that drains or fails its checks are not closed while there is no other to go
// to; those of one in maintenance, or taken down by command, are.
void test_nobody_is_sent_nowhere(void**) {
  World w;
  for (BackendId id = 0; id < 3; ++id) w.load(id, 1000);
  w.pool().backends[0].state = AdminState::drain;
  w.pool().backends[0].drain_rate = 100;
  w.adopt();
  w.states.set_check(1, false, "x", w.now);
  w.states.set_check(2, false, "x", w.now);
  w.pass(10s);
  for (BackendId id = 0; id < 3; ++id) assert_true(w.closed[id] <= 1);
  w.states.set_check(2, true, "", w.now);
  w.pass(1s);
  assert_in_range(w.closed[0], 95, 110);
  assert_in_range(w.closed[1], 480, 520);
  assert_true(w.closed[2] <= 1);
  w.states.set_check(2, false, "x", w.now);
  w.pool().backends[0].state = AdminState::maintenance;
  w.pool().backends[1].state = AdminState::down;
  w.adopt();
  w.pass(10s);
  assert_int_equal(w.closed[0], 1000);
  assert_int_equal(w.closed[1], 1000);
  assert_true(w.closed[2] <= 10);
}

void test_control_that_was_away_does_not_catch_up(void**) {
  World w;
  w.load(0, 100'000);
  w.pool().backends[0].state = AdminState::maintenance;
  w.pool().close_rate = 1000;
  w.adopt();
  w.pass(100ms);
  const uint32_t before = w.closed[0];
  w.pass(60s, 60s);
  assert_true(w.closed[0] - before <= 1000);
}

void test_who_loses_flows(void**) {
  World w;
  for (BackendId id = 0; id < 3; ++id) w.load(id, 100);
  w.states.set_check(0, false, "x", w.now);
  w.fail(1);  // failures alone close nothing
  w.pass(1s);
  assert_int_equal(w.closed[0], 100);
  assert_int_equal(w.closed[1], 0);
  assert_int_equal(w.closed[2], 0);
  World v;
  v.pool().close_on_down = config::CloseOnDown::off;
  v.adopt();
  v.load(0, 100);
  v.states.set_check(0, false, "x", v.now);
  v.pass(1s);
  assert_int_equal(v.closed[0], 0);
}

// A broker that says itself that it takes nobody moves its clients at its own pace, where the pool
// wants that; one that says nothing cannot.
void test_a_broker_that_leaves(void**) {
  World w;
  w.pool().close_on_down = config::CloseOnDown::unanswered;
  w.adopt();
  for (BackendId id = 0; id < 3; ++id) w.load(id, 100);
  w.states.set_check(0, false, "HTTP status 503, not 200", w.now, true);
  w.states.set_check(1, false, "connection refused", w.now);
  w.pass(1s);
  assert_int_equal(w.state(0), Availability::down);
  assert_int_equal(w.closed[0], 0);
  assert_int_equal(w.closed[1], 100);
  w.states.set_check(0, false, "timeout", w.now);
  w.pass(1s);
  assert_int_equal(w.closed[0], 100);
}

void test_an_id_that_means_another_backend(void**) {
  World w;
  w.states.set_check(2, false, "x", w.now);
  w.pool().backends.pop_back();
  w.adopt();
  w.adopt();  // only now may the id be given away
  config::Backend fresh;
  fresh.name = "fresh";
  fresh.endpoint = endpoint("198.18.1.77:1883");
  w.pool().backends.push_back(fresh);
  auto next = config::compile(
      w.model, w.snapshot.get(),
      {[](auto) { return false; }, [](auto) { return false; }, [](auto) { return false; }});
  assert_true(next.has_value());
  assert_string_equal((*next)->backends[2].name.c_str(), "fresh");
  w.states.adopt(**next, w.now);
  w.snapshot = std::move(*next);
  assert_int_equal(w.state(2), Availability::up);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_checks),
      cmocka_unit_test(test_failures_make_down_for_a_time),
      cmocka_unit_test(test_checks_end_what_failures_began),
      cmocka_unit_test(test_failures_count_within_their_time),
      cmocka_unit_test(test_failures_never_empty_a_pool),
      cmocka_unit_test(test_commands),
      cmocka_unit_test(test_down_by_command),
      cmocka_unit_test(test_slow_start),
      cmocka_unit_test(test_who_is_fresh),
      cmocka_unit_test(test_load_limits),
      cmocka_unit_test(test_pace_of_a_drain),
      cmocka_unit_test(test_another_pace),
      cmocka_unit_test(test_nobody_is_sent_nowhere),
      cmocka_unit_test(test_control_that_was_away_does_not_catch_up),
      cmocka_unit_test(test_who_loses_flows),
      cmocka_unit_test(test_a_broker_that_leaves),
      cmocka_unit_test(test_an_id_that_means_another_backend),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
