// The data core's port I/O, on DPDK's ring ports: frames are put into a ring before the clock runs
// and taken from the other after it, so receiving and sending are measured without anybody's copy.
#include "lib/dpdk/ports.hh"

#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_lcore.h>
#include <rte_ring.h>

#include <algorithm>
#include <array>

#include "app/mqlb-bench/cases.hh"
#include "app/mqlb-bench/fleet.hh"
#include "lib/base/random.hh"
#include "lib/dpdk/fabric.hh"

namespace mqlb::bench {
namespace {

using Burst = std::array<engine::Frame, kBurst>;
using Mbufs = std::array<rte_mbuf*, kBurst>;

constexpr size_t kSmall = 66;  // with timestamps, 64 would leave no room for payload
constexpr size_t kFull = 1514;
constexpr unsigned kBursts = 2000;  // of one run
constexpr unsigned kRoom = 1024;    // frames in a ring
constexpr uint16_t kPorts = 2;

void** objects(Mbufs& mbufs) { return reinterpret_cast<void**>(mbufs.data()); }

// Two ports, and the far ends of their wires.
class RingPorts {
 public:
  static base::Result<std::unique_ptr<RingPorts>> create() {
    std::unique_ptr<RingPorts> out(new RingPorts);
    std::vector<config::Port> models;
    for (uint16_t port = 0; port < kPorts; ++port) {
      // The driver's devices stay until the EAL ends, so each time they are others.
      static unsigned made = 0;
      const std::string name = "bench" + std::to_string(made++);
      for (auto* rings : {&out->to_port_, &out->from_port_}) {
        const std::string ring = name + (rings == &out->to_port_ ? "_in" : "_out");
        (*rings)[port].reset(rte_ring_create(ring.c_str(), kRoom, static_cast<int>(rte_socket_id()),
                                             RING_F_SP_ENQ | RING_F_SC_DEQ));
        if (!(*rings)[port]) return base::fail("no memory for rings");
      }
      rte_ring* in[] = {out->to_port_[port].get()};
      rte_ring* away[] = {out->from_port_[port].get()};
      if (rte_eth_from_rings(name.c_str(), in, 1, away, 1, rte_socket_id()) < 0) {
        return base::fail("no ring ports (librte_net_ring)");
      }
      models.push_back({name, "net_ring_" + name, config::PortRole::both, 1500, {}});
    }
    const std::array cores{config::CoreRole::both};
    auto ports = dpdk::Ports::start(models, cores);
    if (!ports) return tl::unexpected(ports.error());
    out->ports_ = std::make_unique<dpdk::Ports>(std::move(*ports));
    out->io_ = std::make_unique<dpdk::MbufIo>(*out->ports_, 0, nullptr, nullptr);
    return out;
  }

  // What arrives at a port next; the card has verified the checksums.
  bool feed(config::PortId port, const Burst& frames) {
    Mbufs mbufs;
    for (size_t i = 0; i < kBurst; ++i) {
      mbufs[i] = dpdk::mbuf_of(frames[i]);
      mbufs[i]->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    }
    return rte_ring_enqueue_bulk(to_port_[port].get(), objects(mbufs), kBurst, nullptr) == kBurst;
  }

  // Frees what a port has sent, and says how much that was.
  size_t drain(config::PortId port) {
    Mbufs mbufs;
    size_t count = 0;
    while (const unsigned n =
               rte_ring_dequeue_burst(from_port_[port].get(), objects(mbufs), kBurst, nullptr)) {
      rte_pktmbuf_free_bulk(mbufs.data(), n);
      count += n;
    }
    return count;
  }

  // One pass of a data core over its ports.
  uint64_t poll(Rig& rig) {
    Mbufs mbufs;
    Burst frames;
    const uint64_t begin = rte_rdtsc_precise();
    rig.core().set_time(rig.now());
    for (const dpdk::RxQueue& queue : ports_->queues_of(0)) {
      const uint16_t n = rte_eth_rx_burst(queue.dpdk_port, queue.queue, mbufs.data(), kBurst);
      for (uint16_t i = 0; i < n; ++i) frames[i] = dpdk::frame_of(mbufs[i], queue.port);
      rig.core().receive(std::span(frames).first(n));
    }
    rig.core().advance();
    rig.core().flush();
    return rte_rdtsc_precise() - begin;
  }

  // What a forwarder that decides nothing does with the same ports, as testpmd's macswap.
  uint64_t swap() {
    Mbufs mbufs;
    const uint64_t begin = rte_rdtsc_precise();
    for (const dpdk::RxQueue& queue : ports_->queues_of(0)) {
      const uint16_t n = rte_eth_rx_burst(queue.dpdk_port, queue.queue, mbufs.data(), kBurst);
      for (uint16_t i = 0; i < n; ++i) {
        auto* link = rte_pktmbuf_mtod(mbufs[i], rte_ether_hdr*);
        std::swap(link->src_addr, link->dst_addr);
      }
      if (n == 0) continue;
      const auto other = static_cast<config::PortId>(kPorts - 1 - queue.port);
      const uint16_t sent = rte_eth_tx_burst(ports_->dpdk_port(other), 0, mbufs.data(), n);
      if (sent < n) rte_pktmbuf_free_bulk(mbufs.data() + sent, static_cast<unsigned>(n - sent));
    }
    return rte_rdtsc_precise() - begin;
  }

