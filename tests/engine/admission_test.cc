// Whom listeners let in: limits and lists.
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

struct Limit {
  const char* name;  // the drop that counts who is over it
  void (*set)(config::Admission&);
  bool other_host_too;  // it is the listener's, not a source's
  bool passes;          // with time
};

const Limit kLimits[] = {
    {"listener-full", [](config::Admission& a) { a.max_connections = 2; }, true, false},
    {"listener-rate",
     [](config::Admission& a) {
       a.connect_rate = {2, 0};
     },
     true, true},
    {"source-full", [](config::Admission& a) { a.source_connections = 2; }, false, false},
    {"source-rate",
     [](config::Admission& a) {
       a.source_rate = {1, 2};
     },
     false, true},
};

// Two may come. The third gets nothing, or a RST, for its SYN.
void test_limits_hold_at_the_syn(void** /*state*/) {
  for (const Limit& row : kLimits) {
    for (const Refusal refuse : {Refusal::silent, Refusal::reset}) {
      print_message("  %s, %s\n", row.name, std::string(to_string(refuse)).c_str());
      Setup setup = default_setup(600);
      row.set(limits(setup));
      limits(setup).refuse = refuse;
      Bench& b = new_bench(setup);
      RawEnd clients[2] = {raw_client(4000), raw_client(4001)};
      for (RawEnd& client : clients) assert_true(b.handshake(client));
      b.new_drops();
      RawEnd third = raw_client(4002);
      const SentFrames answer = b.send(third, third.segment(kSyn));
      assert_int_equal(answer.size(), refuse == Refusal::reset ? 1 : 0);
      if (refuse == Refusal::reset) {
        assert_int_equal(answer[0].segment.flags, kRst | kAck);
        assert_int_equal(answer[0].segment.ack.raw(), third.nxt.raw() + 1);
      }
      assert_true(b.new_drops() == std::vector<std::string>{row.name});
      assert_int_equal(turned_away(counters(b)), 1);
      RawEnd other = raw_client(4000, 1);
      assert_int_equal(b.handshake(other), !row.other_host_too);
      b.pass(1100ms);
      assert_int_equal(b.handshake(third), row.passes);
      // The ones before go on.
      RawEnd broker = b.ask_broker(clients[0], "device");
      assert_int_equal(broker.port, kBrokers);
      assert_true(b.accept(broker, clients[0]));
      assert_int_equal(b.send(clients[0], clients[0].segment(kRst)).size(), 1);
      RawEnd next = raw_client(4003);
      if (!row.passes) assert_true(b.handshake(next));
      b.pass(30s);
      expect_nothing_counted(b);
    }
  }
}

// SYNs are answered while there is room; the third that proves itself finds none.
void test_limits_hold_at_the_cookie(void** /*state*/) {
  for (const Limit& row : kLimits) {
    for (const Refusal refuse : {Refusal::silent, Refusal::reset}) {
      print_message("  %s, %s\n", row.name, std::string(to_string(refuse)).c_str());
      Setup setup = default_setup(610);
      row.set(limits(setup));
      limits(setup).refuse = refuse;
      Bench& b = new_bench(setup);
      std::vector<RawEnd> clients;
      for (uint16_t i = 0; i < 3; ++i) {
        RawEnd client = raw_client(static_cast<uint16_t>(4000 + i));
        const SentFrames answer = b.send(client, client.segment(kSyn));
        assert_int_equal(answer.size(), 1);
        client.nxt += 1;
        client.peer = answer[0].segment.seq + 1U;
        clients.push_back(client);
      }
      for (size_t i = 0; i < 2; ++i) b.send(clients[i], clients[i].segment(kAck));
      assert_int_equal(b.count(Event::cookie_accepted), 2);
      b.new_drops();
      const SentFrames answer = b.send(clients[2], clients[2].segment(kAck));
      assert_true(b.new_drops() == std::vector<std::string>{row.name});
      assert_int_equal(answer.size(), refuse == Refusal::reset ? 1 : 0);
      if (refuse == Refusal::reset) {
        assert_int_equal(answer[0].segment.flags, kRst);
        assert_int_equal(answer[0].segment.seq.raw(), clients[2].peer.raw());
      }
      assert_int_equal(b.dut().counted_connections(), 2);
      assert_int_equal(b.dut().flows(), 2);
      // A client that heard nothing sends its CONNECT again and again: it is let in when it may.
      b.pass(1100ms);
      const RawEnd broker = b.ask_broker(clients[2], "device");
      assert_int_equal(broker.port == kBrokers, row.passes);
      b.pass(60s);
      expect_nothing_counted(b);
    }
  }
}

