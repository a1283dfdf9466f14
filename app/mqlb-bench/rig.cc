#include "app/mqlb-bench/rig.hh"

#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/resource.h>

#include <array>

namespace mqlb::bench {
namespace {

constexpr unsigned kBuffers = 8191;
constexpr unsigned kCache = 256;
constexpr uint32_t kClientSide = 0xc6120000;  // 198.18.0.0/16
constexpr uint32_t kBrokerSide = 0xc6130000;  // 198.19.0.0/16
constexpr uint32_t kFirstSnat = 0x100;
constexpr uint32_t kPorts = 64504;  // of one SNAT address toward one broker

config::Model make_model(const RigOptions& options) {
  config::Model model;
  model.ports = {{"clients", "c", config::PortRole::client, 1500, {}},
                 {"brokers", "b", config::PortRole::backend, 1500, {}}};
  model.ports[0].addresses = {{wire::IpAddress::v4(kClientSide + 1), 16}};
  model.ports[1].addresses = {{wire::IpAddress::v4(kBrokerSide + 1), 16}};
  // Flows are not spread quite evenly over brokers, and ports rest after use.
  const uint32_t snats = 2 + options.max_flows / options.brokers / kPorts * 3 / 2;
  config::SnatPool snat{"snat", {}, 1024, 65535};
  for (uint32_t i = 0; i < snats; ++i) {
    snat.addresses.push_back(wire::IpAddress::v4(kBrokerSide + kFirstSnat + i));
  }
  model.snat_pools = {snat};
  config::Pool pool;
  pool.name = "pool";
  pool.snat = "snat";
  pool.proxy_protocol = config::ProxyProtocol::v2;
  for (uint32_t i = 0; i < options.brokers; ++i) {
    pool.backends.push_back(
        {"broker" + std::to_string(i), {wire::IpAddress::v4(kBrokerSide + 11 + i), 1883}, 1});
  }
  model.pools = {pool};
  config::Listener listener;
  listener.name = "mqtt";
  listener.endpoint = {wire::IpAddress::v4(kClientSide + 10), 1883};
  listener.pool = "pool";
  model.listeners = {listener};
  model.settings.max_flows = options.max_flows;
  model.settings.max_connecting = 4096;
  model.settings.snat_quarantine = std::chrono::seconds(0);
  model.settings.closing_timeout = std::chrono::seconds(1);
  model.settings.idle_floor = std::chrono::hours(24);
  model.settings.rst_per_second = 1000;
  return model;
}

// How often this thread had to leave its CPU to another.
long preemptions() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw;
}

}  // namespace

wire::MacAddress port_mac(config::PortId port) { return {{0x02, 0, 0, 0, 0xff, port}}; }

size_t MemoryIo::allocate(std::span<engine::Frame> out) {
  std::array<rte_mbuf*, 64> mbufs;
  const size_t count = std::min(out.size(), mbufs.size());
  if (rte_pktmbuf_alloc_bulk(pool_, mbufs.data(), static_cast<unsigned>(count)) != 0) return 0;
  for (size_t i = 0; i < count; ++i) {
    out[i] = dpdk::frame_of(mbufs[i], 0);
    out[i].length = 0;
  }
  return count;
}

void MemoryIo::release(std::span<const engine::Frame> frames) {
  std::array<rte_mbuf*, 64> mbufs;
  while (!frames.empty()) {
    const size_t count = std::min(frames.size(), mbufs.size());
    for (size_t i = 0; i < count; ++i) mbufs[i] = static_cast<rte_mbuf*>(frames[i].owner);
    rte_pktmbuf_free_bulk(mbufs.data(), static_cast<unsigned>(count));
    frames = frames.subspan(count);
  }
}

