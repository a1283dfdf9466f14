// Several cores: ports that hand each frame to any of them, ports whose RSS is known, and ports
// that do otherwise than their RSS says.
#include <algorithm>

#include "lib/wire/packet.hh"
#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"
#include "tests/engine/icmp_frames.hh"

namespace mqlb::tests {
namespace {

using config::CoreRole;

struct Cores {
  std::string name;
  std::vector<CoreRole> roles;
};

Cores split(size_t workers, size_t proxies) {
  Cores row{std::to_string(workers) + " workers, " + std::to_string(proxies) + " proxies", {}};
  row.roles.assign(workers, CoreRole::worker);
  row.roles.insert(row.roles.end(), proxies, CoreRole::proxy);
  return row;
}

bool has_role(CoreRole core, CoreRole role) { return core == role || core == CoreRole::both; }

uint64_t count(EngineWorld& w, size_t core, base::Event e) {
  return w.engine().core(core).counters().events[static_cast<size_t>(e)].value();
}

Setup setup_of(const Cores& row, uint64_t seed) {
  print_message("  %s\n", row.name.c_str());
  Setup setup = default_setup(seed);
  setup.options.cores = row.roles;
  setup.client_link = lossy(0.03);
  setup.broker_link = lossy(0.03);
  setup.broker_plan = linux_like;
  return setup;
}

// All went well, on all cores.
void expect_shared_work(EngineWorld& w, const Cores& row, size_t connections) {
  expect_all_well(w, connections);
  uint64_t in = 0;
  const auto members = [&row](CoreRole role) {
    return static_cast<size_t>(
        std::count_if(row.roles.begin(), row.roles.end(),
                      [role](CoreRole core) { return has_role(core, role); }));
  };
  for (size_t i = 0; i < row.roles.size(); ++i) {
    in += count(w, i, base::Event::frames_in) - count(w, i, base::Event::frames_handed_over);
    // Each core with a role does its share of it.
    if (has_role(row.roles[i], CoreRole::worker)) {
      assert_true(count(w, i, base::Event::cookie_accepted) >
                  connections / members(CoreRole::worker) / 3);
    }
    if (has_role(row.roles[i], CoreRole::proxy)) {
      assert_true(count(w, i, base::Event::broker_syn) >
                  connections / members(CoreRole::proxy) / 3);
    }
  }
  // What is handed over comes in twice.
  assert_int_equal(in, w.world().dut_counters().frames_in);
  assert_int_equal(w.engine().count(base::Event::messages_lost), 0);
}

void test_any_core_may_get_a_frame(void** /*state*/) {
  std::vector<Cores> table{
      {"four of both", {CoreRole::both, CoreRole::both, CoreRole::both, CoreRole::both}},
      {"three workers, one of both",
       {CoreRole::worker, CoreRole::worker, CoreRole::both, CoreRole::worker}},
  };
  for (size_t workers = 1; workers <= 3; ++workers) {
    for (size_t proxies = 1; proxies <= 3; ++proxies) table.push_back(split(workers, proxies));
  }
  const size_t connections = connections_or(800);
  uint64_t seed = 400;
  for (const Cores& row : table) {
    EngineWorld& w = run_many(setup_of(row, ++seed), connections, 3ms);
    expect_shared_work(w, row, connections);
    for (size_t i = 0; i < row.roles.size(); ++i) {
      assert_true(count(w, i, base::Event::frames_handed_over) > 0);
    }
  }
}

// Steering over the cores with a role, as a port with a table of 128 entries would be programmed.
flow::Steering steering(const Cores& row, CoreRole role, uint8_t key_begin) {
  std::array<uint8_t, flow::Toeplitz::kKeyBytes> key{key_begin, 0x5a, 0x56, 0xda, 0x25, 0x5b,
                                                     0x0e,      0xc2, 0x41, 0x67, 0x25, 0x3d,
                                                     0x43,      0xa3, 0x8f, 0xb0};
  std::vector<flow::CoreIndex> members;
  for (size_t i = 0; i < row.roles.size(); ++i) {
    if (has_role(row.roles[i], role)) members.push_back(static_cast<flow::CoreIndex>(i));
  }
  std::vector<flow::CoreIndex> table(128);
  for (size_t i = 0; i < table.size(); ++i) table[i] = members[i % members.size()];
  return {flow::Toeplitz(key), table};
}

// What a card does with IPv6 is not foretold, and errors are made of IPv4 here.
void need_ipv4() {
  if (families().clients_v6 || families().brokers_v6) skip();
}

struct Honest {
  bool clients = true, brokers = true;
};

// Ports with RSS. One that is not honest brings each frame to the core after the right one.
Setup with_rss(const Cores& row, uint64_t seed, Honest honest) {
  Setup setup = setup_of(row, seed);
  setup.options.from_clients = steering(row, CoreRole::worker, 0x6d);
  setup.options.from_brokers = steering(row, CoreRole::proxy, 0x3b);
  setup.spread = [options = setup.options, honest](unsigned port, base::Bytes bytes) -> size_t {
    std::vector<uint8_t> copy(bytes.begin(), bytes.end());
    wire::Packet packet;
    const bool client_side = port == kClients;
    const auto refused =
        wire::parse_packet(copy, {kPortMacs[port], 1500}, wire::HardwareChecksum::good, packet);
    if (refused || packet.kind != wire::PacketKind::tcp) return 0;
    const flow::Steering& known = client_side ? options.from_clients : options.from_brokers;
    const size_t core = known.core_for({packet.source(), packet.tcp().source_port()},
                                       {packet.destination(), packet.tcp().destination_port()});
    return (client_side ? honest.clients : honest.brokers) ? core : core + 1;
  };
  return setup;
}

uint64_t missteered(engine::LocalEngine& engine, config::PortId port) {
  uint64_t n = 0;
  for (size_t i = 0; i < engine.core_count(); ++i) n += engine.core(i).missteered(port);
  return n;
}
uint64_t missteered(EngineWorld& w, config::PortId port) { return missteered(w.engine(), port); }

std::vector<Cores> rss_table() {
  return {{"three of both", {CoreRole::both, CoreRole::both, CoreRole::both}},
          {"worker, both, proxy", {CoreRole::worker, CoreRole::both, CoreRole::proxy}},
          split(2, 2),
          split(1, 3),
          split(3, 2)};
}

// Every frame comes to its owner, in both directions.
void test_known_rss_needs_no_hand_over(void** /*state*/) {
  need_ipv4();
  const size_t connections = connections_or(800);
  uint64_t seed = 530;
  for (const Cores& row : rss_table()) {
    EngineWorld& w = run_many(with_rss(row, ++seed, {}), connections, 3ms);
    expect_shared_work(w, row, connections);
    assert_int_equal(w.engine().count(base::Event::frames_handed_over), 0);
    for (const unsigned port : {kClients, kBrokers}) {
      assert_int_equal(missteered(w, static_cast<config::PortId>(port)), 0);
    }
  }
}

// A port that does otherwise costs hand-overs and is found out; connections do not suffer.
void test_wrong_rss_is_found_out(void** /*state*/) {
  need_ipv4();
  const size_t connections = connections_or(400);
  uint64_t seed = 600;
  for (const Cores& row : rss_table()) {
    for (const Honest honest : {Honest{false, true}, Honest{true, false}, Honest{false, false}}) {
      EngineWorld& w = run_many(with_rss(row, ++seed, honest), connections, 3ms);
      expect_shared_work(w, row, connections);
      assert_int_equal(missteered(w, kClients) > 1000, !honest.clients);
      assert_int_equal(missteered(w, kBrokers) > 1000, !honest.brokers);
      if (honest.clients) assert_int_equal(missteered(w, kClients), 0);
      if (honest.brokers) assert_int_equal(missteered(w, kBrokers), 0);
      assert_true(w.engine().count(base::Event::frames_handed_over) >=
                  missteered(w, kClients) + missteered(w, kBrokers));
    }
  }
}

// With few SNAT ports, those are used, too, whose packets come to another proxy: no capacity is
// lost, and that is not the port's fault.
void test_all_snat_ports_serve(void** /*state*/) {
  const Cores row = split(1, 3);
  Setup setup = with_rss(row, 700, {});
  setup.model.snat_pools[0].first_port = 2000;
  setup.model.snat_pools[0].last_port = 2299;  // 200 for each proxy and broker, 67 preferred
  constexpr size_t connections = 1000;
  EngineWorld& w = run_many(setup, connections, 1ms);
  expect_shared_work(w, row, connections);
  assert_true(w.engine().count(base::Event::frames_handed_over) > 0);
  assert_int_equal(missteered(w, kClients) + missteered(w, kBrokers), 0);
}

// What is sent to a SNAT address from the clients' side goes another way than a broker's packets,
// and says nothing of the port.
void test_clients_cannot_blame_a_port(void** /*state*/) {
  need_ipv4();
  const struct {
    unsigned port;
    bool to_listener;
    bool counts;
  } rows[] = {{kClients, true, true},
              {kClients, false, false},
              {kBrokers, true, false},
              {kBrokers, false, true}};
  for (const auto& row : rows) {
    Setup setup = with_rss(split(3, 3), 800, {});
    setup.spread = [](unsigned, base::Bytes) -> size_t { return 0; };
    Bench& bench = new_bench(setup);
    for (uint16_t port = 2000; port < 2050; ++port) {
      RawEnd end = raw_client(port);
      end.port = row.port;
      if (!row.to_listener) end.remote = {snat_address(0), port};
      bench.send(end, end.segment(wire::kAck));
    }
    assert_true(bench.count(base::Event::frames_handed_over) > 20);
    assert_int_equal(missteered(bench.engine(), static_cast<config::PortId>(row.port)) > 20,
                     row.counts);
    if (!row.counts) {
      assert_int_equal(missteered(bench.engine(), static_cast<config::PortId>(row.port)), 0);
    }
  }
}

// An ICMP error comes wherever it comes; the packet that it quotes names the owner.
void test_errors_find_the_owner(void** /*state*/) {
  need_ipv4();
  Bench& bench = new_bench(with_rss(split(3, 3), 900, {}));
  const wire::IpAddress router = wire::IpAddress::v4(0xc6130001);
  constexpr uint16_t kFlows = 30;
  for (uint16_t i = 0; i < kFlows; ++i) {
    RawEnd client = raw_client(static_cast<uint16_t>(4000 + i));
    RawEnd broker;
    assert_true(bench.splice(client, broker, "device-" + std::to_string(i)));
    const uint8_t payload[] = {1, 2, 3};
    for (const RawEnd& end : {client, broker}) {
      const SentFrames about = bench.send(end, end.segment(wire::kAck | wire::kPsh, payload));
      assert_int_equal(about.size(), 1);
      const unsigned port = about[0].port;
      const SentFrames error =
          bench.frame(port, fragmentation_needed(port, router, about[0], 28, 1400));
      assert_int_equal(error.size(), 1);
      assert_int_equal(error[0].port, end.port);
    }
  }
  assert_int_equal(bench.count(base::Event::icmp_translated), 2 * kFlows);
  // Those only: one core in six has the flow that it gets an error about.
  assert_in_range(bench.count(base::Event::frames_handed_over), kFlows, 2 * kFlows - 1);
  assert_int_equal(missteered(bench.engine(), kClients), 0);
  assert_int_equal(missteered(bench.engine(), kBrokers), 0);
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      ENGINE_TEST(test_any_core_may_get_a_frame),   ENGINE_TEST(test_known_rss_needs_no_hand_over),
      ENGINE_TEST(test_wrong_rss_is_found_out),     ENGINE_TEST(test_all_snat_ports_serve),
      BENCH_TEST(test_clients_cannot_blame_a_port), BENCH_TEST(test_errors_find_the_owner),
  };
  return cmocka_run_group_tests_name("cores", tests, nullptr, nullptr);
}
