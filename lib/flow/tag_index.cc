#include "lib/flow/tag_index.hh"

#include <rte_malloc.h>

#include <algorithm>

namespace mqlb::flow {

void TagIndex::DpdkDeleter::operator()(void* p) const { rte_free(p); }

// At 6.5 keys a bucket on average, one in thirty is full.
TagIndex::TagIndex(uint32_t capacity)
    : bucket_count_(static_cast<uint32_t>(uint64_t{capacity} * 2 / 13 + 2)) {
  buckets_.reset(static_cast<Bucket*>(
      rte_zmalloc("mqlb_flow_index", bucket_count_ * sizeof(Bucket), alignof(Bucket))));
}

void TagIndex::add(const Place& place, FlowIndex index) {
  for (uint32_t at = place.bucket;; at = behind(at)) {
    Bucket& bucket = buckets_[at];
    auto* free = std::find(std::begin(bucket.tags), std::end(bucket.tags), kFree);
    if (free != std::end(bucket.tags)) {
      *free = place.tag;
      bucket.entries[free - bucket.tags] = index;
      return;
    }
    ++bucket.passed;
  }
}

void TagIndex::remove(const Place& place, FlowIndex index) {
  for (uint32_t at = place.bucket;; at = behind(at)) {
    Bucket& bucket = buckets_[at];
    for (size_t i = 0; i < kEntries; ++i) {
      if (bucket.tags[i] != place.tag || bucket.entries[i] != index) continue;
      bucket.tags[i] = kFree;
      return;
    }
    --bucket.passed;
  }
}

}  // namespace mqlb::flow
