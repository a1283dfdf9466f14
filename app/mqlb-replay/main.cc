// mqlb-replay: plays captured clients against the engine in this process, or against a port.
#include <rte_eal.h>
#include <rte_errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "app/mqlb-replay/arguments.hh"
#include "app/mqlb-replay/live.hh"
#include "lib/cli/interpreter.hh"
#include "lib/replay/offline.hh"
#include "lib/replay/report.hh"

namespace mqlb::app {
namespace {

enum Status : int { kEqual = 0, kDifferent = 1, kUnusable = 2 };

int fail(const std::string& message) {
  std::fprintf(stderr, "mqlb-replay: %s\n", message.c_str());
  return kUnusable;
}

// One line that is written anew, on a terminal only.
class ProgressLine {
 public:
  explicit ProgressLine(size_t total) : total_(total), shown_(isatty(STDERR_FILENO) == 1) {}
  void operator()(size_t ended) {
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || now < next_) return;
    next_ = now + std::chrono::milliseconds(200);
    std::fprintf(stderr, "\rplayed %zu of %zu connections", ended, total_);
    std::fflush(stderr);
    written_ = true;
  }
  ~ProgressLine() {
    if (written_) std::fputs("\r\x1b[K", stderr);
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

 private:
  size_t total_;
  bool shown_;
  bool written_ = false;
  std::chrono::steady_clock::time_point next_{};
};

// The EAL for a process without ports: no privileges, hugepages or files. Memory: flow tables.
base::Result<void> start_private_eal(const config::Model& model) {
  constexpr uint64_t kBytesPerFlow = 400;
  constexpr uint64_t kBase = 64;
  const uint64_t megabytes = kBase + model.settings.max_flows * kBytesPerFlow / 1'000'000;
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  sched_getaffinity(0, sizeof allowed, &allowed);
  size_t cpu = 0;
  while (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &allowed) == 0) ++cpu;
  const std::vector<std::string> words{"mqlb-replay",
                                       "--no-huge",
                                       "--no-shconf",
                                       "--no-pci",
                                       "--no-telemetry",
                                       "-m",
                                       std::to_string(megabytes),
                                       "--lcores",
                                       "0@" + std::to_string(cpu),
                                       "--log-level=lib.eal:error"};
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) {
    return base::fail(std::string("the EAL cannot be initialised: ") + rte_strerror(rte_errno));
  }
  return {};
}

base::Result<config::Model> read_config(const std::string& path) {
  config::Model model;
  const std::vector<std::string> errors = cli::run_script(path, model);
  if (!errors.empty()) {
    std::string all;
    for (const std::string& error : errors) all += (all.empty() ? "" : "\n") + error;
    return base::fail(all);
  }
  if (auto supported = config::check_supported(model); !supported) {
    return base::fail(path + ": " + supported.error().message);
  }
  return model;
}

std::vector<wire::Endpoint> listeners_of(const config::Model& model) {
  std::vector<wire::Endpoint> out;
  for (const config::Listener& listener : model.listeners) out.push_back(listener.endpoint);
  return out;
}

base::Result<void> check_conducts(const replay::PlayOptions& options, const config::Model& model) {
  for (const auto& [name, conduct] : options.conducts) {
    bool known = false;
    for (const config::Pool& pool : model.pools) {
      for (const config::Backend& backend : pool.backends) known = known || backend.name == name;
    }
    if (!known) return base::fail("--broker: the configuration has no backend '" + name + "'");
  }
  return {};
}

base::Result<replay::OfflineResult> play(const Arguments& arguments, const replay::Capture& capture,
                                         const std::vector<replay::Planned>& plan,
                                         const config::Model& model, const std::string& output) {
  std::optional<pcap::Writer> writer;
  if (!output.empty()) {
    std::vector<std::string> names;
    for (const config::Port& port : model.ports) names.push_back(port.name);
    auto created = pcap::Writer::create(output, names);
    if (!created) return tl::unexpected(created.error());
    writer = std::move(*created);
  }
  ProgressLine progress(plan.size());
  auto result =
      replay::play_offline(capture, plan, arguments.play, arguments.faults, model,
                           writer ? &*writer : nullptr, [&](size_t ended) { progress(ended); });
  if (!result) return result;
  if (writer) {
    if (auto written = writer->finish(); !written) return tl::unexpected(written.error());
  }
  return result;
}

