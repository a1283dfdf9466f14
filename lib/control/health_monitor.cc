// What the configuration asks for, and what results make of it; health_checks.cc has the checks
// themselves.
#include "lib/control/health_monitor.hh"

#include <algorithm>
#include <utility>

#include "lib/control/health_target.hh"

namespace mqlb::control {

using base::Duration;
using base::Instant;
using config::BackendId;

namespace {

using namespace std::chrono_literals;

// First checks are spread over this or the interval: soon, but not all at once.
constexpr Duration kFirstSpread = 1s;
// Intervals are shortened by up to this share, so that balancers and brokers do not fall into
// step; never lengthened: a broker is known to be down within fall * interval + timeout.
constexpr uint64_t kJitterPercent = 10;
constexpr uint32_t kResetsPerSecond = 100;

std::string describe(const wire::TcpOptions& options) {
  std::string text = "mss " + std::to_string(options.mss.value_or(wire::kDefaultMss));
  if (options.window_scale) text += " scale " + std::to_string(*options.window_scale);
  if (options.sack_permitted) text += " sack";
  if (options.timestamps) text += " timestamps";
  return text;
}

}  // namespace

HealthMonitor::HealthMonitor(engine::Shared& shared, uint64_t random, Emit emit, Report report,
                             Clear clear)
    : shared_(shared),
      random_(random),
      sequence_key_(random_.u64()),
      clock_offset_(random_.u32()),
      emit_(std::move(emit)),
      report_(std::move(report)),
      clear_(std::move(clear)) {
  resets_.set_rate(kResetsPerSecond);
}

HealthMonitor::~HealthMonitor() = default;

void HealthMonitor::adopt(const config::Snapshot& snapshot, Instant now) {
  snapshot_ = &snapshot;
  targets_.resize(std::max(targets_.size(), snapshot.backends.size()));
  for (size_t id = 0; id < targets_.size(); ++id) adopt_backend(static_cast<BackendId>(id), now);
}

void HealthMonitor::adopt_backend(BackendId id, Instant now) {
  std::unique_ptr<Target>& target = targets_[id];
  const config::BackendEntry& backend = snapshot_->backends[id];
  const config::PoolEntry& pool = snapshot_->pools[backend.pool];
  if (backend.retired || pool.check.kind == config::CheckKind::none) {
    drop_runs(id);
    if (target && clear_) clear_(id, now);
    target.reset();
    return;
  }
  Target wanted = Target::make(*snapshot_, id);
  const bool same_broker = target && target->is_same_broker(wanted);
  if (same_broker && target->is_same_check(wanted)) return;
  drop_runs(id);
  wanted.turn = random_.u32();
  const Duration spread = std::min<Duration>(kFirstSpread, wanted.check.interval);
  wanted.next =
      now +
      Duration(static_cast<int64_t>(random_.below(static_cast<uint64_t>(spread.count()) + 1)));
  if (same_broker) {
    // Another way to ask is no reason to forget what is known.
    wanted.take_history(*target);
  } else {
    wanted.record = HealthRecord(wanted.check.initial == config::CheckInitial::up);
    wanted.since = now;
  }
  const bool is_new = !same_broker;
  target = std::make_unique<Target>(std::move(wanted));
  if (is_new && report_) report_(id, target->record.up(), "not checked yet", false, now);
}

// A control thread that was held up, say by a long command, has not read the answers meanwhile.
void HealthMonitor::notice_stall(Instant now) {
  constexpr Duration kStall = 100ms;
  const Duration gap = now - std::exchange(looked_at_, now);
  if (gap < kStall) return;
  for (auto& [tuple, run] : runs_) run.check.postpone(gap);
}

void HealthMonitor::advance(Instant now) {
  notice_stall(now);
  for (size_t id = 0; id < targets_.size(); ++id) {
    if (targets_[id]) begin_if_due(static_cast<BackendId>(id), now);
  }
  for (auto it = runs_.begin(); it != runs_.end();) {
    Run& run = it->second;
    run.check.advance(now);
    settle(run, now);
    const bool rested = run.over_since && now >= *run.over_since + TcpClient::kTimeWait;
    it = rested ? runs_.erase(it) : std::next(it);
  }
}

// Takes over what happened in a run: the options learnt, the verdict, the end; each once.
void HealthMonitor::settle(Run& run, Instant now) {
  Target& target = *targets_[run.id];
  if (!run.learnt && run.check.tcp().established()) {
    run.learnt = true;
    learn(target, run.id, run.check);
  }
  if (!run.noted && run.check.verdict()) {
    run.noted = true;
    target.asking = false;
    note(run.id, *run.check.verdict(), run.check.duration(now), now);
  }
  if (!run.over_since && run.check.is_over()) {
    run.over_since = now;
    --waiting_;
  }
}

// Only what the MQTT port of the broker says is promised to its clients.
void HealthMonitor::learn(Target& target, BackendId id, const CheckRun& check) {
  const wire::TcpOptions& options = *check.tcp().peer_options();
  target.options = describe(options);
  if (target.check.kind == config::CheckKind::http) return;
  constexpr uint16_t kLeastMss = 88;  // as the engine holds it
  shared_.learnt.set(id, std::max(options.mss.value_or(wire::kDefaultMss), kLeastMss),
                     options.sack_permitted, options.timestamps.has_value());
}

void HealthMonitor::note(BackendId id, const Verdict& verdict, Duration took, Instant now) {
  Target& target = *targets_[id];
  const bool news = !verdict.passed && verdict.why != target.why;
  target.why = verdict.why;
  target.passed = verdict.passed;
  target.judged = now;
  target.took = took;
  const bool changed = target.record.note(verdict.passed, target.check.rise, target.check.fall);
  if (changed) target.since = now;
  if (changed || target.record.checks() == 1 || (news && !target.record.up())) {
    if (report_) report_(id, target.record.up(), verdict.why, verdict.said_so, now);
  }
}

// From start to start.
void HealthMonitor::schedule(Target& target, Instant now) {
  const auto interval = std::chrono::duration_cast<Duration>(target.check.interval);
  const auto jitter = static_cast<uint64_t>(interval.count()) * kJitterPercent / 100;
  target.next = now + interval - Duration(static_cast<int64_t>(random_.below(jitter + 1)));
}

std::vector<HealthMonitor::Row> HealthMonitor::rows(Instant now) const {
  std::vector<Row> out;
  for (size_t id = 0; id < targets_.size(); ++id) {
    if (!targets_[id]) continue;
    const Target& t = *targets_[id];
    Row row;
    row.id = static_cast<BackendId>(id);
    row.checked = t.remote;
    row.up = t.record.up();
    row.since = now - t.since;
    row.why = t.why;
    row.passed = t.passed;
    row.ago = t.record.checks() > 0 ? now - t.judged : Duration{};
    row.took = t.took;
    row.checks = t.record.checks();
    row.failures = t.record.failures();
    row.contrary = t.record.contrary();
    row.options = t.options;
    out.push_back(std::move(row));
  }
  return out;
}

}  // namespace mqlb::control