// What a client that was turned away sends long after its SYN may be of a connection that it has
// given up, and would take over the session of its next one.
void test_who_may_have_given_up(void** /*state*/) {
  for (const bool limited : {false, true}) {
    for (const auto late : {4s, 6s}) {
      Setup setup = default_setup(615);
      if (limited) limits(setup).connect_rate = {1000, 1000};
      Bench& b = new_bench(setup);
      RawEnd client = raw_client(4000);
      client.timestamps = true;
      const SentFrames answer = b.send(client, client.segment(kSyn));
      assert_int_equal(answer.size(), 1);
      client.nxt += 1;
      client.peer = answer[0].segment.seq + 1U;
      client.tsecr = answer[0].segment.timestamps->value;
      b.pass(late);
      const SentFrames sent = b.send(client, client.segment(kAck));
      const bool stale = limited && late > 5s;
      assert_int_equal(b.count(Event::cookie_accepted), stale ? 0 : 1);
      assert_int_equal(b.count(Drop::handshake_stale), stale ? 1 : 0);
      assert_int_equal(sent.size(), stale ? 1 : 0);
      if (stale) assert_true(sent[0].segment.flags == kRst && sent[0].segment.seq == client.peer);
    }
  }
}

// However many SYNs come in a source's name, it may come itself.
void test_forged_syns_take_nothing(void** /*state*/) {
  Setup setup = default_setup(620);
  limits(setup).max_connections = 1;
  limits(setup).connect_rate = {1, 1};
  limits(setup).source_connections = 1;
  limits(setup).source_rate = {1, 1};
  Bench& b = new_bench(setup);
  for (uint16_t i = 0; i < 5000; ++i) {
    const RawEnd forged = raw_client(static_cast<uint16_t>(10000 + i));
    assert_int_equal(b.send(forged, forged.segment(kSyn)).size(), 1);
    RawEnd guess = forged;
    guess.peer = base::Seq32(i * 2654435761U);
    b.send(guess, guess.segment(kAck));
  }
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  assert_int_equal(b.dut().counted_connections(), 1);
  assert_int_equal(turned_away(counters(b)), 0);
}

// Over one limit, a client uses nothing up of another.
void test_a_refusal_takes_nothing_else(void** /*state*/) {
  Setup setup = default_setup(630);
  limits(setup).connect_rate = {1, 3};
  limits(setup).source_connections = 1;
  Bench& b = new_bench(setup);
  RawEnd first = raw_client(4000);
  assert_true(b.handshake(first));
  // Answered before the source was full, so only the cookie's ACK can be refused.
  for (int i = 0; i < 20; ++i) {
    RawEnd again = raw_client(static_cast<uint16_t>(4100 + i));
    assert_false(b.handshake(again));
  }
  for (unsigned host = 1; host < 3; ++host) {
    RawEnd other = raw_client(4000, host);
    assert_true(b.handshake(other));
  }
  assert_int_equal(b.count(Drop::source_full), 20);
  assert_int_equal(b.count(Drop::listener_rate), 0);
}

