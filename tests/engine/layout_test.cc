// Two cores never write one cache line while flows are spliced.
#include <rte_mbuf.h>

#include <algorithm>
#include <deque>
#include <set>

#include "app/mqlb-bench/fleet.hh"
#include "lib/base/cache_line.hh"
#include "tests/engine/engine_world.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/memory_image.hh"

namespace mqlb::bench {
namespace {

using config::CoreRole;
using tests::MemoryImage;
using Lines = std::set<uintptr_t>;

template <typename T>
T must(base::Result<T> result) {
  if (!result) fail_msg("%s", result.error().message.c_str());
  return std::move(*result);
}

class Queue final : public engine::MessageSink {
 public:
  bool send(const engine::Message& message) override {
    messages.push_back(message);
    return true;
  }
  bool hand_over(engine::CoreIndex, const engine::Frame&) override {
    fail_msg("each frame comes to its core");
  }
  void to_control(const engine::Frame&) override { fail_msg("there is no ARP"); }

  std::deque<engine::Message> messages;
};

// Cores that take turns in one thread.
class Cores final : public Balancer {
 public:
  explicit Cores(const std::vector<CoreRole>& roles) : Balancer(must(create_pool())) {
    assert_true(configure({1024, 3}).has_value());
    for (engine::CoreIndex i = 0; i < roles.size(); ++i) {
      if (roles[i] != CoreRole::proxy) shared_.workers.push_back(i);
      if (roles[i] != CoreRole::worker) shared_.proxies.push_back(i);
    }
    for (engine::CoreIndex i = 0; i < roles.size(); ++i) {
      sides_.push_back(std::make_unique<Side>(pool_.get()));
      sides_[i]->core =
          must(engine::Core::create(i, roles[i], shared_, sides_[i]->io, queue_, *snapshot_));
      sides_[i]->core->set_time(now_);
    }
  }

  Cycles step(config::PortId port, const Fill& fill) override {
    std::array<engine::Frame, kBurst> frames;
    const size_t count = fill(frames);
    run_burst(*sides_[owner(port)]->core, std::span(frames).first(count));
    settle();
    return {};
  }
  Cycles pass(base::Duration time) override {
    for (const auto& side : sides_) pass_time(*side->core, now_, now_ + time);
    now_ += time;
    settle();
    return {};
  }
  void each_io(const std::function<void(MemoryIo&)>& look) override {
    for (const auto& side : sides_) look(side->io);
  }

  // The lines that the port's core writes in one turn of its loop with these frames.
  Lines lines_of_turn(config::PortId port, base::Instant now, std::span<engine::Frame> frames) {
    Side& side = *sides_[owner(port)];
    side.io.kept.reserve(frames.size());
    MemoryImage image;
    side.core->set_time(now);
    side.core->receive(frames);
    side.core->advance();
    side.core->flush();
    const std::vector<uintptr_t> lines = image.changed_lines();
    assert_true(queue_.messages.empty());
    assert_int_equal(side.io.kept.size(), frames.size());
    // Not released: a buffer that comes back from one core may next be the other's.
    side.held.insert(side.held.end(), side.io.kept.begin(), side.io.kept.end());
    side.io.kept.clear();
    return {lines.begin(), lines.end()};
  }
  [[nodiscard]] engine::Core& core(size_t i) { return *sides_[i]->core; }
  [[nodiscard]] size_t size() const { return sides_.size(); }

 private:
  struct alignas(base::kCacheLine) Side {
    explicit Side(rte_mempool* pool) : io(pool) {}
    ~Side() {
      for (const MemoryIo::Sent& sent : held) io.release({&sent.frame, 1});
    }
    MemoryIo io;
    std::vector<MemoryIo::Sent> held;
    std::unique_ptr<engine::Core> core;
  };

  [[nodiscard]] engine::CoreIndex owner(config::PortId port) const {
    return port == kClients ? shared_.workers[0] : shared_.proxies[0];
  }
  void settle() {
    while (!queue_.messages.empty()) {
      const engine::Message message = queue_.messages.front();
      queue_.messages.pop_front();
      sides_[message.to]->core->receive(message);
      sides_[message.to]->core->flush();
    }
  }

