#include "tests/support/sim/world.hh"

#include <algorithm>

#include "tests/support/sim/host.hh"

namespace mqlb::sim {
namespace {

// For the heap algorithms, which put the greatest on top.
template <typename Event>
bool runs_later(const Event& a, const Event& b) {
  return a.at != b.at ? a.at > b.at : a.order > b.order;
}

}  // namespace

World::World(const WorldConfig& config, Dut& dut)
    : config_(config), dut_(dut), random_(config.seed), next_tick_(now_) {}

World::~World() = default;

Host& World::add_host(unsigned port, const HostConfig& config, const LinkConfig& to_dut,
                      const LinkConfig& from_dut) {
  auto host = std::make_unique<Host>(*this, config, random_.fork());
  attachments_.push_back(std::make_unique<Attachment>(Attachment{
      port, std::move(host), Link(to_dut, random_.fork()), Link(from_dut, random_.fork())}));
  widen_rules();
  return *attachments_.back()->host;
}

void World::widen_rules() {
  LinkConfig to{.delay = Duration{0}};
  LinkConfig from{.delay = Duration{0}};
  const auto widen = [](LinkConfig& most, const LinkConfig& link) {
    most.delay = std::max(most.delay, link.delay);
    most.jitter = std::max(most.jitter, link.jitter);
  };
  for (const auto& a : attachments_) {
    widen(to, a->to_dut.config());
    widen(from, a->from_dut.config());
  }
  const Duration reorder = to.jitter + from.jitter;
  const Duration transit = reorder + to.delay + from.delay + config_.device_delay;
  rules_.max_reorder = std::max(rules_.max_reorder, reorder);
  rules_.max_transit = std::max(rules_.max_transit, transit);
}

World::Attachment& World::attachment(const Host& host) const {
  const auto it = std::find_if(attachments_.begin(), attachments_.end(),
                               [&](const auto& a) { return a->host.get() == &host; });
  return **it;  // a host is always one of its world's
}

void World::set_links(const Host& host, const LinkConfig& to_dut, const LinkConfig& from_dut) {
  Attachment& a = attachment(host);
  a.to_dut.set_config(to_dut);
  a.from_dut.set_config(from_dut);
  widen_rules();
}

const LinkCounters& World::to_dut_counters(const Host& host) const {
  return attachment(host).to_dut.counters();
}

const LinkCounters& World::from_dut_counters(const Host& host) const {
  return attachment(host).from_dut.counters();
}

void World::inject(unsigned port, base::Bytes frame) { into_dut(port, frame); }

bool World::capture(const std::string& path) {
  const std::string ports[] = {"port0", "port1"};
  auto writer = pcap::Writer::create(path, ports);
  if (writer) capture_.emplace(std::move(*writer));
  return writer.has_value();
}

void World::push(Instant when, bool counts, std::function<void()> action) {
  counting_events_ += counts ? 1 : 0;
  events_.push_back(Event{std::max(when, now_), next_order_++, counts, std::move(action)});
  std::push_heap(events_.begin(), events_.end(), runs_later<Event>);
}

void World::at(Instant when, std::function<void()> action) { push(when, true, std::move(action)); }

void World::maybe_at(Instant when, std::function<void()> action) {
  push(when, false, std::move(action));
}

bool World::idle() const {
  const bool hosts_idle = events_.empty() || (counting_events_ == 0 && connections_ == 0);
  return hosts_idle && !dut_.busy();
}

bool World::run(Duration limit) {
  const Instant end = now_ + limit;
  while (true) {
    if (idle()) return true;
    if (violations_.count(Fault::storm) >= config_.max_storms) return false;
    const Instant next = events_.empty() ? next_tick_ : events_.front().at;
    if (std::min(next, next_tick_) > end) {
      now_ = end;
      return false;
    }
    if (next_tick_ <= next) {
      tick();
    } else {
      run_event();
    }
  }
}

void World::run_event() {
  std::pop_heap(events_.begin(), events_.end(), runs_later<Event>);
  const Event event = std::move(events_.back());
  events_.pop_back();
  now_ = event.at;
  ++events_run_;
  counting_events_ -= event.counts ? 1 : 0;
  event.action();
}

void World::tick() {
  now_ = std::max(now_, next_tick_);
  next_tick_ = now_ + config_.tick;
  ++counters_.ticks;
  const uint64_t before = counters_.frames_out;
  dut_.advance(now_, *this);
  const uint64_t out = counters_.frames_out - before;
  counters_.most_per_tick = std::max(counters_.most_per_tick, out);
  if (out > config_.max_frames_per_tick) {
    violations_.report(Fault::storm, now_, "device: " + std::to_string(out) + " frames in a tick");
  }
}

void World::send(const Host& from, std::vector<uint8_t> bytes) {
  Attachment& a = attachment(from);
  a.to_dut.send(Frame{std::move(bytes), false}, now_, [&](Instant when, Frame frame) {
    at(when, [this, port = a.port, f = std::move(frame)] { into_dut(port, f.bytes); });
  });
}

void World::record(unsigned port, pcap::Direction direction, base::Bytes frame) {
  if (!capture_) return;
  capture_->write(port, direction, now_.time_since_epoch() / std::chrono::nanoseconds(1), frame);
}

void World::into_dut(unsigned port, base::Bytes frame) {
  record(port, pcap::Direction::in, frame);
  ++counters_.frames_in;
  const uint64_t before = counters_.frames_out;
  dut_.receive(port, frame, now_, *this);
  const uint64_t out = counters_.frames_out - before;
  counters_.most_per_event = std::max(counters_.most_per_event, out);
  if (out > config_.max_frames_per_event) {
    violations_.report(Fault::storm, now_,
                       "device: " + std::to_string(out) + " frames in answer to one");
  }
}

void World::transmit(unsigned port, base::Bytes frame) {
  record(port, pcap::Direction::out, frame);
  ++counters_.frames_out;
  if (frame.size() < kEthernetHeader) {
    violations_.report(Fault::frame, now_, "device: frame without an Ethernet header");
    return;
  }
  const auto destination = wire::MacAddress::load(frame.data());
  bool found = false;
  for (auto& a : attachments_) {
    if (a->port != port) continue;
    if (!destination.is_group() && a->host->mac() != destination) continue;
    found = true;
    out_of_dut(*a, frame);
  }
  if (!found) {
    violations_.report(
        Fault::mac, now_,
        "device: nobody on port " + std::to_string(port) + " has " + to_string(destination));
  }
}

void World::out_of_dut(Attachment& to, base::Bytes frame) {
  to.from_dut.send(Frame{{frame.begin(), frame.end()}, false}, now_, [&](Instant when, Frame copy) {
    at(when, [this, host = to.host.get(), f = std::move(copy)] { host->receive(f, now_); });
  });
}

}  // namespace mqlb::sim
