// No two data cores write to one cache line: each object that a core writes has its lines to itself.
#include <rte_eal.h>

#include <algorithm>
#include <vector>

#include "lib/dpdk/core_loop.hh"
#include "lib/engine/local_engine.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using base::kOwnsItsLines;
using config::CoreRole;

// What is written for spliced packets, and by timers.
static_assert(kOwnsItsLines<engine::Core>);
static_assert(kOwnsItsLines<engine::Worker>);
static_assert(kOwnsItsLines<engine::Proxy>);
static_assert(kOwnsItsLines<engine::ObjectCounters>);
static_assert(kOwnsItsLines<flow::WorkerFlow> && sizeof(flow::WorkerFlow) == base::kCacheLine);
static_assert(kOwnsItsLines<flow::ProxyFlow> && sizeof(flow::ProxyFlow) == base::kCacheLine);
static_assert(kOwnsItsLines<dpdk::CoreLoop>);
// Written when a core falls asleep, and when a port is taken or given back.
static_assert(kOwnsItsLines<dpdk::Bell>);
static_assert(kOwnsItsLines<flow::SnatPorts>);

struct Range {
  size_t core = 0;
  uintptr_t first = 0, last = 0;  // lines
};

template <typename T>
void add(std::vector<Range>& ranges, size_t core, const T* objects, size_t count = 1) {
  const auto begin = reinterpret_cast<uintptr_t>(objects);
  ranges.push_back({core, begin / base::kCacheLine,
                    (begin + count * sizeof(T) - 1) / base::kCacheLine});
}

std::vector<Range> written_by_cores(engine::LocalEngine& engine) {
  std::vector<Range> ranges;
  for (size_t i = 0; i < engine.core_count(); ++i) {
    engine::Core& core = engine.core(i);
    add(ranges, i, &core);
    add(ranges, i, &core.objects());
    if (core.worker() != nullptr) {
      add(ranges, i, core.worker());
      add(ranges, i, &core.worker()->flows()[0], engine.snapshot().settings.max_flows);
      add(ranges, i, &core.worker()->flows().rest(0), engine.snapshot().settings.max_flows);
    }
    if (core.proxy() != nullptr) {
      add(ranges, i, core.proxy());
      add(ranges, i, &core.proxy()->flows()[0], core.proxy()->flows().capacity());
    }
  }
  return ranges;
}

void test_cores_share_no_line(void** /*state*/) {
  const std::vector<std::vector<CoreRole>> deployments = {
      {CoreRole::both, CoreRole::both},
      {CoreRole::worker, CoreRole::proxy},
      {CoreRole::worker, CoreRole::proxy, CoreRole::both, CoreRole::worker, CoreRole::proxy}};
  for (const std::vector<CoreRole>& cores : deployments) {
    config::Model model = sample_model();
    model.settings.max_flows = 1001;
    auto snapshot = config::compile(model, nullptr, {});
    assert_true(snapshot.has_value());
    engine::LocalEngineOptions options;
    options.cores = cores;
    auto engine = engine::LocalEngine::create(
        std::move(*snapshot), {wire::MacAddress{{2, 0, 0, 0, 0, 1}}, {{2, 0, 0, 0, 0, 2}}}, options,
        [](config::PortId, base::Bytes) {}, base::Instant(std::chrono::hours(1)));
    assert_true(engine.has_value());
    std::vector<Range> ranges = written_by_cores(**engine);
    assert_true(ranges.size() >= 4 * cores.size());
    std::sort(ranges.begin(), ranges.end(),
              [](const Range& a, const Range& b) { return a.first < b.first; });
    for (size_t i = 1; i < ranges.size(); ++i) {
      assert_true(ranges[i - 1].core == ranges[i].core || ranges[i - 1].last < ranges[i].first);
    }
  }
}

bool start_eal(char* program) {
  const char* arguments[] = {program, "--no-huge", "--no-shconf", "--no-pci",  "--no-telemetry",
                             "-m",    "64",        "--log-level", "*:critical"};
  std::vector<char*> argv;
  for (const char* a : arguments) argv.push_back(const_cast<char*>(a));
  return rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0;
}

}  // namespace

int main(int, char** argv) {
  if (!start_eal(argv[0])) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_cores_share_no_line),
  };
  const int failed = cmocka_run_group_tests(tests, nullptr, nullptr);
  rte_eal_cleanup();
  return failed;
}
