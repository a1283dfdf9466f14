#include "lib/config/snapshot.hh"

#include <algorithm>
#include <map>
#include <optional>

#include "lib/base/glob.hh"
#include "lib/config/routing.hh"

namespace mqlb::config {
namespace {

using base::fail;
using base::Result;

constexpr size_t kNone = SIZE_MAX;
constexpr NextHopId kUnresolved = kMaxNextHops;  // of a backend placed, until its hop is

// Gives the objects of one kind their slots in the next snapshot. It starts from the previous
// slots, all retired. claim() takes the slot of the same object; when all have claimed, place()
// takes a free slot for a new one. Only a slot that was retired already in the previous snapshot
// may be given away: until now cores made flows with the others.
template <typename Entry>
class Slots {
 public:
  Slots(const std::vector<Entry>* previous, size_t most) : most_(most) {
    if (!previous) return;
    entries_ = *previous;
    for (Entry& e : entries_) {
      was_retired_.push_back(e.retired);
      e.retired = true;
    }
  }

  // Empties the slots of entries that nothing refers to any more.
  template <typename InUse>
  void forget_unused(InUse in_use) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!was_retired_[i] || in_use(i)) continue;
      entries_[i] = Entry{};
      entries_[i].retired = true;
    }
  }

  // The slot whose entry is `same`, or kNone.
  template <typename Same>
  size_t claim(Same same) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (same(entries_[i])) {
        entries_[i].retired = false;
        return i;
      }
    }
    return kNone;
  }

  // A slot for a new entry, or kNone when all are taken.
  template <typename InUse>
  size_t place(InUse in_use) {
    for (size_t i = 0; i < was_retired_.size(); ++i) {
      if (entries_[i].retired && was_retired_[i] && !in_use(i)) {
        entries_[i] = Entry{};
        return i;
      }
    }
    if (entries_.size() == most_) return kNone;
    entries_.emplace_back();
    return entries_.size() - 1;
  }

  // True if flows may hold this id: it is active, or was until now, or is said to be in use.
  template <typename InUse>
  [[nodiscard]] bool held(size_t i, InUse in_use) const {
    return !entries_[i].retired || i >= was_retired_.size() || !was_retired_[i] || in_use(i);
  }

  Entry& operator[](size_t i) { return entries_[i]; }
  [[nodiscard]] const Entry& operator[](size_t i) const { return entries_[i]; }
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] std::vector<Entry> take() { return std::move(entries_); }

 private:
  std::vector<Entry> entries_;
  std::vector<bool> was_retired_;
  size_t most_;
};

// What a pool's tables are built from. A backend's name alone decides its places, so that balancers
// with the same names agree. Without weight it gets none, and the others keep their indices.
struct Members {
  std::vector<maglev::Member> all, settled;
  size_t fresh = 0;

  template <typename Backends>  // by BackendId
  Members(const std::vector<BackendId>& ids, const Backends& backends) {
    for (const BackendId id : ids) {
      const BackendEntry& b = backends[id];
      all.push_back({b.name, b.weight});
      settled.push_back({b.name, b.fresh ? 0 : b.weight});
      if (b.fresh) ++fresh;
    }
  }
};

class Compiler {
 public:
  Compiler(const Model& model, const Snapshot* previous, const IdUse& in_use)
      : model_(model),
        previous_(previous),
        in_use_(in_use),
        listeners_(previous ? &previous->listeners : nullptr, kMaxListeners),
        pools_(previous ? &previous->pools : nullptr, kMaxPools),
        backends_(previous ? &previous->backends : nullptr, kMaxBackends),
        snats_(previous ? &previous->snats : nullptr, kMaxSnats),
        next_hops_(previous ? &previous->next_hops : nullptr, kMaxNextHops) {}

  Result<std::unique_ptr<const Snapshot>> run();