  [[nodiscard]] engine::FrameIo& io() { return *io_; }

 private:
  RingPorts() = default;
  std::array<dpdk::Ring, kPorts> to_port_;
  std::array<dpdk::Ring, kPorts> from_port_;
  std::unique_ptr<dpdk::Ports> ports_;
  std::unique_ptr<dpdk::MbufIo> io_;
};

Figure figure(const std::string& what, uint64_t flows, std::vector<double> runs,
              const std::string& unit) {
  std::sort(runs.begin(), runs.end());
  return {what, flows, runs[runs.size() / 2], runs.front(), runs.back(), unit};
}

struct Way {
  config::PortId from, to;
  size_t size;  // of a frame, bytes
  [[nodiscard]] std::string text() const {
    return (to == kBrokers ? " to broker, " : " to client, ") + std::to_string(size) + " bytes";
  }
};

Burst random_burst(Fleet& fleet, base::Random& random, const Way& way) {
  Burst burst;
  for (engine::Frame& frame : burst) {
    const auto i = static_cast<uint32_t>(random.below(fleet.size()));
    frame =
        way.to == kBrokers ? fleet.client_segment(i, way.size) : fleet.broker_segment(i, way.size);
  }
  return burst;
}

// Cycles of all bursts of one run, each way of handling them in turn.
struct Cycles {
  uint64_t in_process = 0, by_ports = 0, ports_alone = 0;
};

base::Result<Cycles> run_once(Rig& rig, Fleet& fleet, RingPorts& ports, base::Random& random,
                              const Way& way) {
  Cycles cycles;
  const auto passes = [&](auto&& handle) -> uint64_t {
    if (!ports.feed(way.from, random_burst(fleet, random, way))) return 0;
    const uint64_t taken = handle();
    return ports.drain(way.to) == kBurst && ports.drain(way.from) == 0 ? taken : 0;
  };
  for (unsigned b = 0; b < kBursts; ++b) {
    cycles.in_process += rig.run(random_burst(fleet, random, way));
    rig.io().instead = &ports.io();
    const uint64_t by_ports = passes([&] { return ports.poll(rig); });
    rig.io().instead = nullptr;
    const uint64_t alone = passes([&] { return ports.swap(); });
    if (by_ports == 0 || alone == 0) return base::fail("frames were lost between the ports");
    cycles.by_ports += by_ports;
    cycles.ports_alone += alone;
  }
  return cycles;
}

base::Result<void> measure_way(Rig& rig, Fleet& fleet, RingPorts& ports, const CaseOptions& options,
                               const Way& way, Figures& out) {
  base::Random random(1);
  std::vector<double> in_process, by_ports, ports_alone, ratio;
  const auto per_packet = [](uint64_t cycles) {
    return static_cast<double>(cycles) / kBursts / kBurst;
  };
  for (unsigned run = 0; run < options.runs; ++run) {
    const auto cycles = run_once(rig, fleet, ports, random, way);
    if (!cycles) return tl::unexpected(cycles.error());
    in_process.push_back(per_packet(cycles->in_process));
    by_ports.push_back(per_packet(cycles->by_ports));
    ports_alone.push_back(per_packet(cycles->ports_alone));
    ratio.push_back(by_ports.back() / ports_alone.back());
  }
  const uint64_t flows = fleet.size();
  out.push_back(figure("in process" + way.text(), flows, in_process, "cycles"));
  out.push_back(figure("by ring ports" + way.text(), flows, by_ports, "cycles"));
  out.push_back(figure("ring ports, MACs swapped" + way.text(), flows, ports_alone, "cycles"));
  out.push_back(figure("by ring ports to MACs swapped" + way.text(), flows, ratio, "ratio"));
  return {};
}

}  // namespace

base::Result<Figures> measure_ports(const CaseOptions& options) {
  Figures out;
  for (const uint32_t flows : options.flows) {
    auto ports = RingPorts::create();
    if (!ports) return tl::unexpected(ports.error());
    auto rig = Rig::create({flows + kRoom, 3});
    if (!rig) return tl::unexpected(rig.error());
    FleetOptions fleet_options;
    fleet_options.flows = flows;
    Fleet fleet(**rig, fleet_options);
    fleet.settle();
    if (!fleet.failure().empty()) return base::fail(fleet.failure());
    for (const Way way : {Way{kClients, kBrokers, kSmall}, Way{kBrokers, kClients, kSmall},
                          Way{kClients, kBrokers, kFull}, Way{kBrokers, kClients, kFull}}) {
      auto done = measure_way(**rig, fleet, **ports, options, way, out);
      if (!done) return tl::unexpected(done.error());
    }
  }
  return out;
}

}  // namespace mqlb::bench
