#include "lib/replay/offline.hh"

#include <algorithm>
#include <queue>

#include "lib/engine/local_engine.hh"

namespace mqlb::replay {
namespace {

constexpr wire::MacAddress kClientMac{{0x02, 0, 0, 0, 0, 1}};
constexpr wire::MacAddress kBrokerMac{{0x02, 0, 0, 0, 0, 2}};
constexpr base::Instant kStart{base::Duration(1'000'000)};
// The engine's timers: each millisecond while frames pass, more rarely while nothing goes on.
constexpr base::Duration kTick{1'000};
constexpr base::Duration kQuiet{1'000'000};
constexpr base::Duration kQuietTick{20'000};
constexpr base::Duration kSilence{60'000'000};
constexpr base::Duration kSilentTick{500'000};
// Before the clients begin: the engine asks for its brokers' link addresses.
constexpr base::Duration kSettle{100'000};
constexpr size_t kBuffers = 32768;
constexpr uint16_t kBufferRoom = 256;  // beyond the MTU
constexpr size_t kProgressStep = 256;  // connections

wire::MacAddress port_mac(size_t port) {
  return {{0x02, 0, 0, 0, 0xff, static_cast<uint8_t>(port)}};
}

bool serves(const config::PortEntry& port, config::PortRole role) {
  return port.role == role || port.role == config::PortRole::both;
}

// The balancer between two wires, and the events on them in order of time.
class World {
 public:
  World(const Capture& capture, const std::vector<Planned>& plan, const PlayOptions& options,
        const WireFaults& faults, pcap::Writer* output)
      : capture_(capture), plan_(plan), options_(options), output_(output) {
    base::Random random(options.seed);
    for (const Faults& f : faults) wires_.emplace_back(f, random.fork());
  }

  base::Result<void> build(const config::Model& model);
  base::Result<OfflineResult> run(const Progress& progress);

 private:
  struct Event {
    base::Instant at;
    uint64_t order;
    bool to_engine;
    config::PortId port;
    size_t frame;  // in frames_
    friend bool operator>(const Event& a, const Event& b) {
      return a.at != b.at ? a.at > b.at : a.order > b.order;
    }
  };

  SessionSetup session_setup(const config::Snapshot& snapshot) const;
  engine::LocalEngineOptions engine_options(const config::Snapshot& snapshot) const;
  void send(config::PortId port, base::Bytes frame, bool to_engine);
  void record(config::PortId port, pcap::Direction direction, base::Bytes frame);
  void run_event();
  void step();
  size_t keep(base::Bytes frame);
  [[nodiscard]] base::Instant next_tick() const {
    if (now_ < last_frame_ + kQuiet) return last_tick_ + kTick;
    return last_tick_ + (now_ < last_frame_ + kSilence ? kQuietTick : kSilentTick);
  }

  const Capture& capture_;
  const std::vector<Planned>& plan_;
  const PlayOptions& options_;
  pcap::Writer* output_;
  std::vector<Wire> wires_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<engine::LocalEngine> engine_;
  config::PortId client_port_ = 0;

  base::Instant now_ = kStart;
  base::Instant last_tick_ = kStart;
  base::Instant last_frame_ = kStart;
  uint64_t next_order_ = 0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<std::vector<uint8_t>> frames_;
  std::vector<size_t> free_frames_;
  OfflineResult result_;
};

SessionSetup World::session_setup(const config::Snapshot& snapshot) const {
  SessionSetup setup;
  setup.client_port = client_port_;
  setup.client_mac = kClientMac;
  setup.broker_mac = kBrokerMac;
  setup.mtu = snapshot.ports[client_port_].mtu;
  for (const config::PortEntry& port : snapshot.ports) setup.mtu = std::min(setup.mtu, port.mtu);
  for (const config::BackendEntry& b : snapshot.backends) {
    setup.brokers.push_back({b.name, b.endpoint});
  }
  for (const config::NextHopEntry& hop : snapshot.next_hops) {
    setup.broker_side.push_back(hop.address);
  }
  return setup;
}

engine::LocalEngineOptions World::engine_options(const config::Snapshot& snapshot) const {
  engine::LocalEngineOptions out;
  base::Random random(options_.seed ^ 0x6d716c62U);
  for (uint8_t& byte : out.secret) byte = static_cast<uint8_t>(random.u64());
  out.boot_id = random.u64();
  out.random = random.u32();
  out.buffers = kBuffers;
  uint16_t mtu = 0;
  for (const config::PortEntry& port : snapshot.ports) mtu = std::max(mtu, port.mtu);
  out.buffer_size = std::max<uint16_t>(out.buffer_size, static_cast<uint16_t>(mtu + kBufferRoom));
  return out;
}

base::Result<void> World::build(const config::Model& model) {
  auto snapshot = config::compile(model, nullptr, {});
  if (!snapshot) return tl::unexpected(snapshot.error());
  const auto& ports = (*snapshot)->ports;
  const auto client = std::find_if(ports.begin(), ports.end(), [](const config::PortEntry& p) {
    return serves(p, config::PortRole::client);
  });
  if (client == ports.end()) return base::fail("the configuration has no port for clients");
  client_port_ = static_cast<config::PortId>(client - ports.begin());
  std::vector<wire::MacAddress> macs;
  for (size_t i = 0; i < ports.size(); ++i) macs.push_back(port_mac(i));
  session_ = std::make_unique<Session>(
      capture_, plan_, options_, session_setup(**snapshot),
      [this](config::PortId port, base::Bytes frame) { send(port, frame, true); });
  const engine::LocalEngineOptions settings = engine_options(**snapshot);
  auto engine = engine::LocalEngine::create(
      std::move(*snapshot), std::move(macs), settings,
      [this](config::PortId port, base::Bytes frame) { send(port, frame, false); }, now_);
  if (!engine) return tl::unexpected(engine.error());
  engine_ = std::move(*engine);
  return {};
}

// Puts a frame on the wire that leads to, or from, the balancer's port.
void World::send(config::PortId port, base::Bytes frame, bool to_engine) {
  if (!to_engine) record(port, pcap::Direction::out, frame);
  last_frame_ = now_;
  // On a port of both roles, the link addresses tell whose wire it is.
  const size_t offset = to_engine ? 6 : 0;
  const bool brokers = frame.size() >= wire::kEthernetHeader
                           ? wire::MacAddress::load(frame.data() + offset) == kBrokerMac
                           : port != client_port_;
  const WireId id = brokers || port != client_port_
                        ? (to_engine ? WireId::from_brokers : WireId::to_brokers)
                        : (to_engine ? WireId::from_clients : WireId::to_clients);
  const size_t index = keep(frame);
  const Wire::Passage passage = wires_[static_cast<size_t>(id)].pass(frames_[index]);
  if (passage.copies == 0) free_frames_.push_back(index);
  for (size_t i = 0; i < passage.copies; ++i) {
    const size_t copy = i == 0 ? index : keep(base::Bytes(frames_[index]));
    events_.push({now_ + passage.delays[i], next_order_++, to_engine, port, copy});
  }
}

size_t World::keep(base::Bytes frame) {
  if (free_frames_.empty()) {
    frames_.emplace_back(frame.begin(), frame.end());
    return frames_.size() - 1;
  }
  const size_t index = free_frames_.back();
  free_frames_.pop_back();
  frames_[index].assign(frame.begin(), frame.end());
  return index;
}

void World::record(config::PortId port, pcap::Direction direction, base::Bytes frame) {
  ++(direction == pcap::Direction::in ? result_.frames_in : result_.frames_out);
  if (output_ == nullptr) return;
  output_->write(port, direction, now_.time_since_epoch().count() * 1000, frame);
}

void World::run_event() {
  const Event event = events_.top();
  events_.pop();
  // The frame may move while it is worked on: answers are kept in the same list.
  std::vector<uint8_t> frame = std::move(frames_[event.frame]);
  if (event.to_engine) {
    record(event.port, pcap::Direction::in, frame);
    engine_->receive(event.port, frame, now_);
  } else {
    session_->receive(event.port, frame, now_);
  }
  frames_[event.frame] = std::move(frame);
  free_frames_.push_back(event.frame);
}

// Moves the clock to what comes next, and does it.
void World::step() {
  const base::Instant event = events_.empty() ? kNever : events_.top().at;
  now_ = std::max(now_, std::min({event, session_->deadline(), next_tick()}));
  if (now_ >= next_tick()) {
    last_tick_ = now_;
    engine_->advance(now_);
  }
  while (!events_.empty() && events_.top().at <= now_) run_event();
  session_->advance(now_);
}

base::Result<OfflineResult> World::run(const Progress& progress) {
  while (now_ < kStart + kSettle) step();
  session_->start(now_);
  size_t told = 0;
  while (!session_->finished(now_)) {
    step();
    if (session_->ended() >= told + kProgressStep) {
      told = session_->ended();
      progress(told);
    }
  }
  if (!session_->failure().empty()) return base::fail(session_->failure());
  result_.rows = session_->rows();
  for (size_t i = 0; i < result_.drops.size(); ++i) {
    result_.drops[i] = engine_->count(static_cast<base::Drop>(i));
  }
  for (size_t i = 0; i < result_.ends.size(); ++i) {
    result_.ends[i] = engine_->count(static_cast<base::End>(i));
  }
  for (size_t i = 0; i < result_.events.size(); ++i) {
    result_.events[i] = engine_->count(static_cast<base::Event>(i));
  }
  result_.virtual_time = now_ - kStart;
  return std::move(result_);
}

}  // namespace

base::Result<OfflineResult> play_offline(const Capture& capture, const std::vector<Planned>& plan,
                                         const PlayOptions& options, const WireFaults& faults,
                                         const config::Model& model, pcap::Writer* output,
                                         const Progress& progress) {
  World world(capture, plan, options, faults, output);
  if (auto built = world.build(model); !built) return tl::unexpected(built.error());
  return world.run(progress);
}

}  // namespace mqlb::replay
