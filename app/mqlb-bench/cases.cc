#include "app/mqlb-bench/cases.hh"

#include <malloc.h>
#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <functional>

#include "app/mqlb-bench/nat.hh"
#include "lib/base/huge_pages.hh"
#include "lib/base/random.hh"
#include "lib/maglev/maglev.hh"

namespace mqlb::bench {
namespace {

using engine::Frame;
using Burst = std::array<Frame, kBurst>;

constexpr size_t kSmall = 66;  // with timestamps, 64 would leave no room for payload
constexpr size_t kFull = 1514;
constexpr unsigned kBursts = 4000;          // of one run
constexpr std::chrono::seconds kReaped{5};  // closing timeout, and a sweep of the table
constexpr uint32_t kRoom = 8192;            // flows beyond the standing ones

double per_packet(uint64_t cycles) { return static_cast<double>(cycles) / kBursts / kBurst; }

// A rig with standing flows that have passed the first checks of the spliced state.
struct Standing {
  std::unique_ptr<Rig> rig;
  std::unique_ptr<Fleet> fleet;
};

base::Result<Standing> open_standing(uint32_t flows) {
  auto rig = Rig::create({flows + kRoom, 3});
  if (!rig) return tl::unexpected(rig.error());
  Standing out{std::move(*rig), nullptr};
  FleetOptions options;
  options.flows = flows;
  out.fleet = std::make_unique<Fleet>(*out.rig, options);
  out.fleet->settle();
  if (!out.fleet->failure().empty()) return base::fail(out.fleet->failure());
  return out;
}

Burst random_burst(Fleet& fleet, base::Random& random, bool to_broker, size_t size) {
  Burst burst;
  for (Frame& frame : burst) {
    const auto i = static_cast<uint32_t>(random.below(fleet.size()));
    frame = to_broker ? fleet.client_segment(i, size) : fleet.broker_segment(i, size);
  }
  return burst;
}

// A function of its own, so that scripts/bench/instructions.py can tell directions and sizes apart.
[[gnu::noinline]] base::Result<void> measure_direction(Standing& standing, Nat& nat,
                                                       const CaseOptions& options, bool to_broker,
                                                       size_t size, Figures& out) {
  base::Random random(1);
  std::vector<double> spliced;
  std::vector<double> plain;
  const uint64_t before = standing.rig->io().sent;
  for (unsigned run = 0; run < options.runs; ++run) {
    uint64_t splice_cycles = 0;
    uint64_t nat_cycles = 0;
    for (unsigned b = 0; b < kBursts; ++b) {
      splice_cycles += standing.rig->run(random_burst(*standing.fleet, random, to_broker, size));
      nat_cycles += nat.run(random_burst(*standing.fleet, random, to_broker, size));
    }
    spliced.push_back(per_packet(splice_cycles));
    plain.push_back(per_packet(nat_cycles));
  }
  if (standing.rig->io().sent - before != uint64_t{2} * options.runs * kBursts * kBurst) {
    return base::fail("spliced packets were lost");
  }
  const uint64_t flows = standing.fleet->size();
  const std::string name =
      std::string(to_broker ? "to broker" : "to client") + ", " + std::to_string(size) + " bytes";
  std::vector<double> tax;
  for (size_t i = 0; i < spliced.size(); ++i) tax.push_back(spliced[i] / plain[i]);
  out.push_back(figure("spliced packet " + name, flows, spliced, "cycles"));
  out.push_back(figure("plain NAT " + name, flows, plain, "cycles"));
  out.push_back(figure("splice tax " + name, flows, tax, "ratio"));
  return {};
}

// Opens and closes one connection after another beside the standing flows.
base::Result<void> measure_connection(Standing& standing, const CaseOptions& options,
                                      size_t client_id, Figures& out) {
  FleetOptions fleet_options;
  fleet_options.flows = 1024;
  fleet_options.client_id = client_id;
  fleet_options.first = standing.fleet->size();
  std::vector<double> cycles;
  for (unsigned run = 0; run < options.runs; ++run) {
    Fleet fleet(*standing.rig, fleet_options);
    const uint64_t open = fleet.open(0, fleet.size()).sum();
    const uint64_t close = fleet.talk_and_close(0, fleet.size()).sum();
    if (!fleet.failure().empty()) return base::fail(fleet.failure());
    // What the sweep costs beyond what it costs anyway.
    const uint64_t reap = standing.rig->pass(kReaped).sum();
    const uint64_t idle = standing.rig->pass(kReaped).sum();
    const uint64_t all = open + close + (reap > idle ? reap - idle : 0);
    cycles.push_back(static_cast<double>(all) / fleet.size());
    fleet_options.first += fleet.size();
  }
  if (standing.rig->core().worker()->flows().size() != standing.fleet->size()) {
    return base::fail("connections were not reaped");
  }
  out.push_back(figure("connection, Client ID of " + std::to_string(client_id) + " bytes",
                       standing.fleet->size(), cycles, "cycles"));
  return {};
}

// Frames that a burst of a flood is made of.
using MakeFrame = std::function<Frame(base::Random&)>;

Figure measure_flood(Standing& standing, const CaseOptions& options, const std::string& what,
                     const MakeFrame& make) {
  base::Random random(2);
  std::vector<double> cycles;
  for (unsigned run = 0; run < options.runs; ++run) {
    uint64_t sum = 0;
    for (unsigned b = 0; b < kBursts; ++b) {
      Burst burst;
      for (Frame& frame : burst) frame = make(random);
      sum += standing.rig->run(burst);
    }
    cycles.push_back(per_packet(sum));
  }
  return figure(what, standing.fleet->size(), cycles, "cycles");
}

wire::Segment stray(base::Random& random, const wire::Endpoint& to, uint8_t flags) {
  wire::Segment s;
  s.source = {wire::IpAddress::v4(0x0a000000U | (random.u32() & 0xffffffU)),
              static_cast<uint16_t>(1024 + random.below(60000))};
  s.destination = to;
  s.seq = base::Seq32(random.u32());
  s.flags = flags;
  s.options.timestamps = wire::Timestamps{random.u32(), random.u32()};
  if ((flags & wire::kAck) != 0) s.ack = base::Seq32(random.u32());
  return s;
}

// Bytes that this process holds from DPDK's heap, from the C library's, and in pages of its own.
size_t allocated_bytes() {
  rte_malloc_socket_stats dpdk{};
  rte_malloc_get_socket_stats(static_cast<int>(rte_socket_id()), &dpdk);
  const struct mallinfo2 libc = mallinfo2();
  return dpdk.heap_allocsz_bytes + libc.uordblks + libc.hblkhd + base::HugePages::mapped();
}

std::vector<maglev::Member> members(size_t count) {
  std::vector<maglev::Member> out;
  for (size_t i = 0; i < count; ++i) out.push_back({"broker" + std::to_string(i), 1});
  return out;
}

}  // namespace

Figure figure(std::string what, uint64_t flows, std::vector<double> runs, std::string unit) {
  std::sort(runs.begin(), runs.end());
  return {std::move(what), flows,       runs[runs.size() / 2],
          runs.front(),    runs.back(), std::move(unit)};
}

base::Result<Figures> measure_spliced(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    auto standing = open_standing(flows);
    if (!standing) return tl::unexpected(standing.error());
    auto nat = Nat::create(*standing->rig, flows);
    if (!nat) return tl::unexpected(nat.error());
    for (uint32_t i = 0; i < flows; ++i) {
      if (!(*nat)->add(standing->fleet->client(i), (*standing->fleet)[i])) {
        return base::fail("the NAT has no room for its flows");
      }
    }
    for (const bool to_broker : {true, false}) {
      for (const size_t size : {kSmall, kFull}) {
        auto done = measure_direction(*standing, **nat, options, to_broker, size, out);
        if (!done) return tl::unexpected(done.error());
      }
    }
  }
  return out;
}

