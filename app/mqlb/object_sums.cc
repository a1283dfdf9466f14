#include "app/mqlb/object_sums.hh"

namespace mqlb::app {

using engine::BackendCounters;
using engine::ListenerCounters;

uint64_t ObjectSums::backend(config::BackendId id, base::Counter BackendCounters::*member) const {
  uint64_t sum = 0;
  for (const engine::ObjectCounters* core : cores_) sum += (core->backends[id].*member).value();
  return sum - (forgotten_.backends[id].*member).value();
}

uint64_t ObjectSums::listener(config::ListenerId id,
                              base::Counter ListenerCounters::*member) const {
  uint64_t sum = 0;
  for (const engine::ObjectCounters* core : cores_) sum += (core->listeners[id].*member).value();
  return sum - (forgotten_.listeners[id].*member).value();
}

void ObjectSums::adopt(const config::Snapshot& previous, const config::Snapshot& next) {
  for (config::BackendId id = 0; id < previous.backends.size(); ++id) {
    const config::BackendEntry& before = previous.backends[id];
    const config::BackendEntry& now = next.backends[id];
    if (before.name != now.name || before.endpoint != now.endpoint ||
        previous.pools[before.pool].name != next.pools[now.pool].name) {
      forget_backend(id);
    }
  }
  for (config::ListenerId id = 0; id < previous.listeners.size(); ++id) {
    const config::ListenerEntry& before = previous.listeners[id];
    const config::ListenerEntry& now = next.listeners[id];
    if (before.name != now.name || before.endpoint != now.endpoint) forget_listener(id);
  }
}

void ObjectSums::forget_backend(config::BackendId id) {
  for (const auto member :
       {&BackendCounters::selected, &BackendCounters::established, &BackendCounters::failures,
        &BackendCounters::bytes_to_backend, &BackendCounters::bytes_to_client}) {
    (forgotten_.backends[id].*member).add(backend(id, member));
  }
}

void ObjectSums::forget_listener(config::ListenerId id) {
  for (const auto member :
       {&ListenerCounters::accepted, &ListenerCounters::spliced, &ListenerCounters::refused,
        &ListenerCounters::denied, &ListenerCounters::over_limit,
        &ListenerCounters::over_source_limit, &ListenerCounters::over_client_id_rate}) {
    (forgotten_.listeners[id].*member).add(listener(id, member));
  }
}

}  // namespace mqlb::app
