#include "lib/control/backend_states.hh"

#include <algorithm>
#include <cmath>

namespace mqlb::control {

using base::Duration;
using base::Instant;
using config::AdminState;
using config::BackendId;
using engine::Availability;

namespace {

constexpr double kSecond = 1e6;  // a Duration's ticks

}  // namespace

std::string_view to_string(Availability state) {
  switch (state) {
    case Availability::up:
      return "up";
    case Availability::drain:
      return "drain";
    case Availability::maintenance:
      return "maintenance";
    case Availability::failing:
    case Availability::down:
      return "down";
  }
  return "?";
}

void BackendStates::adopt(const config::Snapshot& snapshot, Instant now) {
  const bool running = snapshot_ != nullptr;
  snapshot_ = &snapshot;
  entries_.resize(std::max(entries_.size(), snapshot.backends.size()));
  for (size_t i = 0; i < snapshot.backends.size(); ++i) {
    const config::BackendEntry& backend = snapshot.backends[i];
    Entry& e = entries_[i];
    if (backend.retired) {
      e.active = false;
      e.fresh = false;
      continue;
    }
    if (e.active && e.endpoint == backend.endpoint && e.pool == backend.pool) continue;
    e = Entry{};
    e.active = true;
    e.endpoint = backend.endpoint;
    e.pool = backend.pool;
    e.since = now;
    e.starts_slowly = running;
    const config::Check& check = snapshot.pools[backend.pool].check;
    // Checks will say more; until then nobody goes where the pool wants it so.
    e.checked_down =
        check.kind != config::CheckKind::none && check.initial == config::CheckInitial::down;
    if (e.checked_down) e.check_why = "not checked yet";
    e.fresh = running;
  }
  advance(now);
}

void BackendStates::set_check(BackendId id, bool healthy, std::string_view why, Instant now,
                              bool said_so) {
  Entry& e = entries_[id];
  if (!e.active) return;
  // It came back: what connections met before is past.
  if (healthy && e.checked_down) e.failing = false;
  e.checked_down = !healthy;
  e.said_so = said_so;
  e.check_why = why;
  advance(now);
}

void BackendStates::clear_check(BackendId id, Instant now) { set_check(id, true, {}, now); }

void BackendStates::note_failures(BackendId id, uint64_t count, Instant now) {
  Entry& e = entries_[id];
  if (!e.active || count == 0) return;
  const config::PoolEntry& pool = snapshot_->pools[e.pool];
  if (pool.max_fails == 0) return;
  if (now - e.window > pool.fail_timeout) {
    e.window = now;
    e.fails = 0;
  }
  e.fails += count;
  if (e.fails < pool.max_fails) return;
  e.fails = 0;
  e.failing = true;
  e.failing_until = now + pool.fail_timeout;
}

void BackendStates::advance(Instant now) {
  if (snapshot_ == nullptr) return;
  const Duration elapsed = std::clamp<Duration>(now - last_, Duration(0), std::chrono::seconds(1));
  last_ = now;
  for (const config::PoolEntry& pool : snapshot_->pools) {
    if (pool.retired) continue;
    judge_pool(pool, now);
    limit_loads(pool);
    for (const BackendId id : pool.backends) {
      publish(id);
      close_flows(id, elapsed);
    }
  }
}

// True if nothing but failures of connections speaks against the backend.
bool BackendStates::is_wanted(BackendId id) const {
  return !entries_[id].checked_down && snapshot_->backends[id].state == AdminState::up;
}

void BackendStates::judge_pool(const config::PoolEntry& pool, Instant now) {
  for (const BackendId id : pool.backends) {
    Entry& e = entries_[id];
    if (e.failing && now >= e.failing_until) e.failing = false;
  }
  const bool any = std::any_of(pool.backends.begin(), pool.backends.end(), [this](BackendId id) {
    return is_wanted(id) && !entries_[id].failing;
  });
  for (const BackendId id : pool.backends) judge(id, any, now);
}

void BackendStates::judge(BackendId id, bool heed_failures, Instant now) {
  Entry& e = entries_[id];
  const config::BackendEntry& backend = snapshot_->backends[id];
  if (backend.state == AdminState::maintenance) {
    change(id, Availability::maintenance, "by command", now);
  } else if (backend.state == AdminState::down) {
    change(id, Availability::down, "by command", now);
  } else if (e.checked_down) {
    change(id, Availability::down, "check: " + e.check_why, now);
  } else if (backend.state == AdminState::drain) {
    change(id, Availability::drain, "by command", now);
  } else if (e.failing && heed_failures) {
    change(id, Availability::failing, "connections failed", now);
  } else {
    change(id, Availability::up, "", now);
  }
  start_slowly(e, snapshot_->pools[e.pool], now);
}

void BackendStates::change(BackendId id, Availability state, std::string why, Instant now) {
  Entry& e = entries_[id];
  e.why = std::move(why);
  if (e.state == state) return;
  const config::BackendEntry& backend = snapshot_->backends[id];
  log_("backend " + backend.name + " of pool " + snapshot_->pools[e.pool].name + " is " +
       std::string(to_string(state)) + (e.why.empty() ? "" : ": " + e.why) + " (was " +
       std::string(to_string(e.state)) + ")");
  if (to_string(e.state) != to_string(state)) e.since = now;
  e.state = state;
  e.starts_slowly = state == Availability::up;
  e.owed = 0;
  e.closed = 0;
}

void BackendStates::start_slowly(Entry& e, const config::PoolEntry& pool, Instant now) const {
  e.withheld = 0;
  if (e.state != Availability::up || !e.starts_slowly) return;
  const Duration elapsed = now - e.since;
  if (elapsed >= pool.slow_start) {
    e.starts_slowly = false;
    e.fresh = false;
    return;
  }
  const double share =
      static_cast<double>(elapsed.count()) / static_cast<double>(pool.slow_start.count());
  e.withheld = static_cast<uint16_t>(65535 * (1 - share));
}

// Bounded load (Mirrokni, Thorup and Zadimoghaddam, 2016): no backend has more than the factor
// times its share of all flows, the next one included. In slow start its share is what it takes:
// the whole of it would put all others above their limits at once, and so all new clients on it.
void BackendStates::limit_loads(const config::PoolEntry& pool) {
  for (const BackendId id : pool.backends) entries_[id].load_limit = 0;
  if (pool.load_factor == 0) return;
  double flows = 1;
  double weights = 0;
  const auto shares = [this](BackendId id) {
    return entries_[id].state == Availability::up && !snapshot_->backends[id].backup;
  };
  const auto weight = [this](BackendId id) {
    return snapshot_->backends[id].weight * (65536.0 - entries_[id].withheld);
  };
  for (const BackendId id : pool.backends) {
    if (!shares(id)) continue;
    flows += loads_.lookup(id);
    weights += weight(id);
  }
  for (const BackendId id : pool.backends) {
    if (!shares(id)) continue;
    const double share = flows * weight(id) / weights;
    entries_[id].load_limit = static_cast<uint32_t>(std::ceil(share * pool.load_factor / 100));
  }
}

// Whether clients whose flows the backend loses would find another one.
bool BackendStates::has_refuge(BackendId id) const {
  const std::vector<BackendId>& all = snapshot_->pools[entries_[id].pool].backends;
  return std::any_of(all.begin(), all.end(), [this, id](BackendId other) {
    return other != id && entries_[other].state == Availability::up;
  });
}

uint32_t BackendStates::close_rate(BackendId id) const {
  const Entry& e = entries_[id];
  const config::PoolEntry& pool = snapshot_->pools[e.pool];
  switch (e.state) {
    case Availability::drain:
      return has_refuge(id) ? snapshot_->backends[id].drain_rate : 0;
    case Availability::maintenance:
      return pool.close_rate;
    case Availability::down: {
      const bool by_command = snapshot_->backends[id].state == AdminState::down;
      const bool leaves_it =
          pool.close_on_down == config::CloseOnDown::off ||
          (pool.close_on_down == config::CloseOnDown::unanswered && e.said_so && !by_command);
      // Checks that fail everywhere, say since their password has changed, end no good flow.
      return !leaves_it && (by_command || has_refuge(id)) ? pool.close_rate : 0;
    }
    case Availability::failing:  // failed connections are too little to end good ones for
    case Availability::up:
      break;
  }
  return 0;
}

void BackendStates::close_flows(BackendId id, Duration elapsed) {
  Entry& e = entries_[id];
  const uint32_t rate = close_rate(id);
  if (rate == 0 || loads_.lookup(id) == 0) {
    e.owed = 0;
    return;
  }
  // What could not be closed before, at most a tenth of a second's, may be now.
  e.owed = std::min(e.owed, std::max(1.0, rate / 10.0)) +
           rate * static_cast<double>(elapsed.count()) / kSecond;
  const auto due = static_cast<uint32_t>(e.owed);
  if (due == 0) return;
  const uint32_t closed = close_flows_(id, due);
  e.closed += closed;
  e.owed -= closed;
}

void BackendStates::publish(BackendId id) {
  const Entry& e = entries_[id];
  status_.set(id, {e.state, e.withheld, e.load_limit, e.fresh});
}

BackendStates::Row BackendStates::row(BackendId id, Instant now) const {
  const Entry& e = entries_[id];
  const uint32_t taking = (65535U - e.withheld) * 100 / 65535;  // 100 only when it has all
  return {e.state, e.why, now - e.since, taking, e.load_limit, e.closed};
}

}  // namespace mqlb::control
