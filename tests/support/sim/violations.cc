#include "tests/support/sim/violations.hh"

#include <algorithm>

namespace mqlb::sim {
namespace {

constexpr size_t kKept = 200;

constexpr std::array<std::string_view, kFaults> kNames{"frame",
                                                       "ip-checksum",
                                                       "tcp-checksum",
                                                       "mtu",
                                                       "mac",
                                                       "resolution",
                                                       "mss",
                                                       "ack-unsent",
                                                       "ack-regressed",
                                                       "ack-untrue",
                                                       "ack-stale",
                                                       "sack-range",
                                                       "sack-untrue",
                                                       "timestamp-echo",
                                                       "timestamp-regressed",
                                                       "option-unexpected",
                                                       "option-missing",
                                                       "window",
                                                       "sequence",
                                                       "data",
                                                       "proxy-header",
                                                       "mqtt",
                                                       "storm"};

}  // namespace

std::string_view to_string(Fault kind) { return kNames[static_cast<size_t>(kind)]; }

void Violations::report(Fault kind, Instant at, std::string text) {
  if (is_allowed(kind)) return;
  ++counts_[index(kind)];
  ++total_;
  if (first_.size() < kKept) first_.push_back({kind, at, std::move(text)});
}

std::string Violations::summary(size_t lines) const {
  std::string text;
  for (size_t i = 0; i < kFaults; ++i) {
    if (counts_[i] != 0) text += std::string(kNames[i]) + ": " + std::to_string(counts_[i]) + "\n";
  }
  for (size_t i = 0; i < std::min(lines, first_.size()); ++i) {
    const Violation& v = first_[i];
    text += std::to_string(v.at.time_since_epoch().count()) + " us " +
            std::string(to_string(v.kind)) + ": " + v.text + "\n";
  }
  return text;
}

}  // namespace mqlb::sim
