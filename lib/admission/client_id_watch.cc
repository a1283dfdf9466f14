#include "lib/admission/client_id_watch.hh"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace mqlb::admission {
namespace {

template <typename Number>
void add_one(Number& n) {
  if (n != static_cast<Number>(-1)) ++n;
}

}  // namespace

ClientIdWatch::ClientIdWatch(uint32_t capacity)
    : buckets_(std::bit_ceil(std::max<size_t>(capacity, kCells)) / kCells),
      entries_(buckets_.size() * kCells),
      details_(entries_.size()) {}

bool ClientIdWatch::note(const Connect& connect, uint32_t now_seconds) {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  const size_t index = lookup_or_take(connect, now);
  Entry& entry = entries_[index];
  Bucket& bucket = buckets_[index / kCells];
  const size_t cell = index % kCells;
  if (switches(index, connect.source, bucket.last[cell], now)) {
    bucket.switched[cell] = static_cast<uint16_t>(std::max<uint32_t>(now & 0xffff, 1));
  }
  bucket.last[cell] = now;
  count(entry, now);
  if (connect.refused) add_one(entry.refused);
  const bool again = entry.connects[0] + entry.connects[1] > 1;
  if (again && entry.shown == 0) {
    entry.shown = static_cast<uint8_t>(std::min(connect.client_id.size(), kShown));
    std::memcpy(details_[index].text.data(), connect.client_id.data(), entry.shown);
  }
  return entry.switches >= kFight;
}

size_t ClientIdWatch::lookup_or_take(const Connect& connect, uint32_t now) {
  const size_t which = (connect.id >> 32) & (buckets_.size() - 1);
  Bucket& bucket = buckets_[which];
  const auto tag = static_cast<uint16_t>(connect.id);
  for (size_t i = 0; i < kCells; ++i) {
    const size_t index = which * kCells + i;
    if (bucket.last[i] != 0 && bucket.tags[i] == tag && entries_[index].id == connect.id) {
      return index;
    }
  }
  size_t oldest = 0;
  uint64_t oldest_age = 0;
  for (size_t i = 0; i < kCells; ++i) {
    const bool spared =
        bucket.switched[i] != 0 && static_cast<uint16_t>(now - bucket.switched[i]) <= kRecent;
    const uint64_t age = uint64_t{now} - bucket.last[i] + 1 + (spared ? 0 : uint64_t{1} << 32);
    if (age > oldest_age) {
      oldest = i;
      oldest_age = age;
    }
  }
  bucket.tags[oldest] = tag;
  bucket.last[oldest] = 0;
  bucket.switched[oldest] = 0;
  Entry& entry = entries_[which * kCells + oldest];
  entry = Entry{};
  entry.id = connect.id;
  entry.listener = connect.listener;
  entry.length = static_cast<uint16_t>(connect.client_id.size());
  entry.first = now;
  return which * kCells + oldest;
}

// Takes the source over. last: when the ID connected before; 0: never.
bool ClientIdWatch::switches(size_t index, const wire::IpAddress& source, uint32_t last,
                             uint32_t now) {
  Entry& entry = entries_[index];
  if (entry.switches > 0 && !is_contested(entry, now)) entry.switches = 0;
  if (last != 0 && entry.latest == source) return false;
  const wire::IpAddress before = std::exchange(entry.latest, source);
  if (last == 0 || now - last > kSwift) {
    entry.source_count = 1;  // those before are of long ago
    return false;
  }
  if (entry.switches == 0) entry.first = now;
  add_one(entry.switches);
  entry.last_switch = now;
  auto& earlier = details_[index].earlier;
  const auto end = earlier.begin() + (entry.source_count - 1);
  auto place = std::find(earlier.begin(), end, source);
  if (place == end && entry.source_count < kSources) ++entry.source_count;
  if (place == earlier.end()) --place;
  std::rotate(earlier.begin(), place, place + 1);
  earlier[0] = before;
  return true;
}

void ClientIdWatch::count(Entry& entry, uint32_t now) {
  const uint32_t minute = now / kRecent;
  if (minute != entry.minute) {
    const bool follows = minute == entry.minute + 1;
    entry.connects[1] = follows ? entry.connects[0] : uint16_t{0};
    if (!follows) entry.refused = 0;
    entry.connects[0] = 0;
    entry.minute = minute;
  }
  add_one(entry.connects[0]);
}

// This minute's, and of those of the last as many as the part of it that is less than a minute ago.
uint32_t ClientIdWatch::per_minute(const Entry& entry, uint32_t now) {
  const uint32_t age = now / kRecent - entry.minute;
  if (age > 1) return 0;
  const uint32_t whole = age == 0 ? entry.connects[0] : 0;
  const uint32_t part = age == 0 ? entry.connects[1] : entry.connects[0];
  return whole + (part * (kRecent - now % kRecent) + kRecent - 1) / kRecent;
}

void ClientIdWatch::list(size_t first_bucket, size_t buckets, uint32_t now_seconds,
                         std::vector<Row>& out) const {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  const size_t end = std::min(first_bucket + buckets, buckets_.size()) * kCells;
  for (size_t i = first_bucket * kCells; i < end; ++i) {
    const Entry& entry = entries_[i];
    const uint32_t last = buckets_[i / kCells].last[i % kCells];
    if (last == 0 || entry.shown == 0) continue;
    Row row;
    row.connects = per_minute(entry, now);
    row.switches = is_contested(entry, now) ? entry.switches : 0U;
    if (row.connects < 2 && row.switches == 0) continue;
    row.id = entry.id;
    row.listener = entry.listener;
    const Detail& detail = details_[i];
    row.client_id.assign(detail.text.begin(), detail.text.begin() + entry.shown);
    row.length = entry.length;
    row.refused = entry.refused;
    row.sources = {entry.latest};
    row.sources.insert(row.sources.end(), detail.earlier.begin(),
                       detail.earlier.begin() + (entry.source_count - 1));
    row.since = entry.first;
    row.last = last;
    out.push_back(std::move(row));
  }
}

void ClientIdWatch::merge(std::vector<Row>& rows) {
  // The latest of each ID comes first, and so do its sources.
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return a.id != b.id ? a.id < b.id : a.last > b.last;
  });
  std::vector<Row> merged;
  for (Row& row : rows) {
    if (merged.empty() || merged.back().id != row.id) {
      merged.push_back(std::move(row));
      continue;
    }
    Row& to = merged.back();
    to.connects += row.connects;
    to.switches += row.switches;
    to.refused += row.refused;
    to.since = std::min(to.since, row.since);
    for (const wire::IpAddress& source : row.sources) {
      if (std::find(to.sources.begin(), to.sources.end(), source) == to.sources.end()) {
        to.sources.push_back(source);
      }
    }
  }
  std::sort(merged.begin(), merged.end(), [](const Row& a, const Row& b) {
    if (a.is_fight() != b.is_fight()) return a.is_fight();
    return a.connects != b.connects ? a.connects > b.connects : a.id < b.id;
  });
  rows = std::move(merged);
}

}  // namespace mqlb::admission