 private:
  void place_ports();
  Result<void> place_snats();
  Result<void> place_pools();
  Result<void> place_backends();
  Result<void> place_next_hops();
  Result<void> place_listeners();
  [[nodiscard]] ListenerEntry make_listener(const Listener& l) const;
  [[nodiscard]] PoolId pool_id(const std::string& name) const;
  [[nodiscard]] bool is_fresh(size_t id, const Pool& pool, const Backend& backend) const;
  void fill_pools();
  void fill_tables(PoolEntry& entry, size_t id, uint32_t size) const;
  [[nodiscard]] maglev::Table table_of(size_t pool, const std::vector<maglev::Member>& members,
                                       uint32_t size) const;
  void retire_pools();

  [[nodiscard]] bool listener_in_use(size_t id) const {
    return !in_use_.listener || in_use_.listener(static_cast<ListenerId>(id));
  }
  [[nodiscard]] bool backend_in_use(size_t id) const {
    return !in_use_.backend || in_use_.backend(static_cast<BackendId>(id));
  }
  [[nodiscard]] bool snat_in_use(size_t id) const {
    return !in_use_.snat || in_use_.snat(static_cast<SnatId>(id));
  }
  [[nodiscard]] bool backend_held(size_t id) const {
    return backends_.held(id, [this](size_t i) { return backend_in_use(i); });
  }
  [[nodiscard]] bool pool_in_use(size_t id);
  [[nodiscard]] bool next_hop_in_use(size_t id);
  [[nodiscard]] std::string_view previous_pool_name(PoolId id) const {
    return previous_->pools[id].name;
  }

  const Model& model_;
  const Snapshot* previous_;
  const IdUse& in_use_;
  std::vector<PortEntry> ports_;
  Slots<ListenerEntry> listeners_;
  Slots<PoolEntry> pools_;
  Slots<BackendEntry> backends_;
  Slots<SnatEntry> snats_;
  Slots<NextHopEntry> next_hops_;
  std::map<wire::IpAddress, SnatId> snat_ids_;
  std::vector<size_t> pool_ids_;                  // by position in Model::pools
  std::vector<std::vector<size_t>> backend_ids_;  // and in Pool::backends
};

bool Compiler::pool_in_use(size_t id) {
  for (size_t i = 0; i < backends_.size(); ++i) {
    if (backends_[i].pool == id && backend_held(i)) return true;
  }
  for (size_t i = 0; i < listeners_.size(); ++i) {
    const auto in_use = [this](size_t l) { return listener_in_use(l); };
    const std::vector<PoolId> pools = listeners_[i].pools();
    const bool uses = std::find(pools.begin(), pools.end(), id) != pools.end();
    if (uses && listeners_.held(i, in_use)) return true;
  }
  return false;
}

bool Compiler::next_hop_in_use(size_t id) {
  for (size_t i = 0; i < backends_.size(); ++i) {
    if (backends_[i].next_hop == id && backend_held(i)) return true;
  }
  return false;
}

void Compiler::place_ports() {
  for (const Port& p : model_.ports) {
    ports_.push_back({p.name, p.device, p.role, p.mtu, p.addresses});
  }
}

Result<void> Compiler::place_snats() {
  std::vector<std::pair<const SnatPool*, wire::IpAddress>> fresh;
  for (const SnatPool& pool : model_.snat_pools) {
    for (const wire::IpAddress& address : pool.addresses) {
      const size_t id = snats_.claim([&](const SnatEntry& e) { return e.address == address; });
      if (id == kNone) {
        fresh.emplace_back(&pool, address);
      } else {
        snats_[id] = {address, pool.first_port, pool.last_port, false};
        snat_ids_[address] = static_cast<SnatId>(id);
      }
    }
  }
  for (const auto& [pool, address] : fresh) {
    const size_t id = snats_.place([this](size_t i) { return snat_in_use(i); });
    if (id == kNone) {
      return fail("no id is free for SNAT address " + to_string(address) +
                  ": removed addresses still carry flows");
    }
    snats_[id] = {address, pool->first_port, pool->last_port, false};
    snat_ids_[address] = static_cast<SnatId>(id);
  }
  return {};
}

