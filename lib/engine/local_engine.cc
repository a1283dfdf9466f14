#include "lib/engine/local_engine.hh"

#include <algorithm>
#include <cstring>
#include <deque>

namespace mqlb::engine {

// All frames of the engine: a fixed number of buffers with a free list.
class LocalEngine::Buffers : public FrameIo {
 public:
  Buffers(const LocalEngineOptions& options, const Emit& emit)
      : size_(static_cast<uint16_t>(options.buffer_size + kHeadroom)),
        memory_(options.buffers * size_),
        emit_(emit) {
    for (size_t i = options.buffers; i > 0; --i) free_.push_back(&memory_[(i - 1) * size_]);
  }

  size_t allocate(std::span<Frame> out) override {
    const size_t count = std::min(out.size(), free_.size());
    for (size_t i = 0; i < count; ++i) out[i] = take();
    return count;
  }
  void release(std::span<const Frame> frames) override {
    for (const Frame& f : frames) free_.push_back(static_cast<uint8_t*>(f.owner));
  }
  size_t transmit(config::PortId port, std::span<const Frame> frames) override {
    for (const Frame& f : frames) emit_(port, {f.data, f.length});
    release(frames);
    return 0;
  }

  [[nodiscard]] bool has_free() const { return !free_.empty(); }
  [[nodiscard]] Frame take() {
    Frame f;
    f.owner = free_.back();
    f.data = free_.back() + kHeadroom;
    f.capacity = static_cast<uint16_t>(size_ - kHeadroom);
    free_.pop_back();
    return f;
  }
  [[nodiscard]] size_t free_count() const { return free_.size(); }
  [[nodiscard]] size_t total() const { return memory_.size() / size_; }

 private:
  uint16_t size_;
  std::vector<uint8_t> memory_;
  std::vector<uint8_t*> free_;
  const Emit& emit_;
};

class LocalEngine::Sink : public MessageSink {
 public:
  explicit Sink(FrameIo& buffers) : buffers_(buffers) {}

  bool send(const Message& message) override {
    messages.push_back(message);
    return true;
  }
  bool hand_over(CoreIndex to, const Frame& frame) override {
    frames.emplace_back(to, frame);
    return true;
  }
  void to_control(const Frame& frame) override { arp.push_back(frame); }
  void release(const Frame& frame) { buffers_.release({&frame, 1}); }

  std::deque<Message> messages;
  std::deque<std::pair<CoreIndex, Frame>> frames;
  std::deque<Frame> arp;

 private:
  FrameIo& buffers_;
};

LocalEngine::LocalEngine(Emit emit, const LocalEngineOptions& options)
    : emit_(std::move(emit)),
      control_(options.control),
      buffers_(std::make_unique<Buffers>(options, emit_)) {
  sink_ = std::make_unique<Sink>(*buffers_);
  shared_.secret = options.secret;
  shared_.boot_id = options.boot_id;
  shared_.random = options.random;
  shared_.from_clients = options.from_clients;
  shared_.from_brokers = options.from_brokers;
}

LocalEngine::~LocalEngine() { cores_.clear(); }

base::Result<std::unique_ptr<LocalEngine>> LocalEngine::create(
    std::unique_ptr<const config::Snapshot> snapshot, std::vector<wire::MacAddress> macs,
    const LocalEngineOptions& options, Emit emit, base::Instant now) {
  std::unique_ptr<LocalEngine> engine(new LocalEngine(std::move(emit), options));
  engine->snapshot_ = std::move(snapshot);
  engine->now_ = now;
  Shared& shared = engine->shared_;
  std::copy(macs.begin(), macs.end(), shared.port_macs.begin());
  for (size_t i = 0; i < options.cores.size(); ++i) {
    const auto index = static_cast<CoreIndex>(i);
    if (options.cores[i] != config::CoreRole::proxy) shared.workers.push_back(index);
    if (options.cores[i] != config::CoreRole::worker) shared.proxies.push_back(index);
  }
  if (auto done = shared.gates.adopt(*engine->snapshot_, shared.secret, engine->all_flows());
      !done) {
    return tl::unexpected(done.error());
  }
  for (size_t i = 0; i < options.cores.size(); ++i) {
    auto core = Core::create(static_cast<CoreIndex>(i), options.cores[i], shared, *engine->buffers_,
                             *engine->sink_, *engine->snapshot_);
    if (!core) return tl::unexpected(core.error());
    (*core)->set_time(now);
    engine->cores_.push_back(std::move(*core));
  }
  engine->resolver_ = std::make_unique<NeighbourResolver>(shared, engine->emit_);
  engine->resolver_->adopt(*engine->snapshot_, now);
  return engine;
}

void LocalEngine::receive(config::PortId port, base::Bytes frame, base::Instant now, size_t to) {
  now_ = now;
  for (auto& core : cores_) core->set_time(now);
  Core& core = *cores_[to % cores_.size()];
  if (!buffers_->has_free()) {
    core.refuse_frame(base::Drop::no_buffer);
    return;
  }
  Frame f = buffers_->take();
  if (frame.size() > f.capacity) {
    core.refuse_frame(base::Drop::over_mtu);
    buffers_->release({&f, 1});
    return;
  }
  std::memcpy(f.data, frame.data(), frame.size());
  f.length = static_cast<uint16_t>(frame.size());
  f.port = port;
  core.receive({&f, 1});
  settle();
}

void LocalEngine::advance(base::Instant now) {
  now_ = now;
  for (auto& core : cores_) {
    core->set_time(now);
    core->advance();
  }
  settle();
  resolver_->advance(now);
}

base::Result<void> LocalEngine::adopt(std::unique_ptr<const config::Snapshot> snapshot,
                                      base::Instant now) {
  if (auto done = shared_.gates.adopt(*snapshot, shared_.secret, all_flows()); !done) return done;
  for (auto& core : cores_) core->adopt(*snapshot);
  resolver_->adopt(*snapshot, now);
  snapshot_ = std::move(snapshot);
  return {};
}

// Until all queues are empty; then what was collected goes out.
void LocalEngine::settle() {
  while (!sink_->messages.empty() || !sink_->frames.empty()) {
    if (!sink_->messages.empty()) {
      const Message message = sink_->messages.front();
      sink_->messages.pop_front();
      cores_[message.to]->receive(message);
    } else {
      const auto [to, frame] = sink_->frames.front();
      sink_->frames.pop_front();
      cores_[to]->receive({&frame, 1});
    }
  }
  while (!sink_->arp.empty()) {
    const Frame frame = sink_->arp.front();
    sink_->arp.pop_front();
    resolver_->receive(frame.bytes(), frame.port, now_);
    if (control_) control_(frame.port, frame.bytes(), now_);
    sink_->release(frame);
  }
  for (auto& core : cores_) core->flush();
}

uint64_t LocalEngine::count(base::Drop reason) const {
  uint64_t n = 0;
  for (const auto& core : cores_) n += core->counters().drops[static_cast<size_t>(reason)].value();
  return n;
}

uint64_t LocalEngine::count(base::End reason) const {
  uint64_t n = 0;
  for (const auto& core : cores_) n += core->counters().ends[static_cast<size_t>(reason)].value();
  return n;
}

uint64_t LocalEngine::count(base::Event event) const {
  uint64_t n = 0;
  for (const auto& core : cores_) n += core->counters().events[static_cast<size_t>(event)].value();
  return n;
}

size_t LocalEngine::buffers_in_use() const {
  size_t spare = 0;
  for (const auto& core : cores_) spare += core->spare_buffers();
  return buffers_->total() - buffers_->free_count() - spare;
}

}  // namespace mqlb::engine