// Time and memory are told beside the report, which is the same on every machine.
void print_report(const replay::Report& report, bool json,
                  std::chrono::steady_clock::time_point since) {
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - since;
  if (json) {
    replay::print_json(report, stdout);
  } else {
    replay::print_tables(report, stdout);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  std::fprintf(stderr, "mqlb-replay: %zu connections in %.2f s, at most %ld MB of memory\n",
               report.result.rows.size(), time.count(), usage.ru_maxrss / 1024);
}

int play_offline(Arguments& arguments, const replay::Capture& capture) {
  const auto since = std::chrono::steady_clock::now();
  auto model = read_config(arguments.config);
  if (!model) return fail(model.error().message);
  if (auto known = check_conducts(arguments.play, *model); !known) {
    return fail(known.error().message);
  }
  const std::vector<wire::Endpoint> listeners = listeners_of(*model);
  if (!arguments.play.target && listeners.size() == 1) arguments.play.target = listeners[0];
  // Where no acknowledgement is lost, nobody has to wait for its repetition: it saves memory.
  if (replay::is_lossless(arguments.faults)) arguments.play.linger = base::Duration(1'000'000);
  const auto plan = replay::make_plan(capture, arguments.play, listeners);
  if (!plan) return fail(plan.error().message);
  if (auto started = start_private_eal(*model); !started) return fail(started.error().message);

  replay::Report report;
  report.captures = arguments.captures;
  report.capture = &capture;
  report.plan = &*plan;
  if (!arguments.baseline.empty()) {
    auto other = read_config(arguments.baseline);
    if (!other) return fail(other.error().message);
    const auto before = play(arguments, capture, *plan, *other, "");
    if (!before) return fail(before.error().message);
    for (const replay::Row& row : before->rows) report.baseline.push_back(row.backend);
  }
  auto result = play(arguments, capture, *plan, *model, arguments.output);
  if (!result) return fail(result.error().message);
  report.result = std::move(*result);
  print_report(report, arguments.json, since);
  return replay::totals_of(report).different == 0 ? kEqual : kDifferent;
}

int play_live(Arguments& arguments, const replay::Capture& capture, int eal_arguments,
              char** argv) {
  const auto wall_clock = std::chrono::system_clock::now().time_since_epoch();
  arguments.play.clock = static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(wall_clock).count());
  const auto plan = replay::make_plan(capture, arguments.play, {});
  if (!plan) return fail(plan.error().message);
  if (rte_eal_init(eal_arguments, argv) < 0) {
    return fail(std::string("the EAL cannot be initialised: ") + rte_strerror(rte_errno));
  }
  const auto since = std::chrono::steady_clock::now();
  ProgressLine progress(plan->size());
  auto result = play_live(arguments, capture, *plan, [&](size_t ended) { progress(ended); });
  rte_eal_cleanup();
  if (!result) return fail(result.error().message);
  replay::Report report;
  report.captures = arguments.captures;
  report.capture = &capture;
  report.plan = &*plan;
  report.counters = false;
  report.result = std::move(*result);
  print_report(report, arguments.json, since);
  return replay::totals_of(report).different == 0 ? kEqual : kDifferent;
}

int run(int argc, char** argv) {
  // What is before "--" is the EAL's.
  int eal_arguments = 0;
  while (eal_arguments < argc && std::strcmp(argv[eal_arguments], "--") != 0) ++eal_arguments;
  const bool has_eal = eal_arguments < argc;
  auto arguments = has_eal ? parse_arguments(argc - eal_arguments, argv + eal_arguments)
                           : parse_arguments(argc, argv);
  if (!arguments) {
    std::fprintf(stderr, "mqlb-replay: %s\n\n%s", arguments.error().message.c_str(), kUsage);
    return kUnusable;
  }
  const auto capture = replay::load(arguments->captures, arguments->load);
  if (!capture) return fail(capture.error().message);
  switch (arguments->mode) {
    case Mode::list:
      replay::print_list(*capture, stdout);
      return kEqual;
    case Mode::offline:
      return play_offline(*arguments, *capture);
    case Mode::live:
      if (!has_eal) return fail("--live needs EAL-ARGS before --, as mqlb does");
      return play_live(*arguments, *capture, eal_arguments, argv);
  }
  return kUnusable;
}

}  // namespace
}  // namespace mqlb::app

int main(int argc, char** argv) { return mqlb::app::run(argc, argv); }
