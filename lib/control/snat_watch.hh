// Warns before the SNAT ports toward a broker run out: at 100 percent its clients are refused.
//
// Owner: the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "lib/base/time.hh"
#include "lib/engine/backend_status.hh"

namespace mqlb::control {

class SnatWatch {
 public:
  using Log = std::function<void(const std::string&)>;

  SnatWatch(const engine::BackendLoads& loads, Log log) : loads_(loads), log_(std::move(log)) {}

  // Looks at once in a second; says a line when the use of ports toward a broker reaches 80 percent
  // and when it is below 70 again. Ports in quarantine are not counted: `show snat` has them.
  void advance(const config::Snapshot& snapshot, base::Instant now);

 private:
  struct Use {
    uint64_t flows = 0;
    uint64_t ports = 0;
  };

  [[nodiscard]] static uint64_t ports_toward(const config::Snapshot& snapshot,
                                             const config::BackendEntry& backend);
  void judge(const wire::Endpoint& broker, const Use& use);

  const engine::BackendLoads& loads_;
  Log log_;
  base::Instant next_{};
  std::map<wire::Endpoint, bool> warned_;
};

}  // namespace mqlb::control
