// A worker's flows: an index from the client's address and port to a record.
//
// Owner: one worker core. The key is in the record, which a packet needs anyway, so finding it
// costs one cache line of the index and the record's own; for IPv6, where the key holds a hash of
// the address, one more with the address.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/base/lazy_array.hh"
#include "lib/base/result.hh"
#include "lib/flow/record.hh"
#include "lib/flow/tag_index.hh"

namespace mqlb::flow {

class WorkerTable {
 public:
  // capacity: flows, 1 to 2^27. Memory is taken at once, from DPDK's heap. seed: random, so that
  // clients cannot choose where they lie.
  [[nodiscard]] static base::Result<WorkerTable> create(uint32_t capacity, uint64_t seed);

  // vip: the number of the listener endpoint, which is of the client's family.
  [[nodiscard]] FlowIndex lookup(const wire::Endpoint& client, uint16_t vip) const {
    const ClientKey key = key_of(client, vip);
    return lookup(key, place_of(key), client.address);
  }
  // The same in three steps, with other work between them while memory answers. The table may
  // change meanwhile.
  struct Search {
    ClientKey key;
    TagIndex::Place place;
    FlowIndex candidate = kNoFlow;
  };
  // The bucket is on its way.
  [[nodiscard]] Search begin(const wire::Endpoint& client, uint16_t vip) const {
    const ClientKey key = key_of(client, vip);
    const Search search{key, place_of(key), kNoFlow};
    index_.prefetch(search.place);
    return search;
  }
  // The record is on its way.
  void fetch(Search& search) const {
    search.candidate = index_.first(search.place);
    if (search.candidate != kNoFlow) __builtin_prefetch(&records_[search.candidate], 1);
  }
  // The flow's index, or kNoFlow. For an IPv4 client:
  [[nodiscard]] FlowIndex finish(const Search& search) const {
    const FlowIndex index = search.candidate;
    if (index != kNoFlow && records_[index].key == search.key) return index;
    return index_.lookup(search.place, [&](FlowIndex i) { return records_[i].key == search.key; });
  }
  // And for an IPv6 client, whose address it is:
  [[nodiscard]] FlowIndex finish(const Search& search, const wire::IpAddress& address) const {
    return lookup(search.key, search.place, address);
  }
  // A fresh record in state `free` with a new generation, or kNoFlow when the table is full. The
  // client must not be in the table.
  [[nodiscard]] FlowIndex add(const wire::Endpoint& client, uint16_t vip);
  void remove(FlowIndex index);

  [[nodiscard]] WorkerFlow& operator[](FlowIndex index) { return records_[index]; }
  [[nodiscard]] WorkerFlowRest& rest(FlowIndex index) { return rests_[index]; }
  // Of a flow whose listener is of this family.
  [[nodiscard]] wire::IpAddress client_address(FlowIndex index, bool is_v4) const {
    return is_v4 ? wire::IpAddress::v4(records_[index].key.address) : addresses_[index];
  }
  // No index beyond it was ever in use.
  [[nodiscard]] uint32_t index_limit() const { return never_used_; }
  [[nodiscard]] uint32_t size() const { return size_; }

 private:
  struct DpdkDeleter {
    void operator()(void* p) const;
  };

  WorkerTable() = default;
  [[nodiscard]] ClientKey key_of(const wire::Endpoint& client, uint16_t vip) const {
    const bool is_v4 = client.address.is_v4();
    return {is_v4 ? client.address.v4_bits() : hash_v6(client.address), client.port, vip};
  }
  // Clients choose the lower half of their addresses, so the hash has a seed.
  [[nodiscard]] uint32_t hash_v6(const wire::IpAddress& address) const;
  [[nodiscard]] bool has_key(FlowIndex index, const ClientKey& key,
                             const wire::IpAddress& address) const {
    return records_[index].key == key && (address.is_v4() || addresses_[index] == address);
  }
  [[nodiscard]] FlowIndex lookup(const ClientKey& key, const TagIndex::Place& place,
                                 const wire::IpAddress& address) const {
    return index_.lookup(place, [&](FlowIndex i) { return has_key(i, key, address); });
  }
  // A multiplicative hash with a random seed: clients choose their ports, so they must not be able
  // to choose a bucket (a CRC's collisions do not depend on its seed).
  [[nodiscard]] TagIndex::Place place_of(const ClientKey& key) const {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(key.bits() ^ seed_) * 0xd6e8feb86659fd93U;
    const uint64_t folded = static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
    return index_.place_of((folded ^ seed_) * 0xa0761d6478bd642fU);
  }

  TagIndex index_;
  std::unique_ptr<WorkerFlow[], DpdkDeleter> records_;
  std::unique_ptr<WorkerFlowRest[], DpdkDeleter> rests_;
  base::LazyArray<wire::IpAddress> addresses_;  // of IPv6 clients
  uint64_t seed_ = 0;
  uint32_t capacity_ = 0;
  uint32_t size_ = 0;
  uint32_t never_used_ = 0;        // records from here on were never taken
  FlowIndex free_head_ = kNoFlow;  // linked through proxy_flow
};

}  // namespace mqlb::flow
