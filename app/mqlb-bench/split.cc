// A worker and a proxy on a core each, beside one core with both roles.
//
// Packets: both cores of the split work at the same time, each on its direction, as they do behind
// two ports; the one core takes a burst of each direction in turn. Connections: the steps follow
// each other, so only one core works at a time, but messages and frames do go from CPU to CPU.
#include <rte_cycles.h>

#include <algorithm>
#include <array>

#include "app/mqlb-bench/cases.hh"
#include "app/mqlb-bench/fleet.hh"
#include "lib/base/random.hh"

namespace mqlb::bench {
namespace {

using Burst = std::array<engine::Frame, kBurst>;

constexpr size_t kFrame = 66;       // bytes
constexpr unsigned kBursts = 4000;  // of one run and direction
constexpr uint32_t kRoom = 8192;    // flows beyond the standing ones
constexpr size_t kClientId = 64;    // bytes, of connections
constexpr uint32_t kConnections = 1024;
constexpr std::chrono::seconds kReaped{5};  // closing timeout, and a sweep of the table

struct Standing {
  std::unique_ptr<Rig> rig;
  std::unique_ptr<Fleet> fleet;
};

base::Result<Standing> open_standing(uint32_t flows, bool split) {
  RigOptions options;
  options.max_flows = flows + kRoom;
  options.split = split;
  auto rig = Rig::create(options);
  if (!rig) return tl::unexpected(rig.error());
  Standing out{std::move(*rig), nullptr};
  FleetOptions fleet_options;
  fleet_options.flows = flows;
  out.fleet = std::make_unique<Fleet>(*out.rig, fleet_options);
  if (auto done = out.fleet->open_all(); !done) return tl::unexpected(done.error());
  return out;
}

// Clients speak on flows of even numbers, brokers on odd ones: so that both can be made at once.
Burst random_burst(Fleet& fleet, base::Random& random, bool to_broker) {
  Burst burst;
  for (engine::Frame& frame : burst) {
    const auto i = static_cast<uint32_t>(random.below(fleet.size() / 2)) * 2;
    frame = to_broker ? fleet.client_segment(i, kFrame) : fleet.broker_segment(i + 1, kFrame);
  }
  return burst;
}

// Cycles a packet, by direction. A split rig's are spent at the same time.
struct Packets {
  double to_broker = 0, to_client = 0;
};

uint64_t handle(Rig::Unit& unit, const Burst& burst) {
  const uint64_t begin = rte_rdtsc_precise();
  unit.core->receive(burst);
  unit.core->flush();
  return rte_rdtsc_precise() - begin;
}

Packets run_packets(Standing& standing, uint64_t seed) {
  Rig& rig = *standing.rig;
  Fleet& fleet = *standing.fleet;
  base::Random clients(seed);
  base::Random brokers(seed + 1);
  uint64_t there = 0;
  uint64_t back = 0;
  const auto to_broker = [&] {
    there += handle(rig.worker(), random_burst(fleet, clients, true));
  };
  const auto to_client = [&] {
    back += handle(rig.proxy(), random_burst(fleet, brokers, false));
  };
  if (rig.split()) {
    rig.other_lcore().start([&] {
      for (unsigned b = 0; b < kBursts; ++b) to_client();
    });
    for (unsigned b = 0; b < kBursts; ++b) to_broker();
    rig.other_lcore().wait();
  } else {
    for (unsigned b = 0; b < kBursts; ++b) {
      to_broker();
      to_client();
    }
  }
  const auto per_packet = [](uint64_t cycles) {
    return static_cast<double>(cycles) / kBursts / kBurst;
  };
  return {per_packet(there), per_packet(back)};
}

// Cycles a connection, by core.
struct Connection {
  double worker = 0, proxy = 0;
};

base::Result<Connection> run_connections(Standing& standing, uint32_t first) {
  Rig& rig = *standing.rig;
  FleetOptions options;
  options.flows = kConnections;
  options.client_id = kClientId;
  options.first = first;
  Fleet fleet(rig, options);
  rig.worker().spent = rig.proxy().spent = 0;
  fleet.open(0, fleet.size());
  fleet.talk_and_close(0, fleet.size());
  if (!fleet.failure().empty()) return base::fail(fleet.failure());
  rig.pass(kReaped);
  Connection out{static_cast<double>(rig.worker().spent), static_cast<double>(rig.proxy().spent)};
  // Without what time costs anyway.
  rig.worker().spent = rig.proxy().spent = 0;
  rig.pass(kReaped);
  out.worker = (out.worker - static_cast<double>(rig.worker().spent)) / kConnections;
  out.proxy = (out.proxy - static_cast<double>(rig.proxy().spent)) / kConnections;
  if (rig.core().worker()->flows().size() != standing.fleet->size()) {
    return base::fail("connections were not reaped");
  }
  return out;
}

struct Runs {
  std::vector<double> one_there, one_back, there, back, gain;
  std::vector<double> one_connection, worker, proxy, connection_gain;
};

base::Result<void> run_once(Standing& one, Standing& two, unsigned run, Runs& out) {
  const Packets packets = run_packets(one, run);
  const Packets apart = run_packets(two, run);
  out.one_there.push_back(packets.to_broker);
  out.one_back.push_back(packets.to_client);
  out.there.push_back(apart.to_broker);
  out.back.push_back(apart.to_client);
  out.gain.push_back((packets.to_broker + packets.to_client) /
                     std::max(apart.to_broker, apart.to_client));
  const uint32_t first = one.fleet->size() + run * kConnections;
  const auto connection = run_connections(one, first);
  if (!connection) return tl::unexpected(connection.error());
  const auto shared = run_connections(two, first);
  if (!shared) return tl::unexpected(shared.error());
  out.one_connection.push_back(connection->worker);
  out.worker.push_back(shared->worker);
  out.proxy.push_back(shared->proxy);
  out.connection_gain.push_back(connection->worker / std::max(shared->worker, shared->proxy));
  return {};
}

}  // namespace

base::Result<Figures> measure_split(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    auto one = open_standing(flows, false);
    if (!one) return tl::unexpected(one.error());
    auto two = open_standing(flows, true);
    if (!two) return tl::unexpected(two.error());
    Runs runs;
    for (unsigned run = 0; run < options.runs; ++run) {
      if (auto done = run_once(*one, *two, run, runs); !done) return tl::unexpected(done.error());
    }
    const auto add = [&](const char* what, const std::vector<double>& values, const char* unit) {
      out.push_back(figure(what, flows, values, unit));
    };
    add("packet to broker, one core", runs.one_there, "cycles");
    add("packet to client, one core", runs.one_back, "cycles");
    add("packet to broker, worker's core", runs.there, "cycles");
    add("packet to client, proxy's core", runs.back, "cycles");
    add("packets a second of both directions, to one core's", runs.gain, "ratio");
    add("connection, one core", runs.one_connection, "cycles");
    add("connection, worker's core", runs.worker, "cycles");
    add("connection, proxy's core", runs.proxy, "cycles");
    add("connections a second, to one core's", runs.connection_gain, "ratio");
  }
  return out;
}

}  // namespace mqlb::bench
