// The small parts of the engine: timers, objects, tokens and addresses.
#include <sys/resource.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include "lib/base/slab.hh"
#include "lib/base/timer_wheel.hh"
#include "lib/engine/addresses.hh"
#include "lib/engine/gates.hh"
#include "lib/engine/rate_limit.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;

Instant at(Duration since_start) { return Instant(since_start); }

struct Timer : base::TimerNode {
  size_t id = 0;
  Instant when{};
  bool armed = false;
};

class Wheel {
 public:
  explicit Wheel(size_t count) : timers(count) {
    for (size_t i = 0; i < count; ++i) timers[i].id = i;
  }
  void arm(size_t id, Instant when) {
    wheel.arm(timers[id], when);
    timers[id].when = when;
    timers[id].armed = true;
  }
  void stop(size_t id) {
    wheel.stop(timers[id]);
    timers[id].armed = false;
  }

  base::TimerWheel wheel;
  std::vector<Timer> timers;
};

// The millisecond at which a timer goes off: the first at or after its time, but a later one than
// the wheel has seen.
int64_t due_tick(Instant when, int64_t seen) {
  return std::max((when.time_since_epoch().count() + 999) / 1000, seen + 1);
}

void test_timers_against_reference(void**) {
  std::mt19937 random(16);
  for (int round = 0; round < 30; ++round) {
    Wheel w(100);
    std::map<size_t, int64_t> reference;  // id -> tick
    Duration now(round * 12'345'678LL);
    w.wheel.advance(at(now), [](base::TimerNode&) {});
    for (int step = 0; step < 3000; ++step) {
      const size_t id = random() % w.timers.size();
      const int64_t seen = now.count() / 1000;
      switch (random() % 4) {
        case 0:
        case 1: {
          // Also in the past, at once, and beyond a turn of 4096 ms.
          const Duration ahead(static_cast<int64_t>(random() % 20'000'000) - 50'000);
          w.arm(id, at(now + ahead));
          reference[id] = due_tick(at(now + ahead), seen);
          break;
        }
        case 2:
          w.stop(id);
          reference.erase(id);
          break;
        default: {
          now += Duration(random() % 50 == 0 ? random() % 30'000'000 : random() % 3000);
          std::set<size_t> fired;
          w.wheel.advance(at(now), [&](base::TimerNode& node) {
            auto& timer = static_cast<Timer&>(node);
            assert_null(node.previous);
            assert_true(timer.when <= at(now));
            assert_true(fired.insert(timer.id).second);
          });
          std::set<size_t> expected;
          for (const auto& [timer, tick] : reference) {
            if (tick <= now.count() / 1000) expected.insert(timer);
          }
          assert_true(fired == expected);
          for (const size_t timer : fired) reference.erase(timer);
        }
      }
    }
  }
}

// Within the ticks that pass one by one, nobody overtakes.
void test_timers_fire_in_order(void**) {
  Wheel w(500);
  std::mt19937 random(17);
  for (size_t i = 0; i < 500; ++i) w.arm(i, at(Duration(random() % 4'000'000)));
  Instant last{};
  size_t count = 0;
  w.wheel.advance(at(4s), [&](base::TimerNode& node) {
    const Instant when = static_cast<Timer&>(node).when;
    assert_true(when + 1ms > last);
    last = std::max(last, when);
    ++count;
  });
  assert_int_equal(count, 500);
}

void test_timers_arm_in_callback(void**) {
  Wheel w(3);
  // Itself, at once: it must come again at the next tick, and not hang this one.
  size_t times = 0;
  w.arm(0, at(1ms));
  for (int tick = 1; tick <= 10; ++tick) {
    w.wheel.advance(at(tick * 1ms), [&](base::TimerNode& node) {
      ++times;
      w.wheel.arm(node, at(0s));
    });
    assert_int_equal(times, tick);
  }
  w.stop(0);
  // A whole turn ahead: the same slot that is being emptied.
  times = 0;
  w.arm(1, at(20ms));
  w.wheel.advance(at(20ms), [&](base::TimerNode& node) {
    ++times;
    w.wheel.arm(node, at(20ms + 4096ms));
  });
  w.wheel.advance(at(20ms + 4095ms), [&](base::TimerNode&) { ++times; });
  assert_int_equal(times, 1);
  w.wheel.advance(at(20ms + 4096ms), [&](base::TimerNode&) { ++times; });
  assert_int_equal(times, 2);
}

// A callback stops another timer that is due in the same millisecond, and arms a third for it.
void test_timers_stop_in_callback(void**) {
  for (const bool stop : {false, true}) {
    Wheel w(3);
    w.arm(0, at(5ms));
    w.arm(1, at(5ms));
    std::vector<size_t> fired;
    const auto due = [&](base::TimerNode& node) {
      const size_t id = static_cast<Timer&>(node).id;
      fired.push_back(id);
      if (id == 0 && stop) w.stop(1);
      if (id == 0) w.arm(2, at(5ms));
    };
    w.wheel.advance(at(5ms), due);
    assert_int_equal(fired.size(), stop ? 1 : 2);
    w.wheel.advance(at(6ms), due);
    assert_int_equal(fired.back(), 2);
  }
}

// Long pauses: what came due meanwhile goes off once, at the first call, even when re-armed.
void test_timers_long_pause(void**) {
  for (const Duration pause :
       {4095ms + 0us, 4096ms + 0us, 4097ms + 0us, 1h + 0us, 24h * 400 + 0us}) {
    Wheel w(200);
    for (size_t i = 0; i < 200; ++i) w.arm(i, at(i * 41ms + 1ms));
    w.arm(199, at(pause + 1ms));
    size_t fired = 0;
    w.wheel.advance(at(pause), [&](base::TimerNode& node) {
      assert_true(static_cast<Timer&>(node).when <= at(pause));
      ++fired;
      w.wheel.arm(node, at(pause + 10s));
    });
    const auto due = static_cast<size_t>(std::min<int64_t>(199, (pause - 1ms) / 41ms + 1));
    assert_int_equal(fired, due);
    w.wheel.advance(at(pause + 1ms), [&](base::TimerNode& node) {
      fired += static_cast<Timer&>(node).when > at(pause) ? 1000U : 0U;
    });
    assert_true(fired >= 1000);
  }
}

struct Object {
  std::vector<int> content;
  int value = 3;
};

void test_slab(void**) {
  base::Slab<Object> slab(5);
  std::set<uint32_t> taken;
  for (uint32_t i = 0; i < 5; ++i) {
    const uint32_t index = slab.take();
    assert_in_range(index, 0, 4);
    assert_true(taken.insert(index).second);
    assert_int_equal(slab.index_of(slab[index]), index);
    assert_int_equal(slab[index].value, 3);
    slab[index].value = 9;
    slab[index].content.assign(100, 1);
    assert_int_equal(slab.size(), i + 1);
  }
  assert_int_equal(slab.take(), base::Slab<Object>::kNone);
  slab.give_back(2);
  assert_int_equal(slab.size(), 4);
  assert_int_equal(slab.take(), 2);
  assert_int_equal(slab[2].value, 3);  // as new, and its memory is free
  assert_int_equal(slab[2].content.capacity(), 0);
  assert_int_equal(slab[3].value, 9);
  assert_int_equal(base::Slab<Object>(0).take(), base::Slab<Object>::kNone);
}

size_t take_all(engine::TokenBucket& bucket, Instant now, size_t most = 100000) {
  size_t n = 0;
  while (n < most && bucket.take(now)) ++n;
  return n;
}

void test_tokens(void**) {
  const struct {
    uint32_t rate;
    size_t burst;
  } rows[] = {{1, 8}, {10, 8}, {80, 8}, {100, 10}, {1000, 100}, {500'000, 50'000}};
  for (const auto& row : rows) {
    engine::TokenBucket bucket;
    bucket.set_rate(row.rate);
    // Full after a pause, however long, and no more than full.
    assert_int_equal(take_all(bucket, at(1h)), std::min<size_t>(row.burst, row.rate));
    assert_int_equal(take_all(bucket, at(1h)), 0);
    for (int i = 1; i <= 20; ++i) (void)take_all(bucket, at(1h + i * 1s));
    assert_int_equal(take_all(bucket, at(1h + 20s)), 0);
    // The rate holds for many small steps as it does for few: fractions are not lost.
    size_t n = 0;
    for (Duration t = 0s; t <= 10s; t += 800us) n += take_all(bucket, at(1h + 20s + t));
    assert_in_range(n, row.rate * 10 - 1, row.rate * 10);
  }
}

void test_tokens_of_no_rate(void**) {
  engine::TokenBucket bucket;
  assert_false(bucket.take(at(1h)));
  bucket.set_rate(1000);
  assert_true(bucket.take(at(2h)));
  bucket.set_rate(0);  // from now on none, not even those that were saved
  assert_int_equal(take_all(bucket, at(2h)), 0);
  assert_int_equal(take_all(bucket, at(3h)), 0);
  bucket.set_rate(100);
  assert_int_equal(take_all(bucket, at(4h)), 10);
  bucket.set_rate(1000);  // a new rate brings no tokens of its own
  assert_int_equal(take_all(bucket, at(4h)), 0);
}

void test_endpoint_map(void**) {
  engine::EndpointMap map;
  std::map<wire::Endpoint, uint16_t> reference;
  std::mt19937 random(18);
  assert_int_equal(map.lookup(endpoint("198.18.0.1:1")), engine::EndpointMap::kNone);
  for (unsigned i = 0; i < 5000; ++i) {
    // Neighbours, so that sums of address and port are the same for many.
    wire::Endpoint e{wire::IpAddress::v4(0xc6120000 + static_cast<uint32_t>(random() % 64)),
                     static_cast<uint16_t>(random() % 64)};
    if (random() % 8 == 0) e.address = ip("2001:db8::" + std::to_string(random() % 64));
    assert_int_equal(map.lookup(e), reference.count(e) != 0 ? reference[e] : 0xffff);
    const uint16_t number = map.add(e);
    const auto [it, fresh] = reference.emplace(e, number);
    assert_int_equal(number, fresh ? reference.size() - 1 : it->second);
  }
  assert_int_equal(map.size(), reference.size());
  for (const auto& [e, number] : reference) {
    assert_int_equal(map.lookup(e), number);
    assert_true(map[number] == e);
  }
}

using SnapshotPtr = std::unique_ptr<const config::Snapshot>;

SnapshotPtr compile(const config::Model& model, const config::Snapshot* previous) {
  auto snapshot = config::compile(model, previous, {});
  if (!snapshot) fail_msg("%s", snapshot.error().message.c_str());
  return std::move(*snapshot);
}

void test_addresses(void**) {
  config::Model model = sample_model();
  const SnapshotPtr first = compile(model, nullptr);
  engine::Addresses a;
  a.adopt(*first);
  const uint16_t vip = a.vip(endpoint("198.18.0.10:1883"));
  assert_int_not_equal(vip, engine::EndpointMap::kNone);
  assert_true(a.vip_endpoint(vip) == endpoint("198.18.0.10:1883"));
  assert_true(a.listener(vip) != nullptr && *a.listener(vip) == 0);
  assert_int_equal(a.vip(endpoint("198.18.0.10:1884")), engine::EndpointMap::kNone);
  for (const char* own : {"198.18.0.10", "198.18.0.1", "198.18.1.1"}) {
    assert_true(a.local(ip(own)) != nullptr && !a.local(ip(own))->snat);
  }
  assert_true(a.local(ip("198.18.1.101")) != nullptr && a.local(ip("198.18.1.101"))->snat);
  assert_int_not_equal(a.local(ip("198.18.1.100"))->snat_id, a.local(ip("198.18.1.101"))->snat_id);
  assert_null(a.local(ip("198.18.1.11")));
  const uint16_t broker = a.broker(endpoint("198.18.1.12:1883"));
  assert_int_equal(a.broker_of(1), broker);
  assert_int_equal(a.broker_count(), 3);

  // A listener leaves: its number stays, for flows that have it, but nobody is accepted any more.
  model.listeners[0].name = "other";
  model.listeners[0].endpoint = endpoint("198.18.0.11:8883");
  model.pools[0].backends.erase(model.pools[0].backends.begin());
  const SnapshotPtr second = compile(model, first.get());
  a.adopt(*second);
  assert_int_equal(a.vip(endpoint("198.18.0.10:1883")), vip);
  assert_null(a.listener(vip));
  const uint16_t moved = a.vip(endpoint("198.18.0.11:8883"));
  assert_int_not_equal(moved, vip);
  assert_non_null(a.listener(moved));
  assert_int_equal(a.broker(endpoint("198.18.1.12:1883")), broker);
  assert_true(a.broker_endpoint(broker) == endpoint("198.18.1.12:1883"));

  // And comes back under another name: the same number, another listener.
  model.listeners[0].endpoint = endpoint("198.18.0.10:1883");
  const SnapshotPtr third = compile(model, second.get());
  a.adopt(*third);
  assert_int_equal(a.vip(endpoint("198.18.0.10:1883")), vip);
  assert_non_null(a.listener(vip));
  assert_string_equal(third->listeners[*a.listener(vip)].name.c_str(), "other");
  assert_false(third->listeners[*a.listener(vip)].retired);
  assert_null(a.listener(moved));
}

// No memory for a table: an error, and the limit that would need it can be set later.
void test_no_memory_for_a_table(void**) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  skip();  // they end the process instead
#endif
  const struct {
    void (*set)(config::Admission&);
    const char* message;
  } table[] = {
      {[](config::Admission& a) { a.source_connections = 1; },
       "no memory for the table of sources"},
      {[](config::Admission& a) { a.client_id_connects = 1; },
       "no memory for the table of Client IDs"},
  };
  for (const auto& row : table) {
    config::Model model = sample_model();
    row.set(model.listeners[0].admission);
    const SnapshotPtr snapshot = compile(model, nullptr);
    const auto gates = std::make_unique<engine::Gates>();
    const tcp::Secret secret{};
    rlimit before{};
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    rlimit little = before;
    little.rlim_cur = rlim_t{2} << 30;
    assert_int_equal(setrlimit(RLIMIT_AS, &little), 0);
    const auto failed = gates->adopt(*snapshot, secret, admission::kMostSources / 4);  // 4 GiB
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_false(failed.has_value());
    assert_string_equal(failed.error().message.c_str(), row.message);
    assert_true(gates->adopt(*snapshot, secret, 1).has_value());
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_timers_against_reference),
      cmocka_unit_test(test_timers_fire_in_order),
      cmocka_unit_test(test_timers_arm_in_callback),
      cmocka_unit_test(test_timers_stop_in_callback),
      cmocka_unit_test(test_timers_long_pause),
      cmocka_unit_test(test_slab),
      cmocka_unit_test(test_tokens),
      cmocka_unit_test(test_tokens_of_no_rate),
      cmocka_unit_test(test_endpoint_map),
      cmocka_unit_test(test_addresses),
      cmocka_unit_test(test_no_memory_for_a_table),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
