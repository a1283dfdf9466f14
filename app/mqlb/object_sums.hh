// What all cores together count of listeners and backends, since their ids mean what they mean now.
//
// Cores only ever add to the counters of an id. When a new configuration gives an id to another
// object, what was counted until then is kept, and subtracted from then on. Owned by the control
// thread.
#pragma once

#include <vector>

#include "lib/engine/context.hh"

namespace mqlb::app {

class ObjectSums {
 public:
  // counters: of a core, for as long as this is asked.
  void add_core(const engine::ObjectCounters& counters) { cores_.push_back(&counters); }

  [[nodiscard]] uint64_t backend(config::BackendId id,
                                 base::Counter engine::BackendCounters::*member) const;
  [[nodiscard]] uint64_t listener(config::ListenerId id,
                                  base::Counter engine::ListenerCounters::*member) const;

  // Before cores read `next`. An object is another one if its name, endpoint or pool (of a
  // backend) differs.
  void adopt(const config::Snapshot& previous, const config::Snapshot& next);

 private:
  void forget_backend(config::BackendId id);
  void forget_listener(config::ListenerId id);

  std::vector<const engine::ObjectCounters*> cores_;
  engine::ObjectCounters forgotten_;  // `flows` stays 0: that is how many there are now
};

}  // namespace mqlb::app
