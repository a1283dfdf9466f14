#include "lib/flow/worker_table.hh"

#include <rte_malloc.h>
#include <xxhash.h>

namespace mqlb::flow {
namespace {

template <typename T>
T* allocate(const char* name, size_t count) {
  return static_cast<T*>(rte_zmalloc(name, count * sizeof(T), 64));
}

}  // namespace

void WorkerTable::DpdkDeleter::operator()(void* p) const { rte_free(p); }

base::Result<WorkerTable> WorkerTable::create(uint32_t capacity, uint64_t seed) {
  WorkerTable table;
  table.capacity_ = capacity;
  table.seed_ = seed * 0x9e3779b97f4a7c15U;
  table.index_ = TagIndex(capacity);
  table.records_.reset(allocate<WorkerFlow>("mqlb_worker_flows", capacity));
  table.rests_.reset(allocate<WorkerFlowRest>("mqlb_worker_rests", capacity));
  table.addresses_ = base::LazyArray<wire::IpAddress>(capacity);
  if (!table.index_.valid() || !table.records_ || !table.rests_ || !table.addresses_.valid()) {
    return base::fail("no memory for " + std::to_string(capacity) +
                      " flows (more DPDK memory: -m, or hugepages)");
  }
  return table;
}

uint32_t WorkerTable::hash_v6(const wire::IpAddress& address) const {
  const auto octets = address.octets();
  return static_cast<uint32_t>(XXH3_64bits_withSeed(octets.data(), octets.size(), seed_));
}

FlowIndex WorkerTable::add(const wire::Endpoint& client, uint16_t vip) {
  FlowIndex index = free_head_;
  if (index != kNoFlow) {
    free_head_ = records_[index].proxy_flow;
  } else if (never_used_ < capacity_) {
    index = never_used_++;
  } else {
    return kNoFlow;
  }
  const auto generation = static_cast<uint16_t>(rests_[index].generation + 1);
  const ClientKey key = key_of(client, vip);
  records_[index] = WorkerFlow{};
  records_[index].key = key;
  if (!client.address.is_v4()) addresses_[index] = client.address;
  rests_[index] = WorkerFlowRest{};
  rests_[index].generation = generation;
  index_.add(place_of(key), index);
  ++size_;
  return index;
}

void WorkerTable::remove(FlowIndex index) {
  WorkerFlow& f = records_[index];
  index_.remove(place_of(f.key), index);
  f.key = ClientKey{};  // no client's: a search that has begun does not find it
  f.state = WorkerState::free;
  f.proxy_flow = free_head_;
  free_head_ = index;
  --size_;
}

}  // namespace mqlb::flow
