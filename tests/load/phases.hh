// What mqtt-load does in each phase. All return the exit status, and print a report if it is 0.
#pragma once

#include "tests/load/options.hh"

namespace mqlb::load {

[[nodiscard]] int run_connect(const Options& options);
[[nodiscard]] int run_idle(const Options& options);
[[nodiscard]] int run_publish(const Options& options);
[[nodiscard]] int run_latency(const Options& options);

}  // namespace mqlb::load
