#include "lib/admission/refused_sources.hh"

#include <algorithm>
#include <bit>
#include <utility>

namespace mqlb::admission {

RefusedSources::RefusedSources(uint32_t capacity)
    : buckets_(std::bit_ceil(std::max<size_t>(capacity, kWays)) / kWays),
      entries_(buckets_.size() * kWays) {}

void RefusedSources::note(const Refusal& refusal, uint32_t now_seconds) {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  Entry& entry = find_or_take(refusal, now);
  count(entry, now);
  entry.address = refusal.address;
  entry.reason = refusal.reason;
  ++entry.counts[static_cast<size_t>(refusal.reason)];
}

// Its account, or a new one in the place of the lightest of its bucket; one more weighs on it.
RefusedSources::Entry& RefusedSources::find_or_take(const Refusal& refusal, uint32_t now) {
  Bucket& bucket = buckets_[(refusal.id >> 32) & (buckets_.size() - 1)];
  const uint32_t minute = now / kMinute;
  if (minute != bucket.minute) {
    const uint32_t halvings = std::min<uint32_t>(minute - bucket.minute, 31);
    for (uint32_t& weight : bucket.weights) weight >>= halvings;
    bucket.minute = minute;
  }
  const uint16_t tag = std::max<uint16_t>(static_cast<uint16_t>(refusal.id), 1);
  size_t lightest = 0;
  for (size_t i = 0; i < kWays; ++i) {
    if (bucket.tags[i] == tag && entry(bucket, i).is_of(refusal)) {
      if (bucket.weights[i] != ~0U) ++bucket.weights[i];
      return entry(bucket, i);
    }
    const auto order = [&bucket](size_t way) {
      return std::pair(bucket.weights[way], bucket.tags[way] != 0);
    };
    if (order(i) < order(lightest)) lightest = i;
  }
  bucket.tags[lightest] = tag;
  if (bucket.weights[lightest] != ~0U) ++bucket.weights[lightest];
  Entry& taken = entry(bucket, lightest);
  taken = Entry{};
  taken.listener = refusal.listener;
  taken.bits = refusal.bits;
  taken.since = now;
  return taken;
}

void RefusedSources::count(Entry& entry, uint32_t now) {
  const uint32_t minutes = now / kMinute - entry.last / kMinute;
  if (minutes != 0) entry.in_minute = {0, minutes == 1 ? entry.in_minute[0] : 0};
  if (entry.in_minute[0] != ~0U) ++entry.in_minute[0];
  entry.last = now;
}

// This minute's, and of those of the last as many as the part of it that is less than a minute ago.
uint64_t RefusedSources::per_minute(const Entry& entry, uint32_t now) {
  const uint32_t age = now / kMinute - std::min(now, entry.last) / kMinute;
  if (age > 1) return 0;
  const uint64_t whole = age == 0 ? entry.in_minute[0] : 0;
  const uint64_t part = age == 0 ? entry.in_minute[1] : entry.in_minute[0];
  return whole + (part * (kMinute - now % kMinute) + kMinute - 1) / kMinute;
}

void RefusedSources::list(size_t first_bucket, size_t buckets, uint32_t now_seconds,
                          std::vector<Row>& out) const {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  const size_t end = std::min(first_bucket + buckets, bucket_count()) * kWays;
  for (size_t i = first_bucket * kWays; i < end; ++i) {
    const Entry& e = entries_[i];
    const bool free = buckets_[i / kWays].tags[i % kWays] == 0;
    if (free || now - std::min(now, e.last) > kShown) continue;
    out.push_back({e.listener, wire::network_of({e.address, e.bits}), e.reason, e.counts,
                   per_minute(e, now), e.since, e.last});
  }
}

void RefusedSources::merge(std::vector<Row>& rows) {
  // The latest of each source comes first.
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    if (a.listener != b.listener) return a.listener < b.listener;
    return a.network != b.network ? a.network < b.network : a.last > b.last;
  });
  std::vector<Row> merged;
  for (const Row& row : rows) {
    if (merged.empty() || merged.back().listener != row.listener ||
        merged.back().network != row.network) {
      merged.push_back(row);
      continue;
    }
    Row& to = merged.back();
    for (size_t i = 0; i < kRefusedReasons; ++i) to.counts[i] += row.counts[i];
    to.last_minute += row.last_minute;
    to.since = std::min(to.since, row.since);
  }
  std::stable_sort(merged.begin(), merged.end(), [](const Row& a, const Row& b) {
    return std::pair(a.last_minute, a.refused()) > std::pair(b.last_minute, b.refused());
  });
  rows = std::move(merged);
}

}  // namespace mqlb::admission