base::Result<Figures> measure_connections(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    auto standing = open_standing(flows);
    if (!standing) return tl::unexpected(standing.error());
    for (const size_t client_id : {16UL, 64UL, 1024UL}) {
      auto done = measure_connection(*standing, options, client_id, out);
      if (!done) return tl::unexpected(done.error());
    }
  }
  return out;
}

base::Result<Figures> measure_floods(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    auto standing = open_standing(flows);
    if (!standing) return tl::unexpected(standing.error());
    Fleet& fleet = *standing->fleet;
    const wire::Endpoint listener = standing->rig->listener();
    const auto syn = [&](base::Random& random) {
      wire::Segment s = stray(random, listener, wire::kSyn);
      s.options.mss = 1460;
      s.options.window_scale = 7;
      s.options.sack_permitted = true;
      return fleet.encode(kClients, s);
    };
    const auto data = [&](base::Random& random) {
      return fleet.client_segment(static_cast<uint32_t>(random.below(fleet.size())), kSmall);
    };
    out.push_back(measure_flood(*standing, options, "SYN answered", syn));
    out.push_back(measure_flood(*standing, options, "forged ACK", [&](base::Random& random) {
      return fleet.encode(kClients, stray(random, listener, wire::kAck));
    }));
    out.push_back(measure_flood(*standing, options, "unknown flow", [&](base::Random& random) {
      wire::Segment s = stray(random, {fleet[0].snat.address, 1023}, wire::kAck);
      s.source = fleet[0].broker;
      return fleet.encode(kBrokers, s);
    }));
    out.push_back(measure_flood(*standing, options, "spliced packet to broker, alone", data));
    bool turn = false;
    const uint64_t before = standing->rig->io().sent;
    out.push_back(measure_flood(*standing, options, "packet where each second is a SYN",
                                [&](base::Random& random) {
                                  turn = !turn;
                                  return turn ? data(random) : syn(random);
                                }));
    // Each is passed on or answered by one.
    const uint64_t given = uint64_t{options.runs} * kBursts * kBurst;
    const uint64_t sent = standing->rig->io().sent - before;
    out.push_back(figure("packets lost where each second is a SYN", flows,
                         {static_cast<double>(given) - static_cast<double>(sent)}, "packets"));
  }
  return out;
}

