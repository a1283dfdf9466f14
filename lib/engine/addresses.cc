#include "lib/engine/addresses.hh"

#include <algorithm>

namespace mqlb::engine {

EndpointMap::EndpointMap() : buckets_(kFewestBuckets, kNone), shift_(kFirstShift) {}

uint16_t EndpointMap::add(const wire::Endpoint& endpoint) {
  const uint16_t known = lookup(endpoint);
  if (known != kNone) return known;
  endpoints_.push_back(endpoint);
  const auto number = static_cast<uint16_t>(endpoints_.size() - 1);
  bool collides = !insert(number);
  while (collides && buckets_.size() < endpoints_.size() * kMostBucketsEach) {
    buckets_.assign(buckets_.size() * 2, kNone);
    --shift_;
    collides = false;
    for (uint16_t n = 0; n <= number; ++n) collides |= !insert(n);
  }
  return number;
}

// False if the bucket that its hash names is another's.
bool EndpointMap::insert(uint16_t number) {
  size_t i = home(endpoints_[number]);
  const bool own = buckets_[i] == kNone;
  while (buckets_[i] != kNone) i = (i + 1) & (buckets_.size() - 1);
  buckets_[i] = number;
  return own;
}

void Addresses::adopt(const config::Snapshot& snapshot) {
  std::fill(listeners_.begin(), listeners_.end(), kNoListener);
  std::fill(local_.begin(), local_.end(), LocalAddress{});
  for (config::ListenerId id = 0; id < snapshot.listeners.size(); ++id) {
    const config::ListenerEntry& listener = snapshot.listeners[id];
    if (listener.endpoint.address.is_unspecified()) continue;  // forgotten
    const uint16_t vip = vips_.add(listener.endpoint);
    listeners_.resize(std::max<size_t>(listeners_.size(), vip + 1U), kNoListener);
    if (!listener.retired) listeners_[vip] = id;
    add_local(listener.endpoint.address).listener = true;
  }
  for (const config::PortEntry& port : snapshot.ports) {
    for (const wire::Prefix& prefix : port.addresses) add_local(prefix.address);
  }
  for (config::SnatId id = 0; id < snapshot.snats.size(); ++id) {
    if (snapshot.snats[id].address.is_unspecified()) continue;  // forgotten
    LocalAddress& local = add_local(snapshot.snats[id].address);
    local.snat = true;
    local.snat_id = id;
  }
  broker_of_.assign(snapshot.backends.size(), 0);
  for (config::BackendId id = 0; id < snapshot.backends.size(); ++id) {
    broker_of_[id] = brokers_.add(snapshot.backends[id].endpoint);
    broker_addresses_.add({snapshot.backends[id].endpoint.address, 0});
  }
}

LocalAddress& Addresses::add_local(const wire::IpAddress& address) {
  const uint16_t n = locals_.add({address, 0});
  if (n >= local_.size()) local_.resize(n + 1U);
  local_[n].present = true;
  return local_[n];
}

}  // namespace mqlb::engine
