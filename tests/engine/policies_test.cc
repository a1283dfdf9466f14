// Which backend a new client is offered to: every policy, and every state that passes one over.
#include <functional>
#include <set>

#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"

namespace mqlb::tests {
namespace {

using base::End;
using config::BackendId;
using config::KeyPolicy;
using engine::Availability;
using sim::kAck;
using sim::kPsh;
using sim::kRst;

constexpr unsigned kBackends = 5;
constexpr unsigned kNobody = 99;

struct Who {
  std::string client_id = "device";
  std::string user_name = "user";
  unsigned host = 0;
};

Setup setup_of(uint64_t seed, KeyPolicy key = KeyPolicy::client_id,
               KeyPolicy fallback = KeyPolicy::source_address) {
  Setup setup = default_setup(seed);
  setup.brokers = kBackends;
  config::Pool& pool = setup.model.pools[0];
  pool.key = key;
  pool.fallback = fallback;
  for (unsigned i = 3; i < kBackends; ++i) {
    pool.backends.push_back({"broker" + std::to_string(i + 1), broker_endpoint(i), 1});
  }
  return setup;
}

// Clients that come one by one, each from a port of its own, and wait for their broker.
class Clients {
 public:
  explicit Clients(Bench& bench) : bench_(bench) {}

  // The number of the broker that is asked for it.
  unsigned come(const Who& who) {
    RawEnd client = raw_client(port_++, who.host);
    assert_true(bench_.handshake(client));
    sim::ConnectFields fields;
    fields.client_id = who.client_id;
    fields.user_name = who.user_name;
    const sim::Buffer connect = sim::encode_connect(fields);
    const SentFrames sent = bench_.send(client, client.segment(kAck | kPsh, connect));
    client.nxt += static_cast<uint32_t>(connect.size());
    latest_ = client;
    assert_int_equal(sent.size(), 1);
    const RawEnd broker = Bench::asked_broker(sent[0]);
    return broker.port == kBrokers ? broker_at(broker.local.address) : kNobody;
  }
  unsigned come_and_leave(const Who& who) {
    const unsigned broker = come(who);
    bench_.send(latest_, latest_.segment(kRst));
    return broker;
  }

