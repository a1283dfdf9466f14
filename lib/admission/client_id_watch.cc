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
    : entries_(std::bit_ceil(std::max<size_t>(capacity, kWays))) {}

bool ClientIdWatch::note(const Connect& connect, const RecentIds::Meeting& meeting,
                         uint32_t now_seconds) {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  if (!meeting.known && !connect.refused) return false;
  Entry& entry = find_or_take(connect.id, now);
  if (entry.id != connect.id || entry.shown == 0) {
    begin(entry, connect, now - meeting.age);
    if (meeting.known) count(entry, now - meeting.age);
  }
  entry.listener = connect.listener;
  entry.last = now;
  count(entry, now);
  if (connect.refused) add_one(entry.refused);
  if (entry.switches > 0 && !is_contested(entry, now)) entry.switches = 0;
  // What another worker saw in between is news to this one.
  const bool moved = meeting.moved || entry.latest != connect.source;
  if (moved || entry.source_count == 0) {
    const bool swift = meeting.moved && meeting.age <= RecentIds::kSwift;
    note_source(entry, connect.source, swift, now);
  }
  entry.run = meeting.run;
  return meeting.run >= kFight;
}

// Its entry, or the one of its bucket that is given up for it.
ClientIdWatch::Entry& ClientIdWatch::find_or_take(uint64_t id, uint32_t now) {
  Entry* const bucket = &entries_[((id >> 20) & (bucket_count() - 1)) * kWays];
  Entry* oldest = nullptr;
  uint64_t oldest_age = 0;
  for (Entry* e = bucket; e != bucket + kWays; ++e) {
    if (e->shown == 0 || e->id == id) return *e;
    const uint64_t spared = is_contested(*e, now) ? 0 : uint64_t{1} << 32;
    const uint64_t age = spared + (now - std::min(now, e->last));
    if (oldest != nullptr && age <= oldest_age) continue;
    oldest = e;
    oldest_age = age;
  }
  return *oldest;
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
  if (!swift || entry.source_count == 0 || before == source) {
    entry.source_count = std::max<uint8_t>(entry.source_count, 1);
    if (!swift) entry.source_count = 1;  // those before are of long ago
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
  const uint32_t minute = now / kMinute;
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
  const uint32_t age = now / kMinute - entry.minute;
  if (age > 1) return 0;
  const uint32_t whole = age == 0 ? entry.connects[0] : 0;
  const uint32_t part = age == 0 ? entry.connects[1] : entry.connects[0];
  return whole + (part * (kMinute - now % kMinute) + kMinute - 1) / kMinute;
}

void ClientIdWatch::list(size_t first_bucket, size_t buckets, uint32_t now_seconds,
                         std::vector<Row>& out, Which which) const {
  const uint32_t now = std::max<uint32_t>(now_seconds, 1);
  const size_t end = std::min(first_bucket + buckets, bucket_count()) * kWays;
  for (size_t i = first_bucket * kWays; i < end; ++i) {
    const Entry& entry = entries_[i];
    if (entry.shown == 0) continue;
    if (which == Which::contested && entry.run == 0 && entry.switches == 0) continue;
    Row row;
    row.connects = per_minute(entry, now);
    row.switches = is_contested(entry, now) ? entry.switches : 0U;
    if (row.connects == 0 && row.switches == 0) continue;
    row.id = entry.id;
    row.listener = entry.listener;
    row.client_id.assign(entry.text.begin(), entry.text.begin() + entry.shown);
    row.length = entry.length;
    row.run = entry.run;
    row.refused = entry.refused;
    row.sources = {entry.latest};
    row.sources.insert(row.sources.end(), entry.earlier.begin(),
                       entry.earlier.begin() + (entry.source_count - 1));
    row.since = entry.first;
    row.last = entry.last;
    out.push_back(std::move(row));
  }
}

std::string ClientIdWatch::Row::printable() const {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : client_id) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= ' ' && byte < 0x7f && c != '\\' && c != '"') {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return length > client_id.size() ? text + "..." : text;
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
    to.run = std::max(to.run, row.run);
    to.refused += row.refused;
    to.since = std::min(to.since, row.since);
    for (const wire::IpAddress& source : row.sources) {
      if (std::find(to.sources.begin(), to.sources.end(), source) == to.sources.end()) {
        to.sources.push_back(source);
      }
    }
  }
  std::erase_if(merged, [](const Row& r) { return r.connects < 2 && r.switches == 0; });
  std::sort(merged.begin(), merged.end(), [](const Row& a, const Row& b) {
    if (a.is_fight() != b.is_fight()) return a.is_fight();
    return a.connects != b.connects ? a.connects > b.connects : a.id < b.id;
  });
  rows = std::move(merged);
}

}  // namespace mqlb::admission