size_t MemoryIo::transmit(config::PortId port, std::span<const engine::Frame> frames) {
  if (instead != nullptr) return instead->transmit(port, frames);
  sent += frames.size();
  if (keep) {
    for (const engine::Frame& frame : frames) kept.push_back({port, frame});
    return 0;
  }
  // As drivers do it for ports whose frames are all of one pool and have one owner.
  std::array<void*, 64> mbufs;
  while (!frames.empty()) {
    const size_t count = std::min(frames.size(), mbufs.size());
    for (size_t i = 0; i < count; ++i) mbufs[i] = frames[i].owner;
    rte_mempool_put_bulk(pool_, mbufs.data(), static_cast<unsigned>(count));
    frames = frames.subspan(count);
  }
  return 0;
}

base::Result<dpdk::Mempool> Balancer::create_pool() {
  static uint32_t made = 0;
  const std::string name = "bench_frames_" + std::to_string(made++);
  dpdk::Mempool pool(rte_pktmbuf_pool_create(name.c_str(), kBuffers, kCache, 0,
                                             RTE_MBUF_DEFAULT_BUF_SIZE,
                                             static_cast<int>(rte_socket_id())));
  if (!pool) return base::fail("no memory for packet buffers");
  return pool;
}

base::Result<void> Balancer::configure(const RigOptions& options) {
  const config::Model model = make_model(options);
  if (auto valid = config::validate(model); !valid) return tl::unexpected(valid.error());
  auto snapshot = config::compile(model, nullptr, {});
  if (!snapshot) return tl::unexpected(snapshot.error());
  snapshot_ = std::move(*snapshot);
  shared_.port_macs[kClients] = port_mac(kClients);
  shared_.port_macs[kBrokers] = port_mac(kBrokers);
  static uint32_t made = 0;
  shared_.random = 0x5eed + ++made;
  for (size_t i = 0; i < snapshot_->next_hops.size(); ++i) {
    shared_.neighbours.set(static_cast<config::NextHopId>(i), kBrokerMac);
  }
  return {};
}

engine::Frame Balancer::frame(config::PortId port) {
  rte_mbuf* m = rte_pktmbuf_alloc(pool_.get());
  if (m == nullptr) rte_panic("bench: packet buffers leak\n");
  m->ol_flags = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  return dpdk::frame_of(m, port);
}

uint64_t run_burst(engine::Core& core, std::span<const engine::Frame> frames) {
  const uint64_t begin = rte_rdtsc_precise();
  core.receive(frames);
  core.flush();
  return rte_rdtsc_precise() - begin;
}

uint64_t pass_time(engine::Core& core, base::Instant from, base::Instant to) {
  uint64_t cycles = 0;
  long before = preemptions();
  constexpr base::Duration kTick{1000};
  while (from < to) {
    from += kTick;
    const uint64_t begin = rte_rdtsc_precise();
    core.set_time(from);
    core.advance();
    core.flush();
    const uint64_t took = rte_rdtsc_precise() - begin;
    const long preempted = preemptions();
    if (preempted == before) cycles += took;
    before = preempted;
  }
  return cycles;
}

base::Result<std::unique_ptr<Rig>> Rig::create(const RigOptions& options) {
  auto pool = create_pool();
  if (!pool) return tl::unexpected(pool.error());
  std::unique_ptr<Rig> rig(new Rig(std::move(*pool)));
  if (auto done = rig->configure(options); !done) return tl::unexpected(done.error());
  rig->shared_.workers = {0};
  rig->shared_.proxies = {0};
  auto core = engine::Core::create(0, config::CoreRole::both, rig->shared_, rig->io_, rig->others_,
                                   *rig->snapshot_);
  if (!core) return tl::unexpected(core.error());
  rig->core_ = std::move(*core);
  rig->core_->set_time(rig->now_);
  return rig;
}

Cycles Rig::step(config::PortId /*port*/, const Fill& fill) {
  std::array<engine::Frame, kBurst> frames;
  const size_t count = fill(frames);
  return {{run(std::span(frames).first(count)), 0}};
}

Cycles Rig::pass(base::Duration time) {
  const base::Instant from = now_;
  now_ += time;
  return {{pass_time(*core_, from, now_), 0}};
}

}  // namespace mqlb::bench
