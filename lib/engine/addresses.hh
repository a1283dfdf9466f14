// Which of our addresses a packet is for, and which broker it is from: small maps that stay in the
// first-level cache. Each core builds its own from the snapshot and keeps it.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/config/snapshot.hh"
#include "lib/wire/address.hh"

namespace mqlb::engine {

// Numbers endpoints, from 0, in the order they are first seen. A number never changes, so records
// may hold it; endpoints are never forgotten (there are as many as were ever configured).
class EndpointMap {
 public:
  static constexpr uint16_t kNone = 0xffff;

  EndpointMap();

  [[nodiscard]] uint16_t lookup(const wire::Endpoint& endpoint) const {
    for (size_t i = home(endpoint);; i = (i + 1) & (buckets_.size() - 1)) {
      const uint16_t n = buckets_[i];
      if (n == kNone || endpoints_[n] == endpoint) return n;
    }
  }
  // The number of an endpoint, a new one if it has none.
  uint16_t add(const wire::Endpoint& endpoint);
  [[nodiscard]] const wire::Endpoint& operator[](uint16_t number) const {
    return endpoints_[number];
  }
  [[nodiscard]] size_t size() const { return endpoints_.size(); }

 private:
  [[nodiscard]] size_t home(const wire::Endpoint& endpoint) const {
    return static_cast<size_t>(endpoint.hash() >> shift_);
  }
  bool insert(uint16_t number);

  static constexpr size_t kFewestBuckets = 16;
  static constexpr int kFirstShift = 60;
  static constexpr size_t kMostBucketsEach = 32;

  std::vector<wire::Endpoint> endpoints_;
  // A power of two of them, enough that (nearly) none is asked for another's endpoint: which it is
  // differs from packet to packet, and a processor cannot guess.
  std::vector<uint16_t> buckets_;
  int shift_;  // 64 less the logarithm of their number
};

// What an address of ours is used for.
struct LocalAddress {
  bool present = false;  // in the snapshot
  bool snat = false;
  bool listener = false;       // of some port
  config::SnatId snat_id = 0;  // with snat
};

class Addresses {
 public:
  // Takes over what a new snapshot says.
  void adopt(const config::Snapshot& snapshot);

  // The number of the listener endpoint, or kNone; it may have no listener any more.
  [[nodiscard]] uint16_t vip(const wire::Endpoint& endpoint) const {
    return vips_.lookup(endpoint);
  }
  [[nodiscard]] const wire::Endpoint& vip_endpoint(uint16_t vip) const { return vips_[vip]; }
  // The listener that accepts there now, or nothing.
  [[nodiscard]] const config::ListenerId* listener(uint16_t vip) const {
    return listeners_[vip] == kNoListener ? nullptr : &listeners_[vip];
  }

  // Null if the address is not ours.
  [[nodiscard]] const LocalAddress* local(const wire::IpAddress& address) const {
    const uint16_t n = locals_.lookup({address, 0});
    return n == EndpointMap::kNone || !local_[n].present ? nullptr : &local_[n];
  }

  [[nodiscard]] uint16_t broker(const wire::Endpoint& endpoint) const {
    return brokers_.lookup(endpoint);
  }
  // Whether a backend has the address, or had it; by whatever port.
  [[nodiscard]] bool is_broker(const wire::IpAddress& address) const {
    return broker_addresses_.lookup({address, 0}) != EndpointMap::kNone;
  }
  [[nodiscard]] uint16_t broker_of(config::BackendId backend) const { return broker_of_[backend]; }
  [[nodiscard]] const wire::Endpoint& broker_endpoint(uint16_t broker) const {
    return brokers_[broker];
  }
  [[nodiscard]] size_t broker_count() const { return brokers_.size(); }

 private:
  static constexpr config::ListenerId kNoListener = 0xffff;

  LocalAddress& add_local(const wire::IpAddress& address);

  EndpointMap vips_;
  std::vector<config::ListenerId> listeners_;  // by vip
  EndpointMap locals_;                         // address with port 0
  std::vector<LocalAddress> local_;
  EndpointMap brokers_;
  EndpointMap broker_addresses_;     // with port 0
  std::vector<uint16_t> broker_of_;  // by backend
};

}  // namespace mqlb::engine
