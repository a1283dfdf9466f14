// What a replay says of itself: a row for each connection, totals, counters; as tables or JSON.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "lib/replay/offline.hh"

namespace mqlb::replay {

struct Report {
  std::vector<std::string> captures;
  const Capture* capture = nullptr;
  const std::vector<Planned>* plan = nullptr;
  OfflineResult result;               // live: rows only
  bool counters = true;               // those of the balancer are known
  std::vector<std::string> baseline;  // the backend of each row under another configuration
};

struct Totals {
  size_t equal = 0;
  size_t different = 0;
  size_t moved = 0;
};

// Why a row counts as a difference; empty: it does not. What a RST, that was captured too, kept
// from arriving is none.
[[nodiscard]] std::string problem_of(const Row& row, const Recording& recording);
[[nodiscard]] Totals totals_of(const Report& report);

// Deterministic: nothing of the machine or of the time it took.
void print_json(const Report& report, std::FILE* out);
void print_tables(const Report& report, std::FILE* out);
// What is in captures, without playing it.
void print_list(const Capture& capture, std::FILE* out);

}  // namespace mqlb::replay
