// Which backends a new client is offered to, in which order.
//
// The Maglev table holds the configured backends, whatever their state, and one that takes no
// client is passed over in the table's own order. So only its clients go elsewhere, spread over all
// others, and they return when it does. One that was added has its clients come to it likewise,
// from where they were: as long as it does not take a client, the table without it decides.
#pragma once

#include <algorithm>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "lib/engine/backend_status.hh"

namespace mqlb::engine {

// Where a backend stands toward one client. Those that take it are asked first; then the others in
// this order.
enum class Standing : uint8_t {
  takes,
  over_load,   // above its load limit
  slow_start,  // it is back or new, and does not take this client's key yet
  backup,      // for when no other is left
  failing,     // connections to it failed lately
  draining,    // for when all others are gone
  full,        // has its max-connections; this and those below are never asked
  maintenance,
  down,
};
[[nodiscard]] std::string_view to_string(Standing standing);

// The turns of one pool's backends on one core: smooth weighted round robin, in which each has had
// its share after any number of turns, give or take one.
class Turns {
 public:
  // Weights by member, all zero, to be filled in for those that take part in the next turn.
  [[nodiscard]] std::span<uint32_t> begin(size_t members);
  // The members in the order in which they are due, the first of which has its turn; fills at most
  // out.size() and returns how many.
  size_t take(std::span<maglev::MemberIndex> out);

 private:
  std::vector<int64_t> credits_;
  std::vector<uint32_t> weights_;
};

class Selector {
 public:
  static constexpr size_t kMost = 16;  // brokers for one client: the range of connect-tries

  // Told of each backend that was looked at, in order.
  using Note = std::function<void(config::BackendId, Standing)>;

  Selector(const config::Snapshot& snapshot, const BackendStatusTable& status,
           const BackendLoads& loads)
      : snapshot_(snapshot), status_(status), loads_(loads) {}

  // The first brokers to try for a client: fills at most out.size() and returns how many. hash: of
  // what the policy says, or anything else that differs from client to client. turns: of the pool,
  // for round robin.
  size_t select(const config::PoolEntry& pool, config::KeyPolicy policy, uint64_t hash,
                Turns& turns, std::span<config::BackendId> out, const Note& note = {}) const;

  // Whether, where none was selected, one would take clients but for its max-connections.
  [[nodiscard]] bool is_full(const config::PoolEntry& pool) const {
    return std::any_of(pool.backends.begin(), pool.backends.end(),
                       [this](config::BackendId id) { return judge(id) == Standing::full; });
  }

  // False if it has gone down since it was selected.
  [[nodiscard]] bool may_try(config::BackendId id) const {
    return status_.lookup(id).availability < Availability::maintenance;
  }

  [[nodiscard]] bool drains(config::BackendId id) const {
    return status_.lookup(id).availability == Availability::drain;
  }

 private:
  class Choice;

  void by_hash(const config::PoolEntry& pool, uint64_t hash, Choice& choice) const;
  void by_hash_with_fresh(const config::PoolEntry& pool, uint64_t hash, Choice& choice) const;
  void by_turns(const config::PoolEntry& pool, Turns& turns, Choice& choice) const;
  void by_load(const config::PoolEntry& pool, uint64_t hash, Choice& choice) const;
  [[nodiscard]] Standing judge(config::BackendId id) const;
  [[nodiscard]] Standing judge(config::BackendId id, uint64_t hash) const;
  [[nodiscard]] bool is_fresh(config::BackendId id) const;
  // Of those that stand best; `full` or below if none may be asked.
  [[nodiscard]] Standing best_standing(const config::PoolEntry& pool) const;
  [[nodiscard]] uint32_t weight(config::BackendId id) const;

  const config::Snapshot& snapshot_;
  const BackendStatusTable& status_;
  const BackendLoads& loads_;
};

}  // namespace mqlb::engine
