// The states of backends: what the operator wants, what active checks say, and what clients'
// connections met, put together into what proxies read (engine::BackendStatusTable). Closes the
// flows of backends that are to lose them, at a set pace.
//
// Owner: the control thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/time.hh"
#include "lib/engine/backend_status.hh"

namespace mqlb::control {

class BackendStates {
 public:
  // Closes at most so many flows of a backend now and says how many it closed.
  using CloseFlows = std::function<uint32_t(config::BackendId, uint32_t most)>;
  // A line about a state that changed.
  using Log = std::function<void(const std::string&)>;

  BackendStates(engine::BackendStatusTable& status, const engine::BackendLoads& loads,
                CloseFlows close_flows, Log log)
      : status_(status),
        loads_(loads),
        close_flows_(std::move(close_flows)),
        log_(std::move(log)) {}

  // The snapshot in force from now on; it must outlive its use. A backend that is new to a running
  // balancer starts slowly, as one that returns does.
  void adopt(const config::Snapshot& snapshot, base::Instant now);

  // What active checks of a backend found. why: of a failure. said_so: the broker says so itself.
  void set_check(config::BackendId id, bool healthy, std::string_view why, base::Instant now,
                 bool said_so = false);
  // No active check speaks of the backend any more.
  void clear_check(config::BackendId id, base::Instant now);
  // So many connections to the backend failed since the last call. As many as its pool's max-fails
  // within fail-timeout make it down for fail-timeout, but never the last one that is left, and
  // it is still asked where no other takes a client: a crowd of broken clients must not empty a
  // pool.
  void note_failures(config::BackendId id, uint64_t count, base::Instant now);

  // Time passes: call it some hundred times a second.
  void advance(base::Instant now);

  struct Row {
    engine::Availability state = engine::Availability::up;
    std::string why;
    base::Duration since{};   // in the state
    uint32_t taking = 100;    // percent of its clients, in slow start
    uint32_t load_limit = 0;  // flows above which it passes clients on; 0: none
    uint64_t closed = 0;      // flows closed since it is in the state
  };
  [[nodiscard]] Row row(config::BackendId id, base::Instant now) const;

  // Added while the balancer ran, and has not been through its slow start since, be it that it was
  // never up for so long.
  [[nodiscard]] bool is_fresh(config::BackendId id) const {
    return id < entries_.size() && entries_[id].fresh;
  }

 private:
  struct Entry {
    bool active = false;
    wire::Endpoint endpoint;  // an id may come to mean another backend
    config::PoolId pool = 0;
    bool checked_down = false;
    bool said_so = false;  // with checked_down
    std::string check_why;
    uint64_t fails = 0;  // since `window`
    base::Instant window{};
    bool failing = false;  // until `failing_until`
    base::Instant failing_until{};

    engine::Availability state = engine::Availability::up;
    std::string why;
    base::Instant since{};
    bool starts_slowly = false;
    bool fresh = false;  // its clients are still where they were before it was added
    uint16_t withheld = 0;
    uint32_t load_limit = 0;
    double owed = 0;  // flows that may be closed now
    uint64_t closed = 0;
  };

  [[nodiscard]] bool is_wanted(config::BackendId id) const;
  void judge_pool(const config::PoolEntry& pool, base::Instant now);
  void judge(config::BackendId id, bool heed_failures, base::Instant now);
  void change(config::BackendId id, engine::Availability state, std::string why, base::Instant now);
  void start_slowly(Entry& e, const config::PoolEntry& pool, base::Instant now) const;
  void limit_loads(const config::PoolEntry& pool);
  void close_flows(config::BackendId id, base::Duration elapsed);
  [[nodiscard]] bool has_refuge(config::BackendId id) const;
  [[nodiscard]] uint32_t close_rate(config::BackendId id) const;
  void publish(config::BackendId id);

  engine::BackendStatusTable& status_;
  const engine::BackendLoads& loads_;
  CloseFlows close_flows_;
  Log log_;
  const config::Snapshot* snapshot_ = nullptr;
  std::vector<Entry> entries_;  // by BackendId
  base::Instant last_{};        // advance
};

[[nodiscard]] std::string_view to_string(engine::Availability state);

}  // namespace mqlb::control
