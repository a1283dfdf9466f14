// What is measured. Every case makes a rig of its own, warms it up, and gives the median of several
// runs in cycles of the time stamp counter, from a burst of frames handed to the core until it has
// passed on what it sends.
#pragma once

#include <string>
#include <vector>

#include "lib/base/result.hh"

namespace mqlb::bench {

struct Figure {
  std::string what;
  uint64_t flows = 0;  // standing
  double median = 0;
  double least = 0;
  double most = 0;
  std::string unit;
};
using Figures = std::vector<Figure>;
[[nodiscard]] Figure figure(std::string what, uint64_t flows, std::vector<double> runs,
                            std::string unit);

struct CaseOptions {
  std::vector<uint32_t> flows{1000, 100'000, 1'000'000};
  unsigned runs = 7;
};

// Spliced packets in random order of flows, each way, beside a plain NAT's.
[[nodiscard]] base::Result<Figures> measure_spliced(const CaseOptions& options);
// Whole connections, from the SYN until their records are given back.
[[nodiscard]] base::Result<Figures> measure_connections(const CaseOptions& options);
// SYNs, forged ACKs and segments of unknown flows, and spliced packets between SYNs.
[[nodiscard]] base::Result<Figures> measure_floods(const CaseOptions& options);
// Memory of one core for so many flows, all taken at the start, and the time that takes.
[[nodiscard]] base::Result<Figures> measure_memory(const CaseOptions& options);
// Spliced packets by ports over rings, beside the same without ports and ports without mqlb.
[[nodiscard]] base::Result<Figures> measure_ports(const CaseOptions& options);
// Tables of 65,537 slots: time to build, and what moves when a broker joins.
[[nodiscard]] base::Result<Figures> measure_maglev(const CaseOptions& options);
// A worker and a proxy on two lcores, beside one core with both roles.
[[nodiscard]] base::Result<Figures> measure_split(const CaseOptions& options);

}  // namespace mqlb::bench