// Before backends and listeners are placed: their stale entries say which pools flows still need.
Result<void> Compiler::place_pools() {
  for (const Pool& pool : model_.pools) {
    pool_ids_.push_back(pools_.claim([&](const PoolEntry& e) { return e.name == pool.name; }));
  }
  for (size_t i = 0; i < pool_ids_.size(); ++i) {
    if (pool_ids_[i] != kNone) continue;
    pool_ids_[i] = pools_.place([this](size_t id) { return pool_in_use(id); });
    if (pool_ids_[i] == kNone) {
      return fail("no id is free for pool '" + model_.pools[i].name +
                  "': removed pools still carry flows");
    }
    pools_[pool_ids_[i]].name = model_.pools[i].name;
  }
  return {};
}

Result<void> Compiler::place_backends() {
  for (const Pool& pool : model_.pools) {
    std::vector<size_t>& ids = backend_ids_.emplace_back();
    for (const Backend& b : pool.backends) {
      ids.push_back(backends_.claim([&](const BackendEntry& e) {
        return e.retired && e.name == b.name && e.endpoint == b.endpoint &&
               previous_pool_name(e.pool) == pool.name;
      }));
    }
  }
  for (size_t p = 0; p < model_.pools.size(); ++p) {
    const Pool& pool = model_.pools[p];
    for (size_t b = 0; b < backend_ids_[p].size(); ++b) {
      const Backend& backend = pool.backends[b];
      size_t& id = backend_ids_[p][b];
      if (id == kNone) id = backends_.place([this](size_t i) { return backend_in_use(i); });
      if (id == kNone) {
        return fail("no id is free for backend '" + backend.name +
                    "': removed backends still carry flows");
      }
      BackendEntry& entry = backends_[id];
      if (entry.name.empty()) entry.next_hop = kUnresolved;
      entry.name = backend.name;
      entry.pool = static_cast<PoolId>(pool_ids_[p]);
      entry.endpoint = backend.endpoint;
      entry.weight = backend.weight;
      entry.state = backend.state;
      entry.drain_rate = backend.drain_rate;
      entry.backup = backend.backup;
      entry.max_connections = backend.max_connections;
      entry.retired = false;
      entry.fresh = is_fresh(id, pool, backend);
    }
  }
  return {};
}

// A backup is kept from clients for good, so they need not wait for it.
bool Compiler::is_fresh(size_t id, const Pool& pool, const Backend& backend) const {
  if (!previous_ || backend.backup) return false;
  const bool added = id >= previous_->backends.size() || previous_->backends[id].retired;
  if (added) return pool.slow_start.count() > 0 || backend.state != AdminState::up;
  return in_use_.fresh && in_use_.fresh(static_cast<BackendId>(id));
}

// Flows of a retired backend go on to be sent to the next hop it had.
Result<void> Compiler::place_next_hops() {
  struct Wanted {
    BackendEntry* backend;
    Hop hop;
    size_t id;
  };
  std::vector<Wanted> wanted;
  for (size_t i = 0; i < backends_.size(); ++i) {
    BackendEntry& b = backends_[i];
    if (b.retired) {
      if (backend_held(i)) next_hops_[b.next_hop].retired = false;
      continue;
    }
    const std::optional<Hop> hop = lookup_hop(model_, b.endpoint.address);
    if (!hop) return fail("backend '" + b.name + "' cannot be reached");
    const auto same = [&](const NextHopEntry& e) {
      return e.address == hop->address && e.port == hop->port;
    };
    wanted.push_back({&b, *hop, next_hops_.claim(same)});
  }
  for (Wanted& w : wanted) {
    const auto same = [&](const NextHopEntry& e) {
      return !e.retired && e.address == w.hop.address && e.port == w.hop.port;
    };
    if (w.id == kNone) w.id = next_hops_.claim(same);
    if (w.id == kNone) w.id = next_hops_.place([this](size_t i) { return next_hop_in_use(i); });
    if (w.id == kNone) {
      return fail("backends are behind more than " + std::to_string(kMaxNextHops) + " neighbours");
    }
    const auto port = static_cast<PortId>(w.hop.port);
    next_hops_[w.id] = {w.hop.address, port, w.hop.source, false};
    w.backend->next_hop = static_cast<NextHopId>(w.id);
    w.backend->port = port;
  }
  return {};
}

