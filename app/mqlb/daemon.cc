#include "app/mqlb/daemon.hh"

#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>
#include <sodium.h>

#include <algorithm>
#include <cstdio>
#include <thread>

namespace mqlb::app {
namespace {

// Messages that a core's queue holds: every connecting client may have a few under way.
constexpr unsigned kMessageRoom = 16384;
constexpr base::Duration kLongestFinish = std::chrono::milliseconds(500);

// What operators are told without asking.
void print_line(const std::string& line) { std::fprintf(stderr, "mqlb: %s\n", line.c_str()); }

int run_core(void* loop) {
  static_cast<dpdk::CoreLoop*>(loop)->run();
  return 0;
}

}  // namespace

void Daemon::RcuDeleter::operator()(rte_rcu_qsbr* rcu) const { rte_free(rcu); }

Daemon::Daemon(const config::Model& model) : model_(model) {
  randombytes_buf(shared_.secret.data(), shared_.secret.size());
  randombytes_buf(&shared_.boot_id, sizeof shared_.boot_id);
  shared_.random = randombytes_random();
}

base::Result<std::unique_ptr<Daemon>> Daemon::create(const config::Model& model) {
  std::unique_ptr<Daemon> daemon(new Daemon(model));
  if (auto done = daemon->choose_cores(); !done) return tl::unexpected(done.error());
  if (auto done = daemon->build(); !done) return tl::unexpected(done.error());
  return daemon;
}

// The configured cores, or every lcore but the main one, as workers and proxies at once.
base::Result<void> Daemon::choose_cores() {
  unsigned lcore = 0;
  for (lcore = rte_get_next_lcore(~0U, 1, 0); lcore < RTE_MAX_LCORE;
       lcore = rte_get_next_lcore(lcore, 1, 0)) {
    const auto configured =
        std::find_if(model_.cores.begin(), model_.cores.end(),
                     [&](const config::Core& core) { return core.lcore == lcore; });
    if (configured != model_.cores.end()) {
      cores_.push_back({lcore, configured->role, nullptr, false});
    } else if (model_.cores.empty()) {
      cores_.push_back({lcore, config::CoreRole::both, nullptr, false});
    }
  }
  for (const config::Core& core : model_.cores) {
    const bool found = std::any_of(cores_.begin(), cores_.end(),
                                   [&](const DataCore& c) { return c.lcore == core.lcore; });
    if (!found) {
      return base::fail("core " + std::to_string(core.lcore) +
                        " is not among the EAL's lcores (-l), or is the main one, which control "
                        "runs on");
    }
  }
  for (size_t i = 0; i < cores_.size(); ++i) {
    const auto index = static_cast<engine::CoreIndex>(i);
    if (cores_[i].role != config::CoreRole::proxy) shared_.workers.push_back(index);
    if (cores_[i].role != config::CoreRole::worker) shared_.proxies.push_back(index);
  }
  if (shared_.workers.empty() || shared_.proxies.empty()) {
    return base::fail("no lcore for the role " +
                      std::string(shared_.workers.empty() ? "worker" : "proxy") +
                      ": give the EAL at least two lcores (-l 0,1), the first is for control");
  }
  return {};
}

base::Result<void> Daemon::build() {
  auto snapshot = config::compile(model_, nullptr, id_use());
  if (!snapshot) return tl::unexpected(snapshot.error());
  snapshot_ = std::move(*snapshot);
  if (auto done = adopt_limits(*snapshot_); !done) return done;
  board_.snapshot.store(snapshot_.get());
  if (auto done = make_rcu(); !done) return done;

  std::vector<config::CoreRole> roles;
  for (const DataCore& core : cores_) roles.push_back(core.role);
  dpdk::RssKey rss_key;
  randombytes_buf(rss_key.data(), rss_key.size());
  auto ports = dpdk::Ports::start(model_.ports, roles, &rss_key);
  if (!ports) return tl::unexpected(ports.error());
  ports_ = std::make_unique<dpdk::Ports>(std::move(*ports));
  for (config::PortId port = 0; port < ports_->size(); ++port) {
    shared_.port_macs[port] = ports_->mac(port);
  }
  shared_.from_clients = ports_->from_clients();
  shared_.from_brokers = ports_->from_brokers();
  auto fabric = dpdk::Fabric::create(cores_.size(), kMessageRoom);
  if (!fabric) return tl::unexpected(fabric.error());
  fabric_ = std::make_unique<dpdk::Fabric>(std::move(*fabric));

  for (size_t i = 0; i < cores_.size(); ++i) {
    auto loop = dpdk::CoreLoop::create(static_cast<engine::CoreIndex>(i), cores_[i].role, *ports_,
                                       *fabric_, board_, clock_, shared_, *snapshot_);
    if (!loop) return tl::unexpected(loop.error());
    cores_[i].loop = std::move(*loop);
    sums_.add_core(cores_[i].loop->core().objects());
  }
  resolver_ = std::make_unique<engine::NeighbourResolver>(
      shared_, [this](config::PortId port, base::Bytes frame) { send(port, frame); });
  resolver_->adopt(*snapshot_, clock_.now());
  states_ = std::make_unique<control::BackendStates>(
      shared_.status, shared_.loads,
      [this](config::BackendId id, uint32_t most) { return close_flows(id, most); }, print_line);
  snat_watch_ = std::make_unique<control::SnatWatch>(print_line);
  fight_watch_ = std::make_unique<control::FightWatch>(
      [this] {
        uint64_t sum = 0;
        for (const DataCore& core : cores_) {
          const auto& events = core.loop->core().counters().events;
          sum += events[static_cast<size_t>(base::Event::client_id_contested)].value();
        }
        return sum;
      },
      [this] { return watched_client_ids(admission::ClientIdWatch::Which::contested); },
      print_line);
  states_->adopt(*snapshot_, clock_.now());
  make_health();
  return {};
}

void Daemon::make_health() {
  uint64_t random = 0;
  randombytes_buf(&random, sizeof random);
  health_ = std::make_unique<control::HealthMonitor>(
      shared_, random, [this](config::PortId port, base::Bytes frame) { send(port, frame); },
      [this](config::BackendId id, bool healthy, std::string_view why, bool said_so,
             base::Instant now) { states_->set_check(id, healthy, why, now, said_so); },
      [this](config::BackendId id, base::Instant now) { states_->clear_check(id, now); });
  health_->adopt(*snapshot_, clock_.now());
}

base::Result<void> Daemon::make_rcu() {
  const auto threads = static_cast<uint32_t>(cores_.size());
  rcu_.reset(static_cast<rte_rcu_qsbr*>(
      rte_zmalloc("mqlb_rcu", rte_rcu_qsbr_get_memsize(threads), RTE_CACHE_LINE_SIZE)));
  if (!rcu_ || rte_rcu_qsbr_init(rcu_.get(), threads) != 0) {
    return base::fail("no memory for RCU");
  }
  board_.rcu = rcu_.get();
  return {};
}

base::Result<void> Daemon::start() {
  for (DataCore& core : cores_) {
    if (const int code = rte_eal_remote_launch(run_core, core.loop.get(), core.lcore); code != 0) {
      return base::fail("lcore " + std::to_string(core.lcore) +
                        " cannot be started: " + rte_strerror(-code));
    }
    core.launched = true;
  }
  return {};
}

Daemon::~Daemon() {
  board_.stop.store(true);
  if (fabric_) fabric_->ring_all();
  for (const DataCore& core : cores_) {
    if (core.launched) rte_eal_wait_lcore(core.lcore);
  }
  // Frames that cores still hold go back to the pool before the ports take it away.
  cores_.clear();
  fabric_.reset();
}

void Daemon::advance() {
  void* object = nullptr;
  // No more than what is there: whoever sends faster than this reads must not hold control up.
  for (unsigned n = rte_ring_count(fabric_->to_control());
       n > 0 && rte_ring_dequeue(fabric_->to_control(), &object) == 0; --n) {
    auto* m = static_cast<rte_mbuf*>(object);
    // Each takes what is its own.
    const base::MutableBytes frame{rte_pktmbuf_mtod(m, uint8_t*), m->data_len};
    const auto port = static_cast<config::PortId>(m->port);
    resolver_->receive(frame, port, clock_.now());
    health_->receive(frame, port, clock_.now());
    rte_pktmbuf_free(m);
  }
  resolver_->advance(clock_.now());
  health_->advance(clock_.now());
  watch_failures(clock_.now());
  states_->advance(clock_.now());
  if (clock_.now() - last_second_ >= std::chrono::seconds(1)) {
    last_second_ = clock_.now();
    snat_watch_->look(*snapshot_, port_uses());
    forget_removed();
  }
  fight_watch_->advance(*snapshot_, clock_.now());
}

// Listeners and SNAT addresses that were removed are ours until their last flow ends.
void Daemon::forget_removed() {
  const config::IdUse in_use = id_use();
  bool any = false;
  for (config::ListenerId id = 0; id < snapshot_->listeners.size(); ++id) {
    const config::ListenerEntry& l = snapshot_->listeners[id];
    any |= l.retired && !l.endpoint.address.is_unspecified() && !in_use.listener(id);
  }
  for (config::SnatId id = 0; id < snapshot_->snats.size(); ++id) {
    const config::SnatEntry& s = snapshot_->snats[id];
    any |= s.retired && !s.address.is_unspecified() && !in_use.snat(id);
  }
  if (!any) return;
  if (const auto done = apply(config::Model(model_)); !done) print_line(done.error().message);
}

void Daemon::finish_checks() {
  health_->wind_down();
  const base::Instant deadline = clock_.now() + kLongestFinish;
  while (health_->busy() && clock_.now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    advance();
  }
  health_->abort();
}

// What connections met since the last look.
void Daemon::watch_failures(base::Instant now) {
  for (size_t i = 0; i < snapshot_->backends.size(); ++i) {
    const auto id = static_cast<config::BackendId>(i);
    uint64_t faults = 0;
    for (const DataCore& core : cores_) {
      faults += core.loop->core().objects().backends[id].faults.value();
    }
    states_->note_failures(id, faults - std::exchange(faults_[id], faults), now);
  }
}

// Each core looks at a slice of its table between bursts; in a large table not at all of it.
uint32_t Daemon::close_flows(config::BackendId id, uint32_t most) {
  constexpr uint32_t kSlice = 1024;
  constexpr uint32_t kMostLookedAt = 65536;
  uint32_t closed = 0;
  for (DataCore& core : cores_) {
    uint32_t looked_at = 0;
    core.loop->perform([&](engine::Core& c) {
      if (c.worker() == nullptr) return true;
      const flow::FlowIndex limit = c.worker()->flows().index_limit();
      if (core.close_next >= limit) core.close_next = 0;
      const flow::FlowIndex from = core.close_next;
      closed += c.worker()->close_flows(id, most - closed, core.close_next, kSlice);
      looked_at += core.close_next - from;
      return closed == most || looked_at >= std::min(limit, kMostLookedAt);
    });
  }
  return closed;
}

// By way of the first core, which has a queue on every port.
void Daemon::send(config::PortId port, base::Bytes frame) {
  rte_mbuf* m = rte_pktmbuf_alloc(ports_->mempool());
  if (m == nullptr) return;
  auto* room = rte_pktmbuf_append(m, static_cast<uint16_t>(frame.size()));
  if (room == nullptr) {
    rte_pktmbuf_free(m);
    return;
  }
  std::copy(frame.begin(), frame.end(), reinterpret_cast<uint8_t*>(room));
  m->port = port;
  dpdk::Inbox& inbox = fabric_->inbox(0);
  if (rte_ring_enqueue(inbox.transmit.get(), m) != 0) rte_pktmbuf_free(m);
  inbox.bell->ring();
}

base::Result<void> Daemon::adopt_limits(const config::Snapshot& snapshot) {
  const uint64_t flows = uint64_t{snapshot.settings.max_flows} * shared_.workers.size();
  return shared_.gates.adopt(snapshot, shared_.secret, flows);
}

config::IdUse Daemon::id_use() const {
  config::IdUse use;
  use.listener = [this](config::ListenerId id) {
    return sums_.listener(id, &engine::ListenerCounters::flows) > 0;
  };
  use.backend = [this](config::BackendId id) {
    return sums_.backend(id, &engine::BackendCounters::flows) > 0;
  };
  use.snat = [this](config::SnatId id) {
    return std::any_of(cores_.begin(), cores_.end(), [id](const DataCore& core) {
      return core.loop->core().objects().snats[id].value() > 0;
    });
  };
  use.fresh = [this](config::BackendId id) { return states_->is_fresh(id); };
  return use;
}

// Publishes a new configuration and frees the old one when no core reads it any more. Cores pass a
// quiescent state each loop, so the wait is short.
base::Result<void> Daemon::apply(const config::Model& model) {
  const auto same_port = [](const config::Port& a, const config::Port& b) {
    return a.name == b.name && a.device == b.device && a.role == b.role && a.mtu == b.mtu;
  };
  const auto same_core = [](const config::Core& a, const config::Core& b) {
    return a.lcore == b.lcore && a.role == b.role;
  };
  if (!std::equal(model.ports.begin(), model.ports.end(), model_.ports.begin(), model_.ports.end(),
                  same_port) ||
      !std::equal(model.cores.begin(), model.cores.end(), model_.cores.begin(), model_.cores.end(),
                  same_core)) {
    return base::fail("ports and cores cannot change while the daemon runs");
  }
  if (model.settings.max_flows != model_.settings.max_flows ||
      model.settings.max_connecting != model_.settings.max_connecting) {
    return base::fail("max-flows and max-connecting cannot change while the daemon runs");
  }
  if (auto valid = config::validate(model); !valid) return valid;
  if (auto supported = config::check_supported(model); !supported) return supported;
  const config::IdUse in_use = id_use();
  for (const config::SnatPool& pool : model.snat_pools) {
    for (config::SnatId id = 0; id < snapshot_->snats.size(); ++id) {
      const config::SnatEntry& now = snapshot_->snats[id];
      const auto& all = pool.addresses;
      const bool kept = (!now.retired || in_use.snat(id)) &&
                        std::find(all.begin(), all.end(), now.address) != all.end();
      if (kept && (now.first_port != pool.first_port || now.last_port != pool.last_port)) {
        return base::fail("the ports of SNAT pool " + pool.name +
                          " cannot change while it has addresses in use");
      }
    }
  }
  auto next = config::compile(model, snapshot_.get(), in_use);
  if (!next) return tl::unexpected(next.error());
  if (auto done = adopt_limits(**next); !done) return done;
  states_->adopt(**next, clock_.now());
  sums_.adopt(*snapshot_, **next);
  board_.snapshot.store(next->get(), std::memory_order_release);
  fabric_->ring_all();
  const uint64_t token = rte_rcu_qsbr_start(rcu_.get());
  rte_rcu_qsbr_check(rcu_.get(), token, true);
  health_->adopt(**next, clock_.now());
  snapshot_ = std::move(*next);
  model_ = model;
  resolver_->adopt(*snapshot_, clock_.now());
  return {};
}

}  // namespace mqlb::app
