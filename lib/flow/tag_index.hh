// A hash index that holds no keys: from a hash to the numbers of records that may have the key. The
// record says whether it has; it must be fetched anyway.
//
// A bucket is one cache line of twelve entries, each a tag (eight bits of the hash) and a record's
// number. A key lies in its home bucket or, when that was full, in the next that was not; `passed`
// counts the keys that went by, so a look-up knows when to stop. A look-up so costs one line here
// and the record's own: rte_hash fetches two buckets, and the key from a third place. Memory is
// about ten bytes a record.
//
// Owner: one core. Not for keys chosen by somebody who knows the hash's seed: one bucket's chain
// would grow long.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>

#include "lib/flow/record.hh"

namespace mqlb::flow {

class TagIndex {
 public:
  // Where a key would be.
  struct Place {
    uint32_t bucket = 0;
    uint8_t tag = 1;
  };

  TagIndex() = default;
  // For at most `capacity` records. Memory is taken at once, from DPDK's heap; without it valid()
  // is false.
  explicit TagIndex(uint32_t capacity);
  [[nodiscard]] bool valid() const { return buckets_ != nullptr; }

  // The upper half of the hash chooses the bucket, its lowest byte is the tag.
  [[nodiscard]] Place place_of(uint64_t hash) const {
    const auto tag = static_cast<uint8_t>(hash);
    return {static_cast<uint32_t>((hash >> 32) * bucket_count_ >> 32), tag == kFree ? kOther : tag};
  }
  void prefetch(const Place& place) const { __builtin_prefetch(&buckets_[place.bucket]); }
  // The first record of the home bucket that may have the key: nearly always the one, if there is.
  [[nodiscard]] FlowIndex first(const Place& place) const {
    const Bucket& bucket = buckets_[place.bucket];
    const Matches matches = bucket.match(place.tag);
    return matches.any() ? bucket.entries[matches.next()] : kNoFlow;
  }
  // The record for which has_key(its number) is true, or kNoFlow.
  template <typename HasKey>
  [[nodiscard]] FlowIndex lookup(const Place& place, const HasKey& has_key) const {
    for (uint32_t at = place.bucket;; at = behind(at)) {
      const Bucket& bucket = buckets_[at];
      for (Matches m = bucket.match(place.tag); m.any(); m.drop()) {
        const FlowIndex index = bucket.entries[m.next()];
        if (has_key(index)) return index;
      }
      if (bucket.passed == 0) return kNoFlow;
    }
  }
  // There must be fewer records in the index than its capacity.
  void add(const Place& place, FlowIndex index);
  // The record must be in the index.
  void remove(const Place& place, FlowIndex index);

 private:
  static constexpr size_t kEntries = 12;
  static constexpr uint8_t kFree = 0;
  static constexpr uint8_t kOther = 1;  // the tag of keys whose hash would say kFree

  // Bit 7 of each byte of the word that is zero. Exact: a tag that only looks equal might be that
  // of an entry that was freed.
  static uint64_t zero_bytes(uint64_t word) {
    constexpr uint64_t kLowBits = 0x7f7f7f7f7f7f7f7fU;
    return ~(((word & kLowBits) + kLowBits) | word | kLowBits);
  }

  // Entries of a bucket whose tags are equal to one.
  class Matches {
   public:
    Matches(uint64_t low, uint64_t high) : low_(low), high_(high) {}
    [[nodiscard]] bool any() const { return (low_ | high_) != 0; }
    [[nodiscard]] size_t next() const {
      const int bit = low_ != 0 ? std::countr_zero(low_) : 64 + std::countr_zero(high_);
      return static_cast<size_t>(bit) / 8;
    }
    void drop() { (low_ != 0 ? low_ : high_) &= (low_ != 0 ? low_ : high_) - 1; }

   private:
    uint64_t low_;   // bit 7 of byte i: entry i
    uint64_t high_;  // bit 7 of byte i: entry 8 + i
  };

  struct alignas(64) Bucket {
    uint8_t tags[kEntries];
    uint32_t passed;  // keys that lie in later buckets because this one was full
    FlowIndex entries[kEntries];

    [[nodiscard]] Matches match(uint8_t tag) const {
      constexpr uint64_t kOnes = 0x0101010101010101U;
      uint64_t low;
      uint32_t high;
      std::memcpy(&low, tags, sizeof low);
      std::memcpy(&high, tags + sizeof low, sizeof high);
      // Never equal in the upper half.
      return {zero_bytes(low ^ kOnes * tag), zero_bytes(high ^ kOnes * tag)};
    }
  };
  static_assert(sizeof(Bucket) == 64);

  struct DpdkDeleter {
    void operator()(void* p) const;
  };

  [[nodiscard]] uint32_t behind(uint32_t bucket) const {
    return bucket + 1 == bucket_count_ ? 0 : bucket + 1;
  }

  std::unique_ptr<Bucket[], DpdkDeleter> buckets_;
  uint32_t bucket_count_ = 0;
};

}  // namespace mqlb::flow