// One source at 10,000 connects a second gets its 100, and 100 at once before; all connects of a
// hundred others, which each come twice a second, reach their brokers.
void test_a_flood_from_one_source(void** /*state*/) {
  constexpr unsigned kOthers = 100;
  constexpr unsigned kSeconds = 3;
  Setup setup = default_setup(635);
  limits(setup).source_rate = {100, 0};
  Bench& b = new_bench(setup);
  RawEnd broker;
  unsigned flooded = 0;
  unsigned served = 0;
  for (unsigned ms = 0; ms < 1000 * kSeconds; ++ms) {
    for (unsigned i = 0; i < 10; ++i) {
      RawEnd client = raw_client(static_cast<uint16_t>(2000 + 10 * ms + i));
      if (b.send(client, client.segment(kSyn)).empty()) continue;
      assert_true(b.splice(client, broker, "flood"));
      assert_int_equal(b.send(client, client.segment(kRst)).size(), 1);
      ++flooded;
    }
    if (ms % (500 / kOthers) == 0) {
      RawEnd client =
          raw_client(static_cast<uint16_t>(4000 + served / kOthers), 1 + served % kOthers);
      assert_true(b.splice(client, broker, "device-" + std::to_string(served)));
      assert_true(b.answer(broker, client));
      ++served;
    }
    b.pass(1ms);
  }
  print_message("  of 10,000 a second %u in %u seconds; of the others' %u all\n", flooded, kSeconds,
                served);
  assert_int_equal(served, 2 * kOthers * kSeconds);
  assert_in_range(flooded, 100 * kSeconds + 98, 100 * kSeconds + 101);
  assert_int_equal(b.count(Drop::source_rate), 10'000 * kSeconds - flooded);
  assert_int_equal(b.dut().counted_connections(), served);
}

struct Lists {
  const char* name;
  std::vector<const char*> allow, deny;
  bool host0, host1;  // 198.18.0.20 and .21 are let in
};

void test_lists(void** /*state*/) {
  const Lists table[] = {
      {"none", {}, {}, true, true},
      {"one denied", {}, {"198.18.0.20/32"}, false, true},
      {"one allowed", {"198.18.0.20/32"}, {}, true, false},
      {"both allowed", {"198.18.0.20/31"}, {}, true, true},
      {"denied among the allowed", {"198.18.0.0/16"}, {"198.18.0.21/32"}, true, false},
      {"others denied", {}, {"198.18.0.22/31", "198.19.0.0/16"}, true, true},
      {"the other family allowed", {"::/0"}, {}, false, false},
      {"all denied", {}, {"0.0.0.0/0"}, false, false},
  };
  for (const Lists& row : table) {
    print_message("  %s\n", row.name);
    Setup setup = default_setup(640);
    for (const char* p : row.allow) limits(setup).allow.push_back(network(p));
    for (const char* p : row.deny) limits(setup).deny.push_back(network(p));
    Bench& b = new_bench(setup);
    RawEnd clients[2] = {raw_client(4000, 0), raw_client(4000, 1)};
    assert_int_equal(b.handshake(clients[0]), row.host0);
    assert_int_equal(b.handshake(clients[1]), row.host1);
    const uint64_t refused = (row.host0 ? 0U : 1U) + (row.host1 ? 0U : 1U);
    assert_int_equal(b.count(Drop::source_denied), refused);
    assert_int_equal(counters(b).denied.value(), refused);
    assert_int_equal(b.count(Event::syn_answered), 2 - refused);
  }
}

// A list that comes between SYN and ACK decides; connections that are there go on.
void test_lists_change_live(void** /*state*/) {
  Setup setup = default_setup(650);
  Bench& b = new_bench(setup);
  RawEnd old = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(old, broker, "device"));
  RawEnd fresh = raw_client(4001);
  const SentFrames answer = b.send(fresh, fresh.segment(kSyn));
  assert_int_equal(answer.size(), 1);
  fresh.nxt += 1;
  fresh.peer = answer[0].segment.seq + 1U;
  limits(setup).deny = {network("198.18.0.20/32")};
  b.dut().reconfigure(setup.model, b.now());
  assert_int_equal(b.send(fresh, fresh.segment(kAck)).size(), 0);
  assert_int_equal(b.count(Drop::source_denied), 1);
  assert_int_equal(b.dut().counted_connections(), 1);
  assert_int_equal(b.send(old, old.segment(kAck | kPsh, sim::encode_empty(12))).size(), 1);
  limits(setup).deny.clear();
  b.dut().reconfigure(setup.model, b.now());
  b.send(fresh, fresh.segment(kAck));
  assert_int_equal(b.dut().counted_connections(), 2);
}

