#include "lib/engine/selection.hh"

#include <algorithm>
#include <array>
#include <bitset>

namespace mqlb::engine {

using config::BackendId;
using config::KeyPolicy;
using config::PoolEntry;
using maglev::MemberIndex;

namespace {

constexpr uint32_t kWhole = 65536;  // of a backend's clients

// A place of the key that has nothing to do with its slot of the table.
uint32_t share_of(uint64_t hash) {
  return static_cast<uint32_t>((hash * 0x9e3779b97f4a7c15U) >> 48);
}

}  // namespace

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::takes:
      return "takes it";
    case Standing::over_load:
      return "above the load factor";
    case Standing::slow_start:
      return "slow start";
    case Standing::backup:
      return "backup";
    case Standing::failing:
      return "connections failed";
    case Standing::draining:
      return "drain";
    case Standing::full:
      return "max-connections";
    case Standing::maintenance:
      return "maintenance";
    case Standing::down:
      return "down";
  }
  return "?";
}

std::span<uint32_t> Turns::begin(size_t members) {
  if (credits_.size() != members) credits_.assign(members, 0);
  weights_.assign(members, 0);
  return weights_;
}

size_t Turns::take(std::span<MemberIndex> out) {
  int64_t total = 0;
  size_t count = 0;
  for (size_t m = 0; m < weights_.size(); ++m) {
    if (weights_[m] == 0) continue;
    credits_[m] += weights_[m];
    total += weights_[m];
    // In its place among those found, by falling credit.
    size_t at = count;
    while (at > 0 && credits_[out[at - 1]] < credits_[m]) --at;
    if (at == out.size()) continue;
    count = std::min(count + 1, out.size());
    const auto place = out.begin() + static_cast<std::ptrdiff_t>(at);
    std::copy_backward(place, out.begin() + static_cast<std::ptrdiff_t>(count) - 1,
                       out.begin() + static_cast<std::ptrdiff_t>(count));
    *place = static_cast<MemberIndex>(m);
  }
  if (count > 0) credits_[out[0]] -= total;
  return count;
}

// Collects backends as they are met, those that take the client and, for want of enough of these,
// the others.
class Selector::Choice {
 public:
  Choice(std::span<BackendId> out, const Note& note) : out_(out), note_(note) {}

  // False if no more are needed.
  bool offer(BackendId id, Standing standing) {
    if (note_) note_(id, standing);
    if (standing <= Standing::draining) {
      Rank& rank = ranks_[static_cast<size_t>(standing)];
      if (rank.count < out_.size()) rank.ids[rank.count++] = id;
    }
    return ranks_[0].count < out_.size();
  }

  size_t finish() {
    size_t found = 0;
    for (const Rank& rank : ranks_) {
      const size_t taken = std::min(rank.count, out_.size() - found);
      std::copy_n(rank.ids.begin(), taken, out_.begin() + static_cast<std::ptrdiff_t>(found));
      found += taken;
    }
    return found;
  }

 private:
  struct Rank {
    size_t count = 0;
    std::array<BackendId, kMost> ids;
  };
  std::span<BackendId> out_;
  const Note& note_;
  std::array<Rank, static_cast<size_t>(Standing::draining) + 1> ranks_;
};

size_t Selector::select(const PoolEntry& pool, KeyPolicy policy, uint64_t hash, Turns& turns,
                        std::span<BackendId> out, const Note& note) const {
  out = out.first(std::min(out.size(), kMost));
  if (out.empty() || pool.table.empty()) return 0;
  Choice choice(out, note);
  if (policy == KeyPolicy::round_robin) {
    by_turns(pool, turns, choice);
  } else if (policy == KeyPolicy::least_connections) {
    by_load(pool, hash, choice);
  } else {
    by_hash(pool, hash, choice);
  }
  return choice.finish();
}

Standing Selector::judge(BackendId id) const {
  const BackendStatus status = status_.lookup(id);
  if (status.availability == Availability::down) return Standing::down;
  if (status.availability == Availability::maintenance) return Standing::maintenance;
  const config::BackendEntry& backend = snapshot_.backends[id];
  const uint32_t load = loads_.lookup(id);
  if (backend.max_connections != 0 && load >= backend.max_connections) return Standing::full;
  if (status.availability == Availability::drain) return Standing::draining;
  if (status.availability == Availability::failing) return Standing::failing;
  if (backend.backup) return Standing::backup;
  if (status.load_limit != 0 && load >= status.load_limit) return Standing::over_load;
  return Standing::takes;
}

