// mqlb-bench EAL-ARGS -- [--flows N[,N...]] [--runs N] [--json] [CASE...]
#include <getopt.h>
#include <rte_cycles.h>
#include <rte_eal.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "app/mqlb-bench/cases.hh"
#include "lib/cli/table.hh"

namespace mqlb::bench {
namespace {

struct Case {
  std::string_view name;
  base::Result<Figures> (*measure)(const CaseOptions&);
  std::string_view what;
  bool may_stand_alone = false;  // needs no standing flows
};
constexpr Case kCases[] = {
    {"spliced", measure_spliced, "spliced packets, beside a plain NAT"},
    {"connections", measure_connections, "whole connections (beside 0 flows, too)", true},
    {"floods", measure_floods, "SYNs, forged ACKs, unknown flows"},
    {"ports", measure_ports, "spliced packets by ports over rings"},
    {"memory", measure_memory, "memory of flows"},
    {"maglev", measure_maglev, "hash tables"},
    {"split", measure_split, "a worker and a proxy core, beside one of both (two lcores)"},
};

constexpr uint64_t kMostFlows = 20'000'000;

void print_usage() {
  std::fputs("usage: mqlb-bench EAL-ARGS -- [--flows N[,N...]] [--runs N] [--json] [CASE...]\n",
             stderr);
  for (const Case& c : kCases) {
    std::fprintf(stderr, "  %-12s %s\n", std::string(c.name).c_str(), std::string(c.what).c_str());
  }
}

template <typename T>
bool parse_number(std::string_view text, uint64_t least, uint64_t most, T& out) {
  uint64_t n = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, n);
  out = static_cast<T>(n);
  return error == std::errc() && rest == end && n >= least && n <= most;
}

bool parse_flows(std::string_view text, std::vector<uint32_t>& out) {
  out.clear();
  while (true) {
    const size_t comma = text.find(',');
    uint32_t n = 0;
    if (!parse_number(text.substr(0, comma), 0, kMostFlows, n)) return false;
    out.push_back(n);
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

struct Arguments {
  CaseOptions options;
  bool json = false;
  std::vector<const Case*> cases;
};

bool parse_arguments(int argc, char** argv, Arguments& out) {
  const option options[] = {{"flows", required_argument, nullptr, 'f'},
                            {"runs", required_argument, nullptr, 'r'},
                            {"json", no_argument, nullptr, 'j'},
                            {nullptr, 0, nullptr, 0}};
  optind = 1;
  int choice = 0;
  while ((choice = getopt_long(argc, argv, "", options, nullptr)) != -1) {
    if (choice == 'f' && parse_flows(optarg, out.options.flows)) continue;
    if (choice == 'r' && parse_number(optarg, 1, 1000, out.options.runs)) continue;
    if (choice != 'j') return false;
    out.json = true;
  }
  for (int i = optind; i < argc; ++i) {
    const auto known = std::find_if(std::begin(kCases), std::end(kCases),
                                    [&](const Case& c) { return c.name == argv[i]; });
    if (known == std::end(kCases)) return false;
    out.cases.push_back(known);
  }
  if (out.cases.empty()) {
    for (const Case& c : kCases) out.cases.push_back(&c);
  }
  const auto& flows = out.options.flows;
  return std::find(flows.begin(), flows.end(), 0U) == flows.end() ||
         std::all_of(out.cases.begin(), out.cases.end(),
                     [](const Case* c) { return c->may_stand_alone; });
}

int run(int argc, char** argv) {
  int eal_arguments = 0;
  while (eal_arguments < argc && std::strcmp(argv[eal_arguments], "--") != 0) ++eal_arguments;
  Arguments arguments;
  if (eal_arguments == argc ||
      !parse_arguments(argc - eal_arguments, argv + eal_arguments, arguments)) {
    print_usage();
    return 2;
  }
  if (rte_eal_init(eal_arguments, argv) < 0) return 2;
  cli::Table table({"what", "flows", "median", "least", "most", "unit"});
  for (const Case* c : arguments.cases) {
    const auto figures = c->measure(arguments.options);
    if (!figures) {
      std::fprintf(stderr, "mqlb-bench: %s: %s\n", std::string(c->name).c_str(),
                   figures.error().message.c_str());
      return 1;
    }
    for (const Figure& f : *figures) {
      table.add({f.what, f.flows, f.median, f.least, f.most, f.unit});
    }
  }
  std::fputs((arguments.json ? table.to_json() : table.to_text()).c_str(), stdout);
  std::fprintf(stderr, "time stamp counter: %.2f GHz\n",
               static_cast<double>(rte_get_tsc_hz()) / 1e9);
  return 0;
}

}  // namespace
}  // namespace mqlb::bench

int main(int argc, char** argv) { return mqlb::bench::run(argc, argv); }