  Queue queue_;
  std::vector<std::unique_ptr<Side>> sides_;
};

void expect_none_common(const Lines& worker, const Lines& proxy) {
  std::vector<uintptr_t> common;
  std::set_intersection(worker.begin(), worker.end(), proxy.begin(), proxy.end(),
                        std::back_inserter(common));
  for (const uintptr_t line : common) print_error("two cores write the line %#lx\n", line);
  assert_true(common.empty());
}

// Whatever the engine writes, wherever it lies, for packets both ways.
void test_no_line_is_written_by_two_cores(void** /*state*/) {
  if (!tests::kMemoryIsOurs) skip();
  const struct {
    const char* name;
    base::Duration step;
  } table[] = {
      {"a millisecond a turn", std::chrono::milliseconds(1)},
      {"a second a turn", std::chrono::seconds(1)},
  };
  constexpr uint32_t kFlows = 96;
  for (const auto& row : table) {
    print_message("  %s\n", row.name);
    // Not on the stack, which is not looked at.
    const auto owned = std::make_unique<Cores>(std::vector{CoreRole::worker, CoreRole::proxy});
    Cores& cores = *owned;
    FleetOptions options;
    options.flows = kFlows;
    Fleet fleet(cores, options);
    fleet.open(0, kFlows);
    assert_string_equal(fleet.failure().c_str(), "");
    cores.each_io([](MemoryIo& io) { io.keep = true; });
    std::array<Lines, 2> written;
    base::Instant now = cores.now();
    for (uint32_t at = 0; at < 2 * kFlows; at += kBurst) {
      now += row.step;
      for (const config::PortId port : {kClients, kBrokers}) {
        std::array<engine::Frame, kBurst> frames;
        for (uint32_t i = 0; i < kBurst; ++i) {
          const uint32_t flow = (at + i) % kFlows;
          frames[i] =
              port == kClients ? fleet.client_segment(flow, 66) : fleet.broker_segment(flow, 66);
        }
        written[port].merge(cores.lines_of_turn(port, now, frames));
      }
    }
    // At least the frames and, of a worker, the records.
    assert_true(written[kClients].size() > 2 * kFlows);
    assert_true(written[kBrokers].size() > kFlows);
    expect_none_common(written[kClients], written[kBrokers]);
  }
}

// The image sees a line that two would write, and which.
void test_a_common_line_is_found(void** /*state*/) {
  if (!tests::kMemoryIsOurs) skip();
  struct alignas(2 * base::kCacheLine) Neighbours {
    base::Counter first, second;
    alignas(base::kCacheLine) base::Counter third;
  };
  const auto n = std::make_unique<Neighbours>();
  const auto begin = reinterpret_cast<uintptr_t>(n.get());
  // Of its own lines: libraries may have threads that write elsewhere meanwhile.
  const auto lines_of = [begin](base::Counter& counter) {
    MemoryImage image;
    counter.add();
    std::vector<uintptr_t> lines = image.changed_lines();
    std::erase_if(lines, [begin](uintptr_t line) { return line - begin >= sizeof(Neighbours); });
    return lines;
  };
  const std::vector<uintptr_t> first{reinterpret_cast<uintptr_t>(&n->first)};
  const std::vector<uintptr_t> third{reinterpret_cast<uintptr_t>(&n->third)};
  assert_true(lines_of(n->first) == first);
  assert_true(lines_of(n->second) == first);
  assert_true(lines_of(n->third) == third);
}

struct Extent {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

template <typename T>
void add_extent(const T* object, std::vector<Extent>& out) {
  if (object == nullptr) return;
  const auto begin = reinterpret_cast<uintptr_t>(object);
  out.push_back({begin, begin + sizeof(T)});
}

// Each object of a core begins and ends with a line, also where those of many cores lie together.
void test_objects_own_their_lines(void** /*state*/) {
  Cores cores({CoreRole::worker, CoreRole::proxy, CoreRole::both, CoreRole::worker, CoreRole::proxy,
               CoreRole::both});
  std::vector<Extent> extents;
  for (size_t i = 0; i < cores.size(); ++i) {
    engine::Core& core = cores.core(i);
    const size_t before = extents.size();
    add_extent(&core, extents);
    add_extent(&core.objects(), extents);
    add_extent(core.worker(), extents);
    add_extent(core.proxy(), extents);
    if (core.worker() != nullptr) add_extent(&core.worker()->flows()[0], extents);
    if (core.proxy() != nullptr) add_extent(&core.proxy()->flows()[0], extents);
    assert_true(extents.size() - before >= 4);
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  for (size_t i = 0; i < extents.size(); ++i) {
    assert_int_equal(extents[i].begin % base::kCacheLine, 0);
    assert_int_equal(extents[i].end % base::kCacheLine, 0);
    if (i > 0) assert_true(extents[i - 1].end <= extents[i].begin);
  }
}

}  // namespace
}  // namespace mqlb::bench

int main() {
  using namespace mqlb::bench;
  if (!mqlb::tests::start_eal()) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_a_common_line_is_found),
      cmocka_unit_test(test_no_line_is_written_by_two_cores),
      cmocka_unit_test(test_objects_own_their_lines),
  };
  return cmocka_run_group_tests_name("layout", tests, nullptr, nullptr);
}
