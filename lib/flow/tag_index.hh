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

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <bit>
#include <cstdint>
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
    const uint32_t matches = bucket.match(place.tag);
    return matches != 0 ? bucket.entries[std::countr_zero(matches)] : kNoFlow;
  }
  // The record for which has_key(its number) is true, or kNoFlow.
  template <typename HasKey>
  [[nodiscard]] FlowIndex lookup(const Place& place, const HasKey& has_key) const {
    for (uint32_t at = place.bucket;; at = behind(at)) {
      const Bucket& bucket = buckets_[at];
      for (uint32_t m = bucket.match(place.tag); m != 0; m &= m - 1) {
        const FlowIndex index = bucket.entries[std::countr_zero(m)];
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

  struct alignas(64) Bucket {
    uint8_t tags[kEntries];
    uint32_t passed;  // keys that lie in later buckets because this one was full
    FlowIndex entries[kEntries];

    // Bit i: entry i has the tag.
    [[nodiscard]] uint32_t match(uint8_t tag) const {
#ifdef __SSE2__
      const __m128i line = _mm_load_si128(reinterpret_cast<const __m128i*>(tags));
      const __m128i equal = _mm_cmpeq_epi8(line, _mm_set1_epi8(static_cast<char>(tag)));
      return static_cast<uint32_t>(_mm_movemask_epi8(equal)) & ((1U << kEntries) - 1);
#else
      uint32_t matches = 0;
      for (size_t i = 0; i < kEntries; ++i) matches |= (tags[i] == tag ? 1U : 0U) << i;
      return matches;
#endif
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
