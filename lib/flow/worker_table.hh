// A worker's flows: an index on rte_hash from the client's address and port to a record.
//
// Owner: one worker core; only lookups of counts are made elsewhere. The position that rte_hash
// gives a key is the record's index, so a lookup costs the bucket, the key and the record.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/flow/record.hh"

struct rte_hash;

namespace mqlb::flow {

// IPv4 clients; 8 bytes keep an rte_hash key slot at 16.
struct ClientKey {
  uint32_t address = 0;
  uint16_t port = 0;
  uint16_t vip = 0;
};
static_assert(sizeof(ClientKey) == 8);

class WorkerTable {
 public:
  // capacity: flows, 1 to 2^27. Memory is taken at once, from DPDK's heap. name: unique in the
  // process.
  [[nodiscard]] static base::Result<WorkerTable> create(const std::string& name, uint32_t capacity,
                                                        uint32_t hash_seed);

  [[nodiscard]] FlowIndex lookup(const ClientKey& key) const;
  static constexpr size_t kMaxBulk = 64;
  // out[i] is the index for keys[i], or kNoFlow. At most kMaxBulk keys.
  void lookup_bulk(std::span<const ClientKey> keys, std::span<FlowIndex> out) const;
  // A fresh record in state `free` with a new generation, or kNoFlow when the table is full. The
  // key must not be in the table.
  [[nodiscard]] FlowIndex add(const ClientKey& key);
  void remove(FlowIndex index);
  // Only for an index in use.
  [[nodiscard]] ClientKey key_of(FlowIndex index) const;

  [[nodiscard]] WorkerFlow& operator[](FlowIndex index) { return records_[index]; }
  // What packets of a settled flow do not need, kept apart from the record.
  [[nodiscard]] uint64_t& client_id_hash(FlowIndex index) { return hashes_[index]; }
  // With kOldTsecr: our clock at the splice; the broker sent no timestamp before (client space).
  [[nodiscard]] uint32_t& tsecr_floor(FlowIndex index) { return floors_[index]; }
  // Indices are below this.
  [[nodiscard]] uint32_t index_limit() const { return limit_; }
  [[nodiscard]] uint32_t size() const { return size_; }
  // Counts additions and removals: results of an earlier lookup hold while it stays the same.
  [[nodiscard]] uint64_t changes() const { return changes_; }

 private:
  struct HashDeleter {
    void operator()(rte_hash* hash) const;
  };
  struct DpdkDeleter {
    void operator()(void* p) const;
  };

  WorkerTable() = default;

  std::unique_ptr<rte_hash, HashDeleter> hash_;
  std::unique_ptr<WorkerFlow[], DpdkDeleter> records_;
  std::unique_ptr<uint64_t[], DpdkDeleter> hashes_;
  std::unique_ptr<uint32_t[], DpdkDeleter> floors_;
  uint32_t capacity_ = 0;
  uint32_t limit_ = 0;
  uint32_t size_ = 0;
  uint64_t changes_ = 0;
};

}  // namespace mqlb::flow
