// Whole connections through the engine, over links that lose, repeat and reorder.
#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

void test_clean_links(void** /*state*/) {
  constexpr size_t kConnections = 300;
  expect_all_well(run_many(default_setup(1), kConnections, 5ms), kConnections);
}

void test_lossy_links(void** /*state*/) {
  Setup setup = default_setup(2);
  setup.client_link = lossy(0.03);
  setup.broker_link = lossy(0.03);
  setup.broker_plan = linux_like;
  const size_t connections = connections_or(10'000);
  expect_all_well(run_many(setup, connections, 3ms), connections);
}

// A client that hears nothing of its broker for long goes on echoing our own clock; so does a
// segment of then that comes only after a newer one. The broker must see nothing that it never
// sent.
void test_old_echoes(void** /*state*/) {
  for (const base::Duration silence : {10ms, 4000ms, 7000ms, 100'000ms}) {
    Bench& b = new_bench(default_setup(3));
    RawEnd client = raw_client(4000);
    client.timestamps = true;
    RawEnd broker;
    assert_true(b.handshake(client));
    b.pass(50ms);
    broker = b.ask_broker(client, "device");
    assert_true(broker.timestamps);
    broker.tsval = 777'000;
    assert_true(b.accept(broker, client));
    b.pass(silence);
    const sim::Segment overtaken = client.segment(sim::kAck);
    broker.tsval += static_cast<uint32_t>(silence.count() / 1000);
    const base::Bytes connack = base::as_bytes(std::string_view("\x20\x02\0\0", 4));
    const SentFrames heard = b.send(broker, broker.segment(sim::kAck | sim::kPsh, connack));
    assert_int_equal(heard.size(), 1);
    client.peer += 4;
    client.tsecr = heard[0].segment.timestamps->value;
    const auto echoed = [&](const sim::Segment& s) {
      const SentFrames sent = b.send(client, s);
      assert_int_equal(sent.size(), 1);
      return sent[0].segment.timestamps->echo;
    };
    assert_int_equal(echoed(client.segment(sim::kAck)), broker.tsval);
    assert_in_range(echoed(overtaken), 777'000, broker.tsval);
    // Long after, nothing is looked at any more, and all is as it was.
    b.pass(20s);
    assert_int_equal(echoed(client.segment(sim::kAck)), broker.tsval);
    assert_int_equal(echoed(client.segment(sim::kAck)), broker.tsval);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_clean_links),
      ENGINE_TEST(test_lossy_links),
      BENCH_TEST(test_old_echoes),
  };
  return cmocka_run_group_tests_name("splice", tests, nullptr, nullptr);
}
