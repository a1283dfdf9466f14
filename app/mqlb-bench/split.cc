// One core with both roles against a worker core and a proxy core, in the same run.
#include <rte_lcore.h>

#include <algorithm>
#include <cstdio>

#include "app/mqlb-bench/cases.hh"
#include "app/mqlb-bench/fleet.hh"
#include "app/mqlb-bench/split_rig.hh"
#include "lib/base/random.hh"

namespace mqlb::bench {
namespace {

using engine::Frame;
using Fill = Balancer::Fill;
// What a packet or a connection costs each core.
using Cost = std::array<double, 2>;

constexpr auto kWorker = SplitRig::kWorker;
constexpr auto kProxy = SplitRig::kProxy;
constexpr size_t kSize = 66;
constexpr unsigned kBursts = 4000;          // of one run
constexpr std::chrono::seconds kReaped{5};  // closing timeout, and a sweep of the table
constexpr uint32_t kRoom = 8192;            // flows beyond the standing ones
constexpr uint32_t kConnections = 1024;     // of one run

// Both deployments with the same flows.
struct Pair {
  std::unique_ptr<Rig> one;
  std::unique_ptr<SplitRig> split;
  std::unique_ptr<Fleet> one_fleet;
  // The worker's thread plays the clients of the first, the proxy's the brokers of its copy.
  std::unique_ptr<Fleet> clients;
  std::unique_ptr<Fleet> brokers;
};

base::Result<Pair> open_pair(uint32_t flows) {
  Pair out;
  auto one = Rig::create({flows + kRoom, 3});
  if (!one) return tl::unexpected(one.error());
  auto split = SplitRig::create({flows + kRoom, 3});
  if (!split) return tl::unexpected(split.error());
  out.one = std::move(*one);
  out.split = std::move(*split);
  FleetOptions options;
  options.flows = flows;
  out.one_fleet = std::make_unique<Fleet>(*out.one, options);
  out.clients = std::make_unique<Fleet>(*out.split, options);
  for (Fleet* fleet : {out.one_fleet.get(), out.clients.get()}) {
    fleet->settle();
    if (!fleet->failure().empty()) return base::fail(fleet->failure());
  }
  out.brokers = std::make_unique<Fleet>(*out.clients);
  return out;
}

// Segments of random flows, from clients or from brokers.
Fill random_segments(Fleet& fleet, base::Random& random, bool to_broker) {
  return [&fleet, &random, to_broker](std::span<Frame> frames) {
    for (Frame& frame : frames) {
      const auto i = static_cast<uint32_t>(random.below(fleet.size()));
      frame = to_broker ? fleet.client_segment(i, kSize) : fleet.broker_segment(i, kSize);
    }
    return frames.size();
  };
}

// For one packet, of the median burst: a sum would hold the time that other processes took.
double per_packet(std::vector<uint64_t> bursts) {
  const auto middle = bursts.begin() + static_cast<std::ptrdiff_t>(bursts.size() / 2);
  std::nth_element(bursts.begin(), middle, bursts.end());
  return static_cast<double>(*middle) / kBurst;
}

// What both deployments took for the same, run by run.
class Comparison {
 public:
  void add(double one, const Cost& split) {
    const double slower = std::max(split[kWorker], split[kProxy]);
    one_.push_back(one);
    worker_.push_back(split[kWorker]);
    proxy_.push_back(split[kProxy]);
    both_.push_back(split[kWorker] + split[kProxy]);
    ratio_.push_back(both_.back() / one);
    gain_.push_back(one / slower);
  }
  void report(const std::string& what, uint64_t flows, Figures& out) const {
    out.push_back(figure(what + ", one core", flows, one_, "cycles"));
    out.push_back(figure(what + ", split: worker", flows, worker_, "cycles"));
    out.push_back(figure(what + ", split: proxy", flows, proxy_, "cycles"));
    out.push_back(figure(what + ", split: both", flows, both_, "cycles"));
    out.push_back(figure(what + ", both / one core", flows, ratio_, "ratio"));
    // The core that is busy first limits what passes.
    out.push_back(figure(what + ", one core / slower", flows, gain_, "ratio"));
  }

