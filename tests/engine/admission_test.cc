// Whom listeners let in: limits, lists, Client IDs that come too often, and backends that are full.
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

// A network of clients, written as in IPv4; of one of all addresses, the same of the other family.
wire::Prefix network(const char* text) {
  const wire::Prefix p = prefix(text);
  if (!families().clients_v6) return p;
  if (p.length == 0) return prefix(p.address.is_v4() ? "::/0" : "0.0.0.0/0");
  return in_ipv6(p);
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

// ---- Sources that are refused

std::vector<admission::RefusedSources::Row> refused_sources(Bench& b) {
  std::vector<admission::RefusedSources::Row> rows;
  for (size_t i = 0; i < b.engine().core_count(); ++i) {
    engine::Core& core = b.engine().core(i);
    if (core.worker() == nullptr) continue;
    const admission::RefusedSources& refused = core.worker()->refused_sources();
    refused.list(0, refused.bucket_count(), base::to_seconds(b.now()), rows);
  }
  admission::RefusedSources::merge(rows);
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
    const auto rows = refused_sources(b);
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
    assert_int_equal(refused_sources(b).size(), 0);
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

std::vector<admission::ClientIdWatch::Row> watched(Bench& b) {
  std::vector<admission::ClientIdWatch::Row> rows;
  for (size_t i = 0; i < b.engine().core_count(); ++i) {
    engine::Core& core = b.engine().core(i);
    if (core.worker() == nullptr) continue;
    const admission::ClientIdWatch& watch = core.worker()->client_ids();
    watch.list(0, watch.bucket_count(), base::to_seconds(b.now()), rows);
  }
  admission::ClientIdWatch::merge(rows);
  return rows;
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
    const auto rows = watched(b);
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
    const auto rows = watched(b);
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
      BENCH_TEST(test_limits_hold_at_the_syn),
      BENCH_TEST(test_limits_hold_at_the_cookie),
      BENCH_TEST(test_forged_syns_take_nothing),
      BENCH_TEST(test_a_refusal_takes_nothing_else),
      BENCH_TEST(test_lists),
      BENCH_TEST(test_lists_change_live),
      BENCH_TEST(test_limits_change_live),
      BENCH_TEST(test_one_that_replaces_is_let_in),
      BENCH_TEST(test_a_reset_not_taken),
      BENCH_TEST(test_who_is_refused_is_named),
      BENCH_TEST(test_client_id_rate),
      BENCH_TEST(test_client_id_without_room),
      BENCH_TEST(test_a_fight_is_named),
      BENCH_TEST(test_full_backends),
  };
  return cmocka_run_group_tests_name("admission", tests, nullptr, nullptr);
}