 private:
  Bench& bench_;
  uint16_t port_ = 4000;
  RawEnd latest_;
};

// What, of all that clients say, leads to another broker when it differs; of what they leave empty
// nothing is tried.
struct Policy {
  const char* name;
  KeyPolicy key;
  KeyPolicy fallback;
  Who who;
  bool by_client_id, by_user_name, by_host;
};

void test_what_policies_heed(void** /*state*/) {
  using enum KeyPolicy;
  const Who both, no_id{"", "user", 0}, no_user{"device", "", 0}, neither{"", "", 0};
  const Policy table[] = {
      {"Client ID", client_id, source_address, both, true, false, false},
      {"user name", user_name, source_address, both, false, true, false},
      {"source address", source_address, source_address, both, false, false, true},
      {"spread", spread, source_address, both, true, true, true},
      {"round robin", round_robin, source_address, both, true, true, true},
      {"least connections", least_connections, source_address, both, true, true, true},
      {"no Client ID: user name", client_id, user_name, no_id, true, true, false},
      {"no Client ID: source address", client_id, source_address, no_id, true, false, true},
      {"no Client ID: by turns", client_id, round_robin, no_id, true, true, true},
      {"no user name: Client ID", user_name, client_id, no_user, true, true, false},
      {"neither: source address", client_id, user_name, neither, true, true, true},
  };
  for (const Policy& row : table) {
    print_message("  %s\n", row.name);
    Bench& b = new_bench(setup_of(800, row.key, row.fallback));
    Clients clients(b);
    const auto met = [&](const std::function<void(Who&, unsigned)>& change) {
      std::set<unsigned> brokers;
      for (unsigned i = 0; i < 60; ++i) {
        Who who = row.who;
        change(who, i);
        brokers.insert(clients.come(who));
      }
      assert_false(brokers.contains(kNobody));
      return brokers.size();
    };
    if (!row.who.client_id.empty()) {
      const size_t n = met([](Who& who, unsigned i) { who.client_id = std::to_string(i); });
      assert_int_equal(n, row.by_client_id ? kBackends : 1);
    }
    if (!row.who.user_name.empty()) {
      const size_t n = met([](Who& who, unsigned i) { who.user_name = std::to_string(i); });
      assert_int_equal(n, row.by_user_name ? kBackends : 1);
    }
    const size_t n = met([](Who& who, unsigned i) { who.host = i; });
    assert_int_equal(n, row.by_host ? kBackends : 1);
  }
}

// Evenly, whether they are equal or not; or to the one that has fewer, until it has as many.
void test_turns_and_loads(void** /*state*/) {
  constexpr unsigned kFree = 3;
  for (const KeyPolicy key : {KeyPolicy::round_robin, KeyPolicy::least_connections}) {
    Bench& b = new_bench(setup_of(810, key));
    Clients clients(b);
    const auto met = [&] {
      std::set<unsigned> brokers;
      for (unsigned i = 0; i < kBackends; ++i) brokers.insert(clients.come({}));
      return brokers;
    };
    for (int round = 0; round < 4; ++round) assert_int_equal(met().size(), kBackends);
    for (BackendId id = 0; id < kBackends; ++id) {
      for (unsigned n = 0; n < kBackends && id != kFree; ++n) {
        assert_true(b.engine().shared().loads.try_add(id, 0));
      }
    }
    if (key == KeyPolicy::least_connections) assert_true(met() == std::set<unsigned>{kFree});
    assert_int_equal(met().size(), kBackends);
  }
}

struct State {
  const char* name;
  std::function<void(Bench&, config::Model&, BackendId)> set;
};

const State kStates[] = {
    {"down",
     [](Bench& b, config::Model&, BackendId id) {
       b.engine().shared().status.set(id, {Availability::down, 0, 0});
     }},
    {"maintenance",
     [](Bench& b, config::Model&, BackendId id) {
       b.engine().shared().status.set(id, {Availability::maintenance, 0, 0});
     }},
    {"drain",
     [](Bench& b, config::Model&, BackendId id) {
       b.engine().shared().status.set(id, {Availability::drain, 0, 0});
     }},
    {"slow start, at its beginning",
     [](Bench& b, config::Model&, BackendId id) {
       b.engine().shared().status.set(id, {Availability::up, 65535, 0});
     }},
    {"above its load",
     [](Bench& b, config::Model&, BackendId id) {
       b.engine().shared().status.set(id, {Availability::up, 0, 1});
       assert_true(b.engine().shared().loads.try_add(id, 0));
     }},
    {"max-connections",
     [](Bench& b, config::Model& m, BackendId id) {
       m.pools[0].backends[id].max_connections = 1;
       b.dut().reconfigure(m, b.now());
       assert_true(b.engine().shared().loads.try_add(id, 0));
     }},
    {"backup",
     [](Bench& b, config::Model& m, BackendId id) {
       m.pools[0].backends[id].backup = true;
       b.dut().reconfigure(m, b.now());
     }},
};

std::vector<unsigned> homes(Clients& clients) {
  std::vector<unsigned> all;
  for (unsigned i = 0; i < 300; ++i) {
    all.push_back(clients.come_and_leave({"device-" + std::to_string(i), "", i % 100}));
  }
  return all;
}

// Its clients go to all others, and nobody else moves.
void test_states_pass_clients_on(void** /*state*/) {
  constexpr unsigned kGone = 2;
  for (const State& row : kStates) {
    print_message("  %s\n", row.name);
    Setup setup = setup_of(820);
    Bench& b = new_bench(setup);
    Clients clients(b);
    const std::vector<unsigned> before = homes(clients);
    b.pass(100ms);
    row.set(b, setup.model, kGone);
    const std::vector<unsigned> after = homes(clients);
    std::set<unsigned> went;
    for (size_t i = 0; i < before.size(); ++i) {
      if (before[i] == kGone) {
        went.insert(after[i]);
      } else {
        assert_int_equal(after[i], before[i]);
      }
    }
    assert_int_equal(went.size(), kBackends - 1);
    assert_false(went.contains(kGone) || went.contains(kNobody));
  }
}

// When no other is left, those that may still be asked are, down to one that drains; one that is
// down, in maintenance or full never is.
void test_the_last_one(void** /*state*/) {
  constexpr unsigned kLast = 2;
  for (const State& row : kStates) {
    print_message("  %s\n", row.name);
    Setup setup = setup_of(830);
    Bench& b = new_bench(setup);
    Clients clients(b);
    row.set(b, setup.model, kLast);
    for (BackendId id = 0; id < kBackends; ++id) {
      if (id != kLast) b.engine().shared().status.set(id, {Availability::down, 0, 0});
    }
    const std::string name = row.name;
    const bool never = name == "down" || name == "maintenance" || name == "max-connections";
    assert_int_equal(clients.come_and_leave({}), never ? kNobody : kLast);
    b.pass(100ms);
    assert_int_equal(b.count(End::backends_full), name == "max-connections" ? 1 : 0);
    assert_int_equal(b.count(End::no_backend), never && name != "max-connections" ? 1 : 0);
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_what_policies_heed),
      BENCH_TEST(test_turns_and_loads),
      BENCH_TEST(test_states_pass_clients_on),
      BENCH_TEST(test_the_last_one),
  };
  return cmocka_run_group_tests_name("policies", tests, nullptr, nullptr);
}