base::Result<Figures> measure_memory(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    const size_t before = allocated_bytes();
    const auto begin = std::chrono::steady_clock::now();
    auto rig = Rig::create({flows, 3});
    if (!rig) return tl::unexpected(rig.error());
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    const auto tables = static_cast<double>(allocated_bytes() - before);
    out.push_back(figure("memory taken in", flows, {time.count()}, "ms"));
    out.push_back(
        figure("memory of one core, packet buffers included", flows, {tables / 1e6}, "MB"));
    out.push_back(figure("memory per flow", flows, {tables / flows}, "bytes"));
  }
  return out;
}

base::Result<Figures> measure_maglev(const CaseOptions& options) {
  constexpr uint32_t kSlots = 65537;
  Figures out;
  for (const size_t brokers : {3UL, 100UL, 1000UL}) {
    std::vector<double> times;
    maglev::Table table;
    for (unsigned run = 0; run < options.runs; ++run) {
      const auto begin = std::chrono::steady_clock::now();
      table = maglev::Table::build(members(brokers), kSlots);
      const std::chrono::duration<double, std::milli> time =
          std::chrono::steady_clock::now() - begin;
      times.push_back(time.count());
    }
    const maglev::Table more = maglev::Table::build(members(brokers + 1), kSlots);
    size_t moved = 0;
    for (size_t i = 0; i < kSlots; ++i)
      if (table.slots()[i] != more.slots()[i]) ++moved;
    const std::string name = std::to_string(brokers) + " brokers";
    out.push_back(figure("Maglev table built, " + name, 0, times, "ms"));
    out.push_back(figure("moved when one joins " + name, 0,
                         {100.0 * static_cast<double>(moved) / kSlots}, "%"));
  }
  return out;
}

}  // namespace mqlb::bench
