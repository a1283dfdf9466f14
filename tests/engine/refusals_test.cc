// Who is refused is told so and named: sources, Client IDs that come too often or are fought over,
// and clients of backends that are full.
#include <functional>

#include "tests/engine/limits.hh"
#include "tests/support/models.hh"

namespace mqlb::tests {
namespace {

using base::Drop;
using base::End;
using base::Event;
using config::Refusal;
using sim::kAck;
using sim::kFin;
using sim::kPsh;
using sim::kRst;
using sim::kSyn;

// ---- Sources that are refused

// What all workers together have seen.
template <typename Watch>
std::vector<typename Watch::Row> rows_of(Bench& b, const Watch& (engine::Worker::*watch)() const) {
  std::vector<typename Watch::Row> rows;
  for (size_t i = 0; i < b.engine().core_count(); ++i) {
    engine::Core& core = b.engine().core(i);
    if (core.worker() == nullptr) continue;
    const Watch& own = (core.worker()->*watch)();
    own.list(0, own.bucket_count(), base::to_seconds(b.now()), rows);
  }
  Watch::merge(rows);
  return rows;
}

// One host floods, another is refused now and then: with the right counts for any number of
// workers. Who is let in, and who meets a limit of the listener, is not named.
void test_who_is_refused_is_named(void** /*state*/) {
  using admission::Refused;
  using config::CoreRole;
  for (const std::vector<CoreRole>& cores :
       {std::vector{CoreRole::both}, std::vector{CoreRole::both, CoreRole::worker}}) {
    Setup setup = default_setup(690);
    setup.options.cores = cores;
    limits(setup).source_connections = 2;
    limits(setup).source_v6_bits = 128;
    limits(setup).max_connections = 3;
    limits(setup).deny = {network("198.18.0.22/32")};
    Bench& b = new_bench(setup);
    const auto syn = [&](uint16_t port, unsigned host) {
      const RawEnd client = raw_client(port, host);
      return b.send(client, client.segment(kSyn)).size() == 1;
    };
    RawEnd let_in[] = {raw_client(4000), raw_client(4001), raw_client(4000, 1)};
    for (RawEnd& client : let_in) assert_true(b.handshake(client));
    for (uint16_t i = 0; i < 500; ++i) {
      assert_false(syn(static_cast<uint16_t>(10000 + i), 2));
      if (i % 10 == 0) assert_false(syn(static_cast<uint16_t>(10000 + i), 1));
    }
    // The listener has room again, so it is the source's own limit that holds.
    limits(setup).max_connections = 0;
    b.dut().reconfigure(setup.model, b.now());
    for (uint16_t i = 0; i < 20; ++i) assert_false(syn(static_cast<uint16_t>(11000 + i), 0));
    assert_int_equal(b.count(Drop::listener_full), 50);
    const auto rows = rows_of(b, &engine::Worker::refused_sources);
    assert_int_equal(rows.size(), 2);
    const uint8_t bits = families().clients_v6 ? 128 : 32;
    assert_true(rows[0].network == (wire::Prefix{client_address(2), bits}));
    assert_true(rows[0].reason == Refused::denied);
    assert_int_equal(rows[0].count(Refused::denied), 500);
    assert_int_equal(rows[0].refused(), 500);
    assert_in_range(rows[0].last_minute, 500, 501);
    assert_true(rows[1].network == (wire::Prefix{client_address(0), bits}));
    assert_true(rows[1].reason == Refused::full);
    assert_int_equal(rows[1].refused(), 20);
    setup.model.listeners.erase(setup.model.listeners.begin());
    b.dut().reconfigure(setup.model, b.now());
    assert_int_equal(rows_of(b, &engine::Worker::refused_sources).size(), 0);
  }
}

// ---- Client IDs

// Says CONNECT; the answer's bytes, or none if a broker is asked.
sim::Buffer connect(Bench& b, RawEnd& client, const std::string& id, sim::Level level) {
  assert_true(b.handshake(client));
  sim::ConnectFields fields;
  fields.client_id = id;
  fields.level = level;
  const sim::Buffer bytes = sim::encode_connect(fields);
  const SentFrames sent = b.send(client, client.segment(kAck | kPsh, bytes));
  client.nxt += static_cast<uint32_t>(bytes.size());
  assert_int_equal(sent.size(), 1);
  if (sent[0].port == kBrokers) return {};
  assert_int_equal(sent[0].segment.flags, kAck | kPsh | kFin);
  const auto payload = sent[0].segment.payload;
  return {payload.begin(), payload.end()};
}

// Three in a minute; the fourth is told why, in its version. Others, and who says no ID, are not
// meant.
void test_client_id_rate(void** /*state*/) {
  const struct {
    sim::Level level;
    sim::Buffer connack;
  } table[] = {{3, {0x20, 2, 0, 3}}, {4, {0x20, 2, 0, 3}}, {5, {0x20, 3, 0, 0x9f, 0}}};
  for (const auto& row : table) {
    Setup setup = default_setup(720);
    limits(setup).client_id_connects = 3;
    Bench& b = new_bench(setup);
    uint16_t port = 4000;
    const auto answer = [&](const std::string& id) {
      RawEnd client = raw_client(port++);
      const sim::Buffer bytes = connect(b, client, id, row.level);
      b.send(client, client.segment(kRst));
      return bytes;
    };
    for (int i = 0; i < 3; ++i) assert_true(answer("device").empty());
    assert_true(answer("device") == row.connack);
    for (int i = 0; i < 3; ++i) assert_true(answer("other").empty());
    for (int i = 0; i < 9 && row.level > 3; ++i) assert_true(answer("").empty());
    assert_true(answer("device") == row.connack);
    b.pass(20100ms);
    assert_true(answer("device").empty());
    assert_true(answer("device") == row.connack);
    assert_int_equal(b.count(Event::connack_unavailable), 3);
    assert_int_equal(counters(b).over_client_id_rate.value(), 3);
    assert_int_equal(counters(b).refused.value(), 3);
    b.pass(10s);
    assert_int_equal(b.count(End::client_id_rate), 3);
    const auto rows = rows_of(b, &engine::Worker::client_ids);
    assert_int_equal(rows.size(), 2);
    assert_string_equal(rows[0].client_id.c_str(), "device");
    assert_int_equal(rows[0].refused, 3);
    assert_int_equal(rows[0].connects, 7);
    assert_int_equal(rows[0].switches, 0);
    assert_string_equal(rows[1].client_id.c_str(), "other");
  }
}

// Where others fill the part of the table that an ID belongs to, it is let in, and that is counted.
void test_client_id_without_room(void** /*state*/) {
  Setup setup = default_setup(725);
  limits(setup).client_id_connects = 3;
  Bench& b = new_bench(setup);
  engine::Gates& gates = b.engine().shared().gates;
  const std::string id = "late";
  const uint64_t hash = maglev::hash_key(base::as_bytes(id), setup.model.pools[0].hash_seed);
  const uint64_t own = gates.client_id(0, hash);
  const admission::Rate& rate = b.engine().snapshot().listeners[0].admission.client_id_rate;
  for (uint64_t other = 1; other <= 8; ++other) {
    assert_true(gates.count(own ^ other, rate, b.now()) == admission::Verdict::counted);
  }
  uint16_t port = 4000;
  for (int i = 0; i < 5; ++i) {
    RawEnd client = raw_client(port++);
    assert_true(connect(b, client, id, 4).empty());
    b.send(client, client.segment(kRst));
  }
  assert_int_equal(b.count(Event::client_id_uncounted), 5);
  assert_int_equal(counters(b).over_client_id_rate.value(), 0);
}

// Two devices with one ID, among many that connect once: found with any number of workers.
void test_a_fight_is_named(void** /*state*/) {
  using config::CoreRole;
  for (const std::vector<CoreRole>& cores :
       {std::vector{CoreRole::both}, std::vector{CoreRole::both, CoreRole::worker}}) {
    Setup setup = default_setup(730);
    setup.options.cores = cores;
    setup.model.settings.max_flows = 40'000;
    Bench& b = new_bench(setup);
    uint16_t port = 2000;
    for (int round = 0; round < 20; ++round) {
      for (unsigned host = 0; host < 2; ++host) {
        RawEnd client = raw_client(port++, host);
        assert_true(connect(b, client, "twin", 4).empty());
        for (int i = 0; i < 250; ++i) {
          RawEnd once = raw_client(port++, 2);
          assert_true(connect(b, once, "once-" + std::to_string(port), 4).empty());
          b.send(once, once.segment(kRst));
        }
        b.pass(500ms);
      }
    }
    const auto rows = rows_of(b, &engine::Worker::client_ids);
    assert_int_equal(rows.size(), 1);
    assert_true(rows[0].is_fight());
    assert_string_equal(rows[0].client_id.c_str(), "twin");
    assert_in_range(rows[0].connects, 36, 42);  // about
    assert_int_equal(rows[0].switches, 39);
    assert_int_equal(rows[0].sources.size(), 2);
    assert_true(rows[0].sources[0] != rows[0].sources[1]);
    // Two connects of one second are of the same age to two workers.
    assert_true(rows[0].sources[0] == client_address(1) || cores.size() > 1);
    assert_int_equal(b.count(Event::client_id_contested), 37);
  }
}

// ---- Backends

// One place at each; who comes then is told so, in its version.
void test_full_backends(void** /*state*/) {
  const struct {
    sim::Level level;
    sim::Buffer connack;
  } table[] = {{3, {0x20, 2, 0, 3}}, {4, {0x20, 2, 0, 3}}, {5, {0x20, 3, 0, 0x89, 0}}};
  for (const auto& row : table) {
    Setup setup = default_setup(740);
    std::vector<config::Backend>& backends = setup.model.pools[0].backends;
    for (config::Backend& backend : backends) backend.max_connections = 1;
    Bench& b = new_bench(setup);
    uint16_t port = 4000;
    const auto answer = [&](const std::string& id) {
      RawEnd client = raw_client(port++);
      const sim::Buffer bytes = connect(b, client, id, row.level);
      if (!bytes.empty()) b.send(client, client.segment(kRst));
      return bytes;
    };
    for (size_t i = 0; i < backends.size(); ++i) {
      assert_true(answer("device-" + std::to_string(i)).empty());
    }
    assert_true(answer("late") == row.connack);
    for (config::BackendId id = 0; id < backends.size(); ++id) {
      b.engine().shared().status.set(id, {engine::Availability::maintenance, 0, 0});
    }
    assert_true(answer("later") == sim::encode_unavailable(row.level));
    b.pass(500ms);  // before those that wait for brokers are given up
    assert_int_equal(b.count(End::backends_full), 1);
    assert_int_equal(b.count(End::no_backend), 1);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_who_is_refused_is_named), BENCH_TEST(test_client_id_rate),
      BENCH_TEST(test_client_id_without_room),  BENCH_TEST(test_a_fight_is_named),
      BENCH_TEST(test_full_backends),
  };
  return cmocka_run_group_tests_name("refusals", tests, nullptr, nullptr);
}
