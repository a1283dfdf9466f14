// What the daemon tells the command interpreter of its live state.
#include <rte_lcore.h>
#include <rte_mempool.h>

#include <algorithm>
#include <array>
#include <map>

#include "app/mqlb/daemon.hh"

namespace mqlb::app {
namespace {

using base::Counter;

template <typename Texts, typename Get>
void add_counters(std::vector<cli::CounterRow>& rows, const char* group, const Texts& texts,
                  Get get) {
  for (size_t i = 0; i < texts.size(); ++i) {
    rows.push_back({group, std::string(texts[i].name), std::string(texts[i].help), get(i)});
  }
}

const char* text(flow::WorkerState state) {
  switch (state) {
    case flow::WorkerState::free:
      return "free";
    case flow::WorkerState::await_connect:
      return "await-connect";
    case flow::WorkerState::opening:
      return "opening";
    case flow::WorkerState::spliced:
      return "spliced";
    case flow::WorkerState::closing:
      return "closing";
    case flow::WorkerState::refusing:
      return "refusing";
  }
  return "";
}

bool has_broker(flow::WorkerState state) {
  return state == flow::WorkerState::spliced || state == flow::WorkerState::closing;
}

// By backend: which part of its pool's table it has, 0 to 1.
std::vector<double> shares(const config::Snapshot& snapshot) {
  std::vector<double> shares(snapshot.backends.size());
  for (const config::PoolEntry& pool : snapshot.pools) {
    std::vector<uint32_t> own(pool.backends.size());
    const auto slots = pool.table.slots();
    for (const maglev::MemberIndex m : slots) ++own[m];
    for (size_t m = 0; m < own.size() && !slots.empty(); ++m) {
      shares[pool.backends[m]] = static_cast<double>(own[m]) / static_cast<double>(slots.size());
    }
  }
  return shares;
}

}  // namespace

std::vector<cli::CounterRow> Daemon::counters() {
  std::vector<cli::CounterRow> rows;
  const auto sum = [this](auto member) {
    return [this, member](size_t i) {
      uint64_t total = 0;
      for (const DataCore& core : cores_)
        total += (core.loop->core().counters().*member)[i].value();
      return total;
    };
  };
  add_counters(rows, "drop", base::kDropTexts, sum(&base::CoreCounters::drops));
  add_counters(rows, "end", base::kEndTexts, sum(&base::CoreCounters::ends));
  add_counters(rows, "event", base::kEventTexts, sum(&base::CoreCounters::events));
  return rows;
}

std::vector<cli::PortRow> Daemon::ports() {
  std::vector<cli::PortRow> rows;
  for (config::PortId id = 0; id < snapshot_->ports.size(); ++id) {
    const config::PortEntry& port = snapshot_->ports[id];
    const dpdk::PortStatistics s = ports_->statistics(id);
    cli::PortRow row;
    row.name = port.name;
    row.device = port.device;
    row.role = config::to_string(port.role);
    row.mac = wire::to_string(ports_->mac(id));
    row.link = s.link_up ? "up" : "down";
    row.mtu = port.mtu;
    row.rx_packets = s.rx_packets;
    row.rx_bytes = s.rx_bytes;
    row.rx_missed = s.rx_missed;
    row.rx_errors = s.rx_errors;
    row.tx_packets = s.tx_packets;
    row.tx_bytes = s.tx_bytes;
    for (const DataCore& core : cores_) {
      row.tx_full += core.loop->core().tx_full(id);
      if (ports_->spread(id) == dpdk::Spread::rss) {
        row.missteered += core.loop->core().missteered(id);
      }
    }
    row.spread = dpdk::to_string(dpdk::judge(ports_->spread(id), row.missteered));
    rows.push_back(row);
  }
  return rows;
}

std::vector<cli::CoreRow> Daemon::cores() {
  std::vector<cli::CoreRow> rows;
  for (DataCore& core : cores_) {
    const base::CoreCounters& c = core.loop->core().counters();
    const auto event = [&c](base::Event e) { return c.events[static_cast<size_t>(e)].value(); };
    cli::CoreRow row;
    row.lcore = core.lcore;
    row.role = config::to_string(core.role);
    row.loops = core.loop->loops();
    row.idle_loops = core.loop->idle_loops();
    row.rx_packets = event(base::Event::frames_in);
    row.handed_over = event(base::Event::frames_handed_over);
    core.loop->perform([&row](engine::Core& c2) {
      row.flows = c2.worker() ? c2.worker()->flows().size() : c2.proxy()->flows().size();
      row.connecting = c2.worker() ? c2.worker()->connecting() : c2.proxy()->opening();
      return true;
    });
    rows.push_back(row);
  }
  return rows;
}

std::vector<cli::BufferRow> Daemon::buffers() {
  const rte_mempool* pool = ports_->mempool();
  return {{pool->name, pool->size, rte_mempool_in_use_count(pool)}};
}

std::vector<cli::NeighbourRow> Daemon::neighbours() {
  std::vector<cli::NeighbourRow> rows;
  for (const engine::NeighbourResolver::Row& r : resolver_->rows(clock_.now())) {
    const config::NextHopEntry& next_hop = snapshot_->next_hops[r.id];
    wire::MacAddress mac;
    const bool resolved = shared_.neighbours.lookup(r.id, mac);
    cli::NeighbourRow row;
    row.port = snapshot_->ports[next_hop.port].name;
    row.address = wire::to_string(next_hop.address);
    row.mac = resolved ? wire::to_string(mac) : "-";
    row.state = !resolved ? "resolving" : r.stale ? "stale" : "resolved";
    row.age_seconds = resolved ? static_cast<uint32_t>(r.age.count() / 1'000'000) : uint32_t{0};
    rows.push_back(row);
  }
  return rows;
}

std::vector<cli::BackendRow> Daemon::backends() {
  const std::vector<double> share = shares(*snapshot_);
  std::vector<cli::BackendRow> rows;
  for (config::BackendId id = 0; id < snapshot_->backends.size(); ++id) {
    const config::BackendEntry& b = snapshot_->backends[id];
    const auto sum = [this, id](Counter engine::BackendCounters::*member) {
      return sums_.backend(id, member);
    };
    cli::BackendRow row;
    row.flows = sum(&engine::BackendCounters::flows);
    if (b.retired && row.flows == 0) continue;
    const config::PoolEntry& pool = snapshot_->pools[b.pool];
    row.pool = pool.name;
    row.name = b.name;
    row.endpoint = wire::to_string(b.endpoint);
    const control::BackendStates::Row state = states_->row(id, clock_.now());
    row.state = b.retired ? "retired" : control::to_string(state.state);
    row.why = state.why;
    row.since_seconds = static_cast<uint64_t>(state.since.count()) / 1'000'000;
    row.taking = state.taking;
    row.closed = state.closed;
    row.backup = b.backup;
    row.max_connections = b.max_connections;
    row.weight = b.weight;
    row.share = share[id];
    row.selected = sum(&engine::BackendCounters::selected);
    row.established = sum(&engine::BackendCounters::established);
    row.connect_failures = sum(&engine::BackendCounters::failures);
    row.bytes_to_backend = sum(&engine::BackendCounters::bytes_to_backend);
    row.bytes_to_client = sum(&engine::BackendCounters::bytes_to_client);
    rows.push_back(row);
  }
  return rows;
}

std::vector<cli::HealthRow> Daemon::health() {
  std::vector<cli::HealthRow> rows;
  for (const control::HealthMonitor::Row& r : health_->rows(clock_.now())) {
    const config::BackendEntry& backend = snapshot_->backends[r.id];
    const config::PoolEntry& pool = snapshot_->pools[backend.pool];
    cli::HealthRow row;
    row.pool = pool.name;
    row.backend = backend.name;
    row.checked = wire::to_string(r.checked);
    row.check = config::to_string(pool.check.kind);
    row.state = r.up ? "up" : "down";
    row.since_seconds = static_cast<uint64_t>(r.since.count()) / 1'000'000;
    row.last = r.checks == 0 ? "none" : r.passed ? "passed" : "failed";
    row.why = r.why;
    row.took_us = static_cast<uint64_t>(r.took.count());
    row.ago_ms = static_cast<uint64_t>(r.ago.count()) / 1'000;
    row.checks = r.checks;
    row.fails = r.failures;
    row.toward_change = r.contrary;
    row.needed = r.up ? pool.check.fall : pool.check.rise;
    row.options = r.options;
    rows.push_back(row);
  }
  return rows;
}

std::vector<cli::ListenerRow> Daemon::listeners() {
  std::vector<cli::ListenerRow> rows;
  for (config::ListenerId id = 0; id < snapshot_->listeners.size(); ++id) {
    const config::ListenerEntry& l = snapshot_->listeners[id];
    const auto sum = [this, id](Counter engine::ListenerCounters::*member) {
      return sums_.listener(id, member);
    };
    cli::ListenerRow row;
    row.flows = sum(&engine::ListenerCounters::flows);
    if (l.retired && row.flows == 0) continue;
    row.name = l.name;
    row.endpoint = wire::to_string(l.endpoint);
    row.pool = snapshot_->pools[l.pool].name;
    row.state = l.retired ? "retired" : "active";
    row.mode = config::to_string(l.mode);
    row.accepted = sum(&engine::ListenerCounters::accepted);
    row.spliced = sum(&engine::ListenerCounters::spliced);
    row.refused = sum(&engine::ListenerCounters::refused);
    row.denied = sum(&engine::ListenerCounters::denied);
    row.over_limit = sum(&engine::ListenerCounters::over_limit);
    row.over_source_limit = sum(&engine::ListenerCounters::over_source_limit);
    row.over_client_id_rate = sum(&engine::ListenerCounters::over_client_id_rate);
    row.connections = shared_.gates[id].connections.load(std::memory_order_relaxed);
    rows.push_back(row);
  }
  return rows;
}

std::vector<control::SnatWatch::Use> Daemon::port_uses() {
  std::vector<control::SnatWatch::Use> uses;
  for (DataCore& core : cores_) {
    core.loop->perform([&](engine::Core& c) {
      if (c.proxy() == nullptr) return true;
      for (const engine::Proxy::PortUse& use : c.proxy()->port_use()) {
        const uint64_t used = uint64_t{use.in_use} + use.quarantined;
        uses.push_back({core.lcore, use.snat, use.broker, used, use.capacity});
        uses.back().in_use = use.in_use;
      }
      return true;
    });
  }
  return uses;
}

std::vector<cli::SnatRow> Daemon::snats() {
  std::map<std::pair<config::SnatId, wire::Endpoint>, cli::SnatRow> rows;
  for (const control::SnatWatch::Use& use : port_uses()) {
    cli::SnatRow& row = rows[{use.snat, use.broker}];
    row.in_use += use.in_use;
    row.quarantined += use.used - use.in_use;
    row.capacity += use.ports;
    const uint64_t percent = use.ports == 0 ? 100 : use.used * 100 / use.ports;
    row.fullest_percent = std::max(row.fullest_percent, percent);
  }
  std::vector<cli::SnatRow> out;
  for (auto& [key, row] : rows) {
    const config::SnatEntry& snat = snapshot_->snats[key.first];
    if (snat.address.is_unspecified()) continue;  // removed, and forgotten
    for (const config::SnatPool& pool : model_.snat_pools) {
      const auto& all = pool.addresses;
      if (std::find(all.begin(), all.end(), snat.address) != all.end()) row.pool = pool.name;
    }
    row.address = wire::to_string(snat.address);
    row.ports = std::to_string(snat.first_port) + "-" + std::to_string(snat.last_port);
    row.backend = wire::to_string(key.second);
    out.push_back(std::move(row));
  }
  return out;
}

// Each core looks at a slice of its table between bursts, so packets do not wait.
std::vector<cli::FlowRow> Daemon::flows(const cli::FlowFilter& filter) {
  constexpr uint32_t kSlice = 256;
  std::vector<cli::FlowRow> rows;
  for (DataCore& core : cores_) {
    flow::FlowIndex next = 0;
    core.loop->perform([&](engine::Core& c) {
      if (c.worker() == nullptr) return true;
      flow::WorkerTable& table = c.worker()->flows();
      const flow::FlowIndex end = std::min(next + kSlice, table.index_limit());
      for (; next < end && rows.size() < filter.limit; ++next) {
        const flow::WorkerFlow& f = table[next];
        if (f.state == flow::WorkerState::free) continue;
        const config::BackendEntry* backend =
            has_broker(f.state) ? &snapshot_->backends[f.backend] : nullptr;
        const flow::WorkerFlowRest& rest = table.rest(next);
        const config::ListenerEntry& listener = snapshot_->listeners[rest.listener];
        const uint64_t hash = rest.client_id_hash;
        if (filter.client_id_hash && *filter.client_id_hash != hash) continue;
        if (!filter.backend.empty() && (backend == nullptr || backend->name != filter.backend)) {
          continue;
        }
        if (!filter.listener.empty() && listener.name != filter.listener) continue;
        cli::FlowRow row;
        const bool is_v4 = listener.endpoint.address.is_v4();
        row.client = wire::to_string(wire::Endpoint{table.client_address(next, is_v4), f.key.port});
        row.listener = listener.name;
        if (backend != nullptr) {
          row.pool = snapshot_->pools[backend->pool].name;
          row.backend = backend->name;
          row.snat = wire::to_string(wire::Endpoint{snapshot_->snats[f.snat].address, f.snat_port});
        }
        row.state = text(f.state);
        row.client_id_hash = hash;
        row.bytes_to_backend = f.to_broker();
        row.bytes_to_client = f.to_client();
        row.idle_seconds = c.context().now_seconds - f.last_seen;
        row.timeout_seconds = uint32_t{rest.idle_timeout} * flow::kIdleUnit;
        rows.push_back(row);
      }
      return next >= table.index_limit() || rows.size() >= filter.limit;
    });
  }
  return rows;
}

}  // namespace mqlb::app
