#include "lib/flow/worker_table.hh"

#include <rte_errno.h>
#include <rte_hash.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace mqlb::flow {
namespace {

__extension__ using Wide = unsigned __int128;

// A multiplicative hash with a random seed: clients choose their ports, so they must not be able
// to choose a bucket (a CRC's collisions do not depend on its seed).
uint32_t hash_client_key(const void* key, uint32_t /*length*/, uint32_t seed) {
  uint64_t k;
  std::memcpy(&k, key, sizeof k);
  const uint64_t a = k ^ (uint64_t{seed} * 0x9e3779b97f4a7c15U);
  const Wide product = static_cast<Wide>(a) * 0xd6e8feb86659fd93U;
  const uint64_t folded = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
  const uint64_t mixed = (folded ^ seed) * 0xa0761d6478bd642fU;
  return static_cast<uint32_t>(mixed >> 32);
}

template <typename T>
T* allocate(const char* name, size_t count) {
  return static_cast<T*>(rte_zmalloc(name, count * sizeof(T), 64));
}

}  // namespace

void WorkerTable::HashDeleter::operator()(rte_hash* hash) const { rte_hash_free(hash); }
void WorkerTable::DpdkDeleter::operator()(void* p) const { rte_free(p); }

base::Result<WorkerTable> WorkerTable::create(const std::string& name, uint32_t capacity,
                                              uint32_t hash_seed) {
  constexpr uint32_t kLeastEntries = 8;  // rte_hash's own
  rte_hash_parameters parameters{};
  parameters.name = name.c_str();
  parameters.entries = std::max(capacity, kLeastEntries);
  parameters.key_len = sizeof(ClientKey);
  parameters.hash_func = hash_client_key;
  parameters.hash_func_init_val = hash_seed;
  parameters.socket_id = static_cast<int>(rte_socket_id());
  parameters.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;
  WorkerTable table;
  table.capacity_ = capacity;
  table.hash_.reset(rte_hash_create(&parameters));
  if (!table.hash_) {
    return base::fail("no flow table of " + std::to_string(capacity) + " flows: " +
                      rte_strerror(rte_errno) + " (more DPDK memory: -m, or hugepages)");
  }
  table.limit_ = static_cast<uint32_t>(rte_hash_max_key_id(table.hash_.get())) + 1;
  table.records_.reset(allocate<WorkerFlow>("mqlb_worker_flows", table.limit_));
  table.hashes_.reset(allocate<uint64_t>("mqlb_client_ids", table.limit_));
  table.floors_.reset(allocate<uint32_t>("mqlb_floors", table.limit_));
  if (!table.records_ || !table.hashes_ || !table.floors_) {
    return base::fail("no memory for " + std::to_string(capacity) +
                      " flow records (more DPDK memory: -m, or hugepages)");
  }
  return table;
}

FlowIndex WorkerTable::lookup(const ClientKey& key) const {
  const int32_t position = rte_hash_lookup(hash_.get(), &key);
  return position < 0 ? kNoFlow : static_cast<FlowIndex>(position);
}

void WorkerTable::lookup_bulk(std::span<const ClientKey> keys, std::span<FlowIndex> out) const {
  std::array<const void*, kMaxBulk> pointers;
  std::array<int32_t, kMaxBulk> positions;
  for (size_t i = 0; i < keys.size(); ++i) pointers[i] = &keys[i];
  if (keys.empty()) return;
  rte_hash_lookup_bulk(hash_.get(), pointers.data(), static_cast<uint32_t>(keys.size()),
                       positions.data());
  for (size_t i = 0; i < keys.size(); ++i) {
    out[i] = positions[i] < 0 ? kNoFlow : static_cast<FlowIndex>(positions[i]);
  }
}

FlowIndex WorkerTable::add(const ClientKey& key) {
  if (size_ >= capacity_) return kNoFlow;
  const int32_t position = rte_hash_add_key(hash_.get(), &key);
  if (position < 0) return kNoFlow;
  const auto index = static_cast<FlowIndex>(position);
  const uint16_t generation = records_[index].generation;
  records_[index] = WorkerFlow{};
  records_[index].generation = static_cast<uint16_t>(generation + 1);
  hashes_[index] = 0;
  ++size_;
  ++changes_;
  return index;
}

void WorkerTable::remove(FlowIndex index) {
  const ClientKey key = key_of(index);
  rte_hash_del_key(hash_.get(), &key);
  records_[index].state = WorkerState::free;
  --size_;
  ++changes_;
}

ClientKey WorkerTable::key_of(FlowIndex index) const {
  void* stored = nullptr;
  ClientKey key;
  if (rte_hash_get_key_with_position(hash_.get(), static_cast<int32_t>(index), &stored) == 0) {
    std::memcpy(&key, stored, sizeof key);
  }
  return key;
}

}  // namespace mqlb::flow