Result<void> Compiler::place_listeners() {
  std::vector<size_t> ids;
  for (const Listener& l : model_.listeners) {
    ids.push_back(listeners_.claim([&](const ListenerEntry& e) {
      return e.retired && e.name == l.name && e.endpoint == l.endpoint;
    }));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    const Listener& l = model_.listeners[i];
    if (ids[i] == kNone)
      ids[i] = listeners_.place([this](size_t id) { return listener_in_use(id); });
    if (ids[i] == kNone) {
      return fail("no id is free for listener '" + l.name +
                  "': removed listeners still carry flows");
    }
    listeners_[ids[i]] = make_listener(l);
  }
  return {};
}

ListenerEntry Compiler::make_listener(const Listener& l) const {
  ListenerEntry entry;
  entry.name = l.name;
  entry.endpoint = l.endpoint;
  entry.mode = l.mode;
  entry.max_connect_bytes = l.max_connect_bytes;
  entry.connect_deadline = l.connect_deadline;
  entry.idle_timeout =
      l.idle_timeout.count() > 0 ? l.idle_timeout : base::Duration(model_.settings.idle_max);
  entry.admission = compile_admission(l.admission);
  entry.pool = pool_id(l.pool);
  for (const Rule& rule : l.rules) {
    const PoolId to = pool_id(rule.pool);
    entry.rules.push_back({rule.name, rule.client_id, rule.user_name, rule.version, to});
  }
  const std::vector<PoolId> pools = entry.pools();
  std::optional<uint16_t> mtu;
  for (size_t p = 0; p < model_.pools.size(); ++p) {
    if (std::find(pools.begin(), pools.end(), pool_ids_[p]) == pools.end()) continue;
    for (const size_t b : backend_ids_[p]) {
      const uint16_t m = ports_[backends_[b].port].mtu;
      mtu = std::min(mtu.value_or(m), m);
    }
  }
  entry.backend_mtu = mtu.value_or(1500);
  return entry;
}

// name: of a pool of the model.
PoolId Compiler::pool_id(const std::string& name) const {
  const auto pool = std::find_if(model_.pools.begin(), model_.pools.end(),
                                 [&](const Pool& p) { return p.name == name; });
  return static_cast<PoolId>(pool_ids_[static_cast<size_t>(pool - model_.pools.begin())]);
}

void Compiler::fill_tables(PoolEntry& entry, size_t id, uint32_t size) const {
  const Members members(entry.backends, backends_);
  entry.table = table_of(id, members.all, size);
  if (members.fresh > 0) entry.settled = table_of(id, members.settled, size);
}

// One that the pool has now, if it was built from the same: most commands leave tables alone, and
// building them is what costs in a compile.
maglev::Table Compiler::table_of(size_t pool, const std::vector<maglev::Member>& members,
                                 uint32_t size) const {
  if (previous_ && pool < previous_->pools.size()) {
    const PoolEntry& now = previous_->pools[pool];
    const Members had(now.backends, previous_->backends);
    if (now.table.size() == size && had.all == members) return now.table;
    if (now.settled.size() == size && had.settled == members) return now.settled;
  }
  return maglev::Table::build(members, size);
}

