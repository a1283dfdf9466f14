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
      entries_(buckets_.size() * kCells) {}

bool ClientIdWatch::note(const Connect& connect, uint32_t now_seconds) {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  const size_t which = (connect.id >> 32) & (buckets_.size() - 1);
  Bucket& bucket = buckets_[which];
  const auto tag = static_cast<uint32_t>(connect.id);
  const auto source = static_cast<uint16_t>(connect.source.hash() >> 49);
  size_t cell = lookup(bucket, tag);
  const bool known = cell != kCells;
  if (!known) cell = oldest(bucket, now);
  const uint32_t age = known ? static_cast<uint16_t>(now - bucket.last[cell]) : 0;
  const bool moved = known && (bucket.sources[cell] & ~kContested) != source;
  bucket.tags[cell] = tag;
  bucket.last[cell] = static_cast<uint16_t>(std::max<uint32_t>(now & 0xffff, 1));
  bucket.sources[cell] = source;
  if (!known && !connect.refused) return false;

  Entry& entry = entries_[which * kCells + cell];
  if (entry.id != connect.id) {
    begin(entry, connect, now - age);
    if (known) count(entry, now - age);
  }
  count(entry, now);
  if (connect.refused) add_one(entry.refused);
  if (entry.switches > 0 && !is_contested(entry, now)) entry.switches = 0;
  if (moved || entry.source_count == 0) {
    note_source(entry, connect.source, moved && age <= kSwift, now);
  }
  if (entry.switches > 0) bucket.sources[cell] |= kContested;
  return entry.switches >= kFight;
}

// Its cell; kCells: none.
size_t ClientIdWatch::lookup(const Bucket& bucket, uint32_t tag) {
  for (size_t i = 0; i < kCells; ++i) {
    if (bucket.tags[i] == tag && bucket.last[i] != 0) return i;
  }
  return kCells;
}

// The cell for a newcomer.
size_t ClientIdWatch::oldest(const Bucket& bucket, uint32_t now) {
  size_t oldest = 0;
  uint32_t oldest_age = 0;
  for (size_t i = 0; i < kCells; ++i) {
    if (bucket.last[i] == 0) return i;
    const uint32_t age = static_cast<uint16_t>(now - bucket.last[i]);
    const bool spared = (bucket.sources[i] & kContested) != 0 && age <= kRecent;
    const uint32_t counts = age + (spared ? 0 : 1U << 16);
    if (counts > oldest_age) {
      oldest = i;
      oldest_age = counts;
    }
  }
  return oldest;
}

void ClientIdWatch::begin(Entry& entry, const Connect& connect, uint32_t first) {
  entry = Entry{};
  entry.id = connect.id;
  entry.listener = connect.listener;
  entry.length = static_cast<uint16_t>(connect.client_id.size());
  entry.shown = static_cast<uint8_t>(std::min(connect.client_id.size(), kShown));
  std::memcpy(entry.text.data(), connect.client_id.data(), entry.shown);
  entry.first = first;
}

// A source that is not the one before.
void ClientIdWatch::note_source(Entry& entry, const wire::IpAddress& source, bool swift,
                                uint32_t now) {
  const wire::IpAddress before = std::exchange(entry.latest, source);
  if (swift) {
    if (entry.switches == 0) entry.first = now;
    add_one(entry.switches);
    entry.last_switch = now;
  }
  if (!swift || entry.source_count == 0) {
    entry.source_count = 1;  // those before are of long ago, or not known
    return;
  }
  const auto end = entry.earlier.begin() + (entry.source_count - 1);
  auto place = std::find(entry.earlier.begin(), end, source);
  if (place == end && entry.source_count < kSources) ++entry.source_count;
  if (place == entry.earlier.end()) --place;
  std::rotate(entry.earlier.begin(), place, place + 1);
  entry.earlier[0] = before;
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
    const Bucket& bucket = buckets_[i / kCells];
    if (entry.shown == 0 || bucket.tags[i % kCells] != static_cast<uint32_t>(entry.id)) continue;
    Row row;
    row.connects = per_minute(entry, now);
    row.switches = is_contested(entry, now) ? entry.switches : 0U;
    if (row.connects < 2 && row.switches == 0) continue;
    row.id = entry.id;
    row.listener = entry.listener;
    row.client_id.assign(entry.text.begin(), entry.text.begin() + entry.shown);
    row.length = entry.length;
    row.refused = entry.refused;
    row.sources = {entry.latest};
    row.sources.insert(row.sources.end(), entry.earlier.begin(),
                       entry.earlier.begin() + (entry.source_count - 1));
    row.since = entry.first;
    row.last = now - static_cast<uint16_t>(now - bucket.last[i % kCells]);
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
