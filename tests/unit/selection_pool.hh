// One pool as proxies see it, and where many Client IDs go. For the tests of selection.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/engine/selection.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace mqlb::tests {

using config::BackendId;
using config::KeyPolicy;
using engine::Availability;
using engine::Standing;

constexpr size_t kKeys = 10'000;
constexpr BackendId kNobody = 0xffff;

inline config::Model pool_of(size_t backends) {
  config::Model m = sample_model();
  m.pools[0].table_size = 65537;
  m.pools[0].backends.clear();
  for (size_t i = 0; i < backends; ++i) {
    config::Backend b;
    b.name = "broker" + std::to_string(i);
    b.endpoint = endpoint("198.18.1." + std::to_string(11 + i) + ":1883");
    m.pools[0].backends.push_back(b);
  }
  return m;
}

// One pool and what is known of its backends.
class Pool {
 public:
  explicit Pool(size_t backends) : Pool(pool_of(backends)) {}
  explicit Pool(const config::Model& m) : model(m) { compile(); }

  void compile() {
    config::IdUse use;
    use.fresh = [this](BackendId id) { return status->lookup(id).fresh; };
    auto next = config::compile(model, snapshot.get(), use);
    assert_true(next.has_value());
    snapshot = std::move(*next);
  }
  // Adds a backend to those of pool_of(), which does not take anybody yet.
  BackendId add() {
    const size_t id = model.pools[0].backends.size();
    model.pools[0].backends.push_back(pool_of(id + 1).pools[0].backends[id]);
    compile();
    set_fresh(static_cast<BackendId>(id), 0);
    return static_cast<BackendId>(id);
  }
  // An added backend in its slow start.
  void set_fresh(BackendId id, uint32_t percent, Availability a = Availability::up) {
    status->set(id, {a, static_cast<uint16_t>(65535 - percent * 65535 / 100), 0, percent < 100});
  }
  void set(BackendId id, Availability a, uint16_t withheld = 0, uint32_t load_limit = 0) {
    status->set(id, {a, withheld, load_limit});
  }
  void load(BackendId id, uint32_t flows) {
    for (uint32_t i = 0; i < flows; ++i) assert_true(loads->try_add(id, 0));
  }
  std::vector<BackendId> select(KeyPolicy policy, uint64_t hash, size_t most,
                                const engine::Selector::Note& note = {}) {
    std::vector<BackendId> out(most, kNobody);
    out.resize(selector().select(snapshot->pools[0], policy, hash, turns, out, note));
    return out;
  }
  [[nodiscard]] bool is_full() const { return selector().is_full(snapshot->pools[0]); }
  BackendId first(KeyPolicy policy, uint64_t hash) {
    const auto ids = select(policy, hash, 3);
    return ids.empty() ? kNobody : ids[0];
  }
  // Where each of many Client IDs goes.
  std::vector<BackendId> homes() {
    std::vector<BackendId> all;
    for (size_t i = 0; i < kKeys; ++i) all.push_back(first(KeyPolicy::client_id, hash_of(i)));
    return all;
  }
  [[nodiscard]] static uint64_t hash_of(size_t i) {
    return maglev::hash_key(base::as_bytes("device-" + std::to_string(i)), 0);
  }
  [[nodiscard]] engine::Selector selector() const { return {*snapshot, *status, *loads}; }

  config::Model model;
  std::unique_ptr<const config::Snapshot> snapshot;
  std::unique_ptr<engine::BackendStatusTable> status =
      std::make_unique<engine::BackendStatusTable>();
  std::unique_ptr<engine::BackendLoads> loads = std::make_unique<engine::BackendLoads>();
  engine::Turns turns;
};

inline std::map<BackendId, size_t> count(const std::vector<BackendId>& homes) {
  std::map<BackendId, size_t> n;
  for (const BackendId id : homes) ++n[id];
  return n;
}

// Clients of other backends stay; those of `gone` spread evenly over the others, which are `left`.
inline void assert_only_its_clients_move(const std::vector<BackendId>& before,
                                         const std::vector<BackendId>& after, BackendId gone,
                                         size_t left) {
  std::map<BackendId, size_t> went;
  for (size_t i = 0; i < kKeys; ++i) {
    if (before[i] == gone) {
      assert_int_not_equal(after[i], gone);
      ++went[after[i]];
    } else {
      assert_int_equal(after[i], before[i]);
    }
  }
  assert_int_equal(went.size(), left);
  const double even = static_cast<double>(count(before)[gone]) / static_cast<double>(left);
  for (const auto& [id, n] : went) {
    assert_true(static_cast<double>(n) > 0.8 * even);
    assert_true(static_cast<double>(n) < 1.2 * even);
  }
}

}  // namespace mqlb::tests