void Compiler::fill_pools() {
  for (size_t p = 0; p < model_.pools.size(); ++p) {
    const Pool& pool = model_.pools[p];
    PoolEntry entry;
    entry.name = pool.name;
    entry.key = pool.key;
    entry.fallback = pool.fallback;
    entry.proxy_protocol = pool.proxy_protocol;
    entry.proxy_crc32c = pool.proxy_crc32c;
    entry.proxy_unique_id = pool.proxy_unique_id;
    entry.hash_seed = pool.hash_seed;
    entry.connect_tries = pool.connect_tries;
    entry.connect_timeout = pool.connect_timeout;
    entry.answer_timeout = pool.answer_timeout;
    entry.slow_start = pool.slow_start;
    entry.load_factor = pool.load_factor;
    entry.close_rate = pool.close_rate;
    entry.close_on_down = pool.close_on_down;
    entry.max_fails = pool.max_fails;
    entry.fail_timeout = pool.fail_timeout;
    for (const SnatPool& snat : model_.snat_pools) {
      if (snat.name != pool.snat) continue;
      for (const wire::IpAddress& address : snat.addresses) {
        entry.snats.push_back(snat_ids_.at(address));
      }
    }
    for (const size_t b : backend_ids_[p]) entry.backends.push_back(static_cast<BackendId>(b));
    fill_tables(entry, pool_ids_[p], pool.table_size);
    entry.check = pool.check;
    pools_[pool_ids_[p]] = std::move(entry);
  }
}

// No client is sent on by a removed pool.
void Compiler::retire_pools() {
  for (size_t i = 0; i < pools_.size(); ++i) {
    if (!pools_[i].retired) continue;
    pools_[i].backends.clear();
    pools_[i].table = {};
    pools_[i].settled = {};
    pools_[i].check = {};
  }
}

Result<std::unique_ptr<const Snapshot>> Compiler::run() {
  // What has an address of ours must not keep it: somebody else may have it by now.
  listeners_.forget_unused([this](size_t i) { return listener_in_use(i); });
  snats_.forget_unused([this](size_t i) { return snat_in_use(i); });
  place_ports();
  for (const auto step : {&Compiler::place_snats, &Compiler::place_pools, &Compiler::place_backends,
                          &Compiler::place_next_hops, &Compiler::place_listeners}) {
    if (auto r = (this->*step)(); !r) return tl::unexpected(r.error());
  }
  fill_pools();
  retire_pools();
  auto snapshot = std::make_unique<Snapshot>();
  snapshot->version = previous_ ? previous_->version + 1 : 1;
  snapshot->ports = std::move(ports_);
  snapshot->listeners = listeners_.take();
  snapshot->pools = pools_.take();
  snapshot->backends = backends_.take();
  snapshot->snats = snats_.take();
  snapshot->next_hops = next_hops_.take();
  snapshot->settings = model_.settings;
  return snapshot;
}

}  // namespace

bool RuleEntry::is_met_by(const mqtt::Connect& connect) const {
  return (!version || *version == connect.version) &&
         (client_id.empty() || base::matches_glob(client_id, base::as_text(connect.client_id))) &&
         (user_name.empty() || base::matches_glob(user_name, base::as_text(connect.user_name)));
}

const RuleEntry* ListenerEntry::rule_for(const mqtt::Connect& connect) const {
  for (const RuleEntry& rule : rules) {
    if (rule.is_met_by(connect)) return &rule;
  }
  return nullptr;
}

PoolId ListenerEntry::pool_for(const mqtt::Connect& connect) const {
  const RuleEntry* rule = rule_for(connect);
  return rule == nullptr ? pool : rule->pool;
}

std::vector<PoolId> ListenerEntry::pools() const {
  std::vector<PoolId> ids{pool};
  for (const RuleEntry& rule : rules) ids.push_back(rule.pool);
  return ids;
}

Result<std::unique_ptr<const Snapshot>> compile(const Model& model, const Snapshot* previous,
                                                const IdUse& in_use) {
  return Compiler(model, previous, in_use).run();
}

}  // namespace mqlb::config
