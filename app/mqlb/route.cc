// Where a client would go now, and why: what the workers and proxies would choose, asked by hand.
#include <algorithm>

#include "app/mqlb/daemon.hh"
#include "lib/base/bytes.hh"
#include "lib/engine/selection.hh"
#include "lib/maglev/maglev.hh"

namespace mqlb::app {
namespace {

base::Result<const config::PoolEntry*> find_pool(const config::Snapshot& snapshot,
                                                 const std::string& name) {
  const config::PoolEntry* pool = nullptr;
  size_t active = 0;
  for (const config::PoolEntry& p : snapshot.pools) {
    if (p.retired) continue;
    ++active;
    if (name.empty() || p.name == name) pool = &p;
  }
  if (pool == nullptr) return base::fail("no pool '" + name + "'");
  if (name.empty() && active > 1) {
    return base::fail("there are several pools: name one, or a listener");
  }
  return pool;
}

// What Worker::choose_key() goes by where the client says nothing of itself.
config::KeyPolicy policy_unread(const config::PoolEntry& pool) {
  using config::KeyPolicy;
  for (const KeyPolicy policy : {pool.key, pool.fallback}) {
    if (policy != KeyPolicy::client_id && policy != KeyPolicy::user_name) return policy;
  }
  return KeyPolicy::source_address;
}

// rule: its name, if one chooses the pool.
base::Result<const config::PoolEntry*> pool_of_listener(const config::Snapshot& snapshot,
                                                        const cli::RouteQuery& query,
                                                        std::string& rule) {
  const auto listener = std::ranges::find_if(
      snapshot.listeners, [&](const auto& l) { return !l.retired && l.name == query.listener; });
  if (listener == snapshot.listeners.end())
    return base::fail("no listener '" + query.listener + "'");
  if (listener->mode == config::ListenerMode::tcp) {
    const config::PoolEntry& pool = snapshot.pools[listener->pool];
    return base::fail("listener " + listener->name +
                      " is in mode tcp: it reads no Client ID; pool " + pool.name + " picks by " +
                      std::string(to_string(policy_unread(pool))));
  }
  mqtt::Connect connect;
  connect.version = query.version;
  connect.client_id = base::as_bytes(query.client_id);
  connect.user_name = base::as_bytes(query.user_name);
  const config::RuleEntry* met = listener->rule_for(connect);
  if (met != nullptr) rule = met->name;
  return &snapshot.pools[met == nullptr ? listener->pool : met->pool];
}

// By the first of the pool's policies that says anything of the client, as Worker::choose_key().
base::Result<uint64_t> hash_of(const config::PoolEntry& pool, const cli::RouteQuery& query) {
  using config::KeyPolicy;
  for (const KeyPolicy policy : {pool.key, pool.fallback}) {
    const bool by_name = policy == KeyPolicy::user_name;
    if (!by_name && policy != KeyPolicy::client_id) break;
    const std::string& key = by_name ? query.user_name : query.client_id;
    if (!key.empty()) return maglev::hash_key(base::as_bytes(key), pool.hash_seed);
  }
  const bool by_client_id = pool.key == KeyPolicy::client_id;
  if (by_client_id) return base::fail("an empty Client ID is routed by the pool's fallback");
  const bool by_user_name = pool.key == KeyPolicy::user_name;
  if (by_user_name) return base::fail("pool " + pool.name + " routes by user name: give one");
  return base::fail("pool " + pool.name + " does not route by Client ID");
}

}  // namespace

base::Result<cli::RouteAnswer> Daemon::route(const cli::RouteQuery& query) {
  cli::RouteAnswer answer;
  const auto pool = query.listener.empty() ? find_pool(*snapshot_, query.pool)
                                           : pool_of_listener(*snapshot_, query, answer.rule);
  if (!pool) return tl::unexpected(pool.error());
  const auto hash = hash_of(**pool, query);
  if (!hash) return tl::unexpected(hash.error());
  if ((*pool)->table.empty()) return base::fail("pool " + (*pool)->name + " has no backend");
  answer.pool = (*pool)->name;
  answer.hash = *hash;
  choose(**pool, answer);
  return answer;
}

// The backends that would be tried, in order, and those that are passed over for the first: what
// was looked at before it, or, where nobody takes the client, all others.
void Daemon::choose(const config::PoolEntry& pool, cli::RouteAnswer& answer) {
  answer.slot = answer.hash % pool.table.size();
  const engine::Selector selector(*snapshot_, shared_.status, shared_.loads);
  std::array<config::BackendId, engine::Selector::kMost> ids;
  engine::Turns none;
  std::vector<std::pair<config::BackendId, engine::Standing>> seen;
  const auto note = [&](config::BackendId id, engine::Standing standing) {
    seen.emplace_back(id, standing);
  };
  const size_t count =
      selector.select(pool, config::KeyPolicy::client_id, answer.hash, none,
                      std::span(ids).first(std::min<size_t>(pool.connect_tries, ids.size())), note);
  for (size_t i = 0; i < count; ++i) {
    const config::BackendEntry& backend = snapshot_->backends[ids[i]];
    if (i == 0) {
      answer.backend = backend.name;
      answer.endpoint = wire::to_string(backend.endpoint);
    } else {
      answer.next.push_back(backend.name);
    }
  }
  for (const auto& [id, standing] : seen) {
    const std::string why(engine::to_string(standing));
    const bool chosen = count > 0 && id == ids[0];
    if (chosen) answer.because = why;
    if (standing == engine::Standing::takes) break;
    if (!chosen) answer.passed_over.push_back(snapshot_->backends[id].name + ": " + why);
  }
}

}  // namespace mqlb::app