 private:
  std::vector<double> one_, worker_, proxy_, both_, ratio_, gain_;
};

// One packet from the client and one from the broker: alternating bursts on the one core, both
// directions at the same time on the two.
base::Result<std::array<double, 2>> run_spliced(Pair& pair, Comparison& each_way) {
  std::array<base::Random, 2> random{base::Random(1), base::Random(2)};
  std::array<std::vector<uint64_t>, 2> one;
  for (unsigned b = 0; b < kBursts; ++b) {
    for (const auto i : {kWorker, kProxy}) {
      const Fill fill = random_segments(*pair.one_fleet, random[i], i == kWorker);
      one[i].push_back(pair.one->step(i == kWorker ? kClients : kBrokers, fill).sum());
    }
  }
  const std::array sent{pair.split->sent(kWorker), pair.split->sent(kProxy)};
  const auto split =
      pair.split->run_both(kBursts, {random_segments(*pair.clients, random[kWorker], true),
                                     random_segments(*pair.brokers, random[kProxy], false)});
  for (const auto i : {kWorker, kProxy}) {
    if (pair.split->sent(i) - sent[i] != uint64_t{kBursts} * kBurst) {
      return base::fail("spliced packets were lost");
    }
  }
  if (!pair.split->quiet()) return base::fail("the cores talk about spliced packets");
  const std::array one_core{per_packet(one[kWorker]), per_packet(one[kProxy])};
  each_way.add(one_core[0] + one_core[1], {per_packet(split[kWorker]), per_packet(split[kProxy])});
  return one_core;
}

// The same packets where each comes to the wrong core.
Cost run_handed_over(Pair& pair, bool to_broker) {
  base::Random random(3);
  const Fill fill = random_segments(to_broker ? *pair.clients : *pair.brokers, random, to_broker);
  std::array<std::vector<uint64_t>, 2> bursts;
  for (unsigned b = 0; b < kBursts; ++b) {
    const Cycles cycles = pair.split->step_at(to_broker ? kProxy : kWorker, fill);
    for (const auto i : {kWorker, kProxy}) bursts[i].push_back(cycles.of[i]);
  }
  return {per_packet(bursts[kWorker]), per_packet(bursts[kProxy])};
}

base::Result<void> measure_packets(Pair& pair, const CaseOptions& options, Figures& out) {
  Comparison each_way;
  std::array<Comparison, 2> handed_over;
  for (unsigned run = 0; run < options.runs; ++run) {
    const auto one = run_spliced(pair, each_way);
    if (!one) return tl::unexpected(one.error());
    handed_over[0].add((*one)[0], run_handed_over(pair, true));
    handed_over[1].add((*one)[1], run_handed_over(pair, false));
  }
  const uint64_t flows = pair.clients->size();
  each_way.report("packet each way", flows, out);
  handed_over[0].report("handed over, to broker", flows, out);
  handed_over[1].report("handed over, to client", flows, out);
  return {};
}

// Opens, uses and closes connections beside the standing ones, until their records are given back.
base::Result<Cost> run_connections(Balancer& balancer, uint32_t first) {
  FleetOptions options;
  options.flows = kConnections;
  options.first = first;
  Fleet fleet(balancer, options);
  Cycles cycles = fleet.open(0, fleet.size());
  cycles += fleet.talk_and_close(0, fleet.size());
  if (!fleet.failure().empty()) return base::fail(fleet.failure());
  // What the sweep costs beyond what it costs anyway.
  const Cycles reap = balancer.pass(kReaped);
  const Cycles idle = balancer.pass(kReaped);
  Cost out{};
  for (size_t i = 0; i < out.size(); ++i) {
    const uint64_t more = reap.of[i] > idle.of[i] ? reap.of[i] - idle.of[i] : 0;
    out[i] = static_cast<double>(cycles.of[i] + more) / kConnections;
  }
  return out;
}

base::Result<void> measure_connections_of(Pair& pair, const CaseOptions& options, Figures& out) {
  Comparison comparison;
  const uint32_t standing = pair.clients->size();
  for (unsigned run = 0; run < options.runs; ++run) {
    const uint32_t first = standing + run * kConnections;
    const auto one = run_connections(*pair.one, first);
    if (!one) return tl::unexpected(one.error());
    const auto split = run_connections(*pair.split, first);
    if (!split) return tl::unexpected(split.error());
    comparison.add((*one)[0], *split);
  }
  if (pair.split->core(kWorker).worker()->flows().size() != standing ||
      pair.split->core(kProxy).proxy()->flows().size() != standing) {
    return base::fail("connections were not reaped");
  }
  comparison.report("connection", standing, out);
  return {};
}

}  // namespace

base::Result<Figures> measure_split(const CaseOptions& options) {
  Figures out;
  if (!SplitRig::possible()) {
    std::fputs("mqlb-bench: split needs two lcores without a common CPU (-l 0,1): left out\n",
               stderr);
    return out;
  }
  for (const uint32_t flows : options.flows) {
    auto pair = open_pair(flows);
    if (!pair) return tl::unexpected(pair.error());
    if (auto done = measure_packets(*pair, options, out); !done) {
      return tl::unexpected(done.error());
    }
    if (auto done = measure_connections_of(*pair, options, out); !done) {
      return tl::unexpected(done.error());
    }
  }
  return out;
}

}  // namespace mqlb::bench