// A limit that is set counts the connections of the listener that were there; sources are counted
// from then on, anew for each length of prefix, and every flow gives back what it took.
void test_limits_change_live(void** /*state*/) {
  Setup setup = default_setup(660);
  Bench& b = new_bench(setup);
  const auto change = [&](const std::function<void(config::Admission&)>& set) {
    set(limits(setup));
    b.dut().reconfigure(setup.model, b.now());
  };
  std::vector<RawEnd> clients;
  const auto comes = [&](unsigned host = 0) {
    RawEnd client = raw_client(static_cast<uint16_t>(4000 + clients.size()), host);
    const uint64_t before = b.count(Event::cookie_accepted);
    (void)b.handshake(client);
    const bool in = b.count(Event::cookie_accepted) > before;
    if (in) clients.push_back(client);
    return in;
  };
  assert_true(comes() && comes());
  change([](config::Admission& a) { a.max_connections = 2; });
  assert_false(comes());
  change([](config::Admission& a) { a.max_connections = 3; });
  assert_true(comes());
  assert_false(comes());
  change([](config::Admission& a) {
    a.max_connections = 0;
    a.source_connections = 1;
  });
  assert_true(comes());
  assert_false(comes());
  assert_int_equal(counted_for(b, 0), 1);
  change([](config::Admission& a) {  // hosts 0 to 3 are one source
    a.source_v4_bits = 30;
    a.source_v6_bits = 126;
  });
  assert_true(comes(1));
  assert_false(comes(0) || comes(2));
  assert_int_equal(counted_for(b, 0, 30), 1);
  change([](config::Admission& a) {
    a.source_v4_bits = 32;
    a.source_v6_bits = 128;
  });
  assert_false(comes(0));
  assert_true(comes(1));
  for (const RawEnd& client : clients) b.send(client, client.segment(kRst));
  assert_int_equal(counted_for(b, 0) + counted_for(b, 1) + counted_for(b, 0, 30), 0);
  expect_nothing_counted(b);
  // A rate that had been used up far into the future does not outlive its change.
  change([](config::Admission& a) {
    a.source_connections = 0;
    a.source_rate = {1, 1000};
  });
  for (int i = 0; i < 1000; ++i) assert_true(comes());
  assert_false(comes());
  change([](config::Admission& a) { a.source_rate = {10, 1}; });
  assert_false(comes());
  b.pass(110ms);
  assert_true(comes());
  change([](config::Admission& a) { a.source_rate = {}; });
  for (int i = 0; i < 100; ++i) assert_true(comes());
}

// A client that lost its power comes back on the same port, where its old connection is all that it
// may have.
void test_one_that_replaces_is_let_in(void** /*state*/) {
  Setup setup = default_setup(670);
  limits(setup).max_connections = 1;
  limits(setup).source_connections = 1;
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  for (uint32_t i = 1; i <= 5; ++i) {
    RawEnd again = raw_client(4000);
    again.nxt = base::Seq32(i * 500'000'000U);
    assert_true(b.splice(again, broker, "device"));
    assert_int_equal(b.count(End::replaced), i);
    assert_int_equal(b.dut().counted_connections(), 1);
    assert_int_equal(counted_for(b, 0), 1);
  }
}

// A RST that an end does not take gives nothing away: the connection counts again.
void test_a_reset_not_taken(void** /*state*/) {
  Setup setup = default_setup(680);
  limits(setup).source_connections = 1;
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  assert_true(b.answer(broker, client));
  sim::Segment near = broker.segment(kRst);
  near.seq += 500;
  assert_int_equal(b.send(broker, near).size(), 1);
  assert_int_equal(b.dut().counted_connections(), 0);
  assert_int_equal(b.send(client, client.segment(kAck)).size(), 1);  // the challenge
  assert_int_equal(b.dut().counted_connections(), 1);
  assert_int_equal(counted_for(b, 0), 1);
  assert_int_equal(b.send(client, client.segment(kRst)).size(), 1);
  assert_int_equal(b.send(client, client.segment(kRst)).size(), 1);
  b.pass(15s);
  assert_int_equal(counted_for(b, 0), 0);
  expect_nothing_counted(b);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_limits_hold_at_the_syn),
      BENCH_TEST(test_limits_hold_at_the_cookie),
      BENCH_TEST(test_who_may_have_given_up),
      BENCH_TEST(test_forged_syns_take_nothing),
      BENCH_TEST(test_a_refusal_takes_nothing_else),
      BENCH_TEST(test_a_flood_from_one_source),
      BENCH_TEST(test_lists),
      BENCH_TEST(test_lists_change_live),
      BENCH_TEST(test_limits_change_live),
      BENCH_TEST(test_one_that_replaces_is_let_in),
      BENCH_TEST(test_a_reset_not_taken),
  };
  return cmocka_run_group_tests_name("admission", tests, nullptr, nullptr);
}