// In slow start less than is configured.
uint32_t Selector::weight(BackendId id) const {
  return snapshot_.backends[id].weight * (kWhole - status_.lookup(id).withheld);
}

Standing Selector::judge(BackendId id, uint64_t hash) const {
  const Standing standing = judge(id);
  const bool withholds =
      standing == Standing::takes && share_of(hash) < status_.lookup(id).withheld;
  return withholds ? Standing::slow_start : standing;
}

// The snapshot says so until the next one, even when it has all of its clients.
bool Selector::is_fresh(BackendId id) const {
  return snapshot_.backends[id].fresh && status_.lookup(id).fresh;
}

void Selector::by_hash(const PoolEntry& pool, uint64_t hash, Choice& choice) const {
  if (!pool.settled.empty()) return by_hash_with_fresh(pool, hash, choice);
  pool.table.walk(hash, [&](MemberIndex m) {
    const BackendId id = pool.backends[m];
    return choice.offer(id, judge(id, hash));
  });
}

// From the first fresh backend that does not take the client, on the way that it went before there
// were any; those that are not on it come last.
void Selector::by_hash_with_fresh(const PoolEntry& pool, uint64_t hash, Choice& choice) const {
  std::bitset<config::kMaxBackends> met;
  bool more = true;
  bool leaves = false;
  const auto offer = [&](MemberIndex m) {
    if (met.test(m)) return true;
    met.set(m);
    const BackendId id = pool.backends[m];
    const Standing standing = judge(id, hash);
    leaves = leaves || (standing != Standing::takes && is_fresh(id));
    more = choice.offer(id, standing);
    return more;
  };
  pool.table.walk(hash, [&](MemberIndex m) { return offer(m) && !leaves; });
  if (more && leaves) pool.settled.walk(hash, offer);
  if (more && leaves) pool.table.walk(hash, offer);
}

Standing Selector::best_standing(const PoolEntry& pool) const {
  Standing best = Standing::down;
  for (const BackendId id : pool.backends) best = std::min(best, judge(id));
  return best;
}

// Turns among those that stand best; the others behind them.
void Selector::by_turns(const PoolEntry& pool, Turns& turns, Choice& choice) const {
  const Standing best = best_standing(pool);
  const std::span<uint32_t> weights = turns.begin(pool.backends.size());
  for (size_t m = 0; m < weights.size(); ++m) {
    const Standing standing = judge(pool.backends[m]);
    if (standing == best) {
      weights[m] = weight(pool.backends[m]);
    } else {
      choice.offer(pool.backends[m], standing);
    }
  }
  std::array<MemberIndex, kMost> order;
  const size_t count = turns.take(order);
  for (size_t i = 0; i < count; ++i) choice.offer(pool.backends[order[i]], best);
}

// Those that stand best first, and of these the one with the fewest flows in proportion to its
// weight; of equals, the first from a place that the hash says.
void Selector::by_load(const PoolEntry& pool, uint64_t hash, Choice& choice) const {
  struct Loaded {
    BackendId id;
    Standing standing;
    uint64_t load, weight;
    [[nodiscard]] bool goes_before(const Loaded& other) const {
      if (standing != other.standing) return standing < other.standing;
      return load * other.weight < other.load * weight;
    }
  };
  std::array<Loaded, kMost> least;
  size_t count = 0;
  const size_t first = hash % pool.backends.size();
  for (size_t i = 0; i < pool.backends.size(); ++i) {
    const BackendId id = pool.backends[(first + i) % pool.backends.size()];
    const Loaded own{id, judge(id), loads_.lookup(id), weight(id)};
    size_t at = count;
    while (at > 0 && own.goes_before(least[at - 1])) --at;
    if (at == least.size()) continue;
    count = std::min(count + 1, least.size());
    std::copy_backward(least.begin() + at, least.begin() + count - 1, least.begin() + count);
    least[at] = own;
  }
  for (size_t i = 0; i < count; ++i) choice.offer(least[i].id, least[i].standing);
}

}  // namespace mqlb::engine
