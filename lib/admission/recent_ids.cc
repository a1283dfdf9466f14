#include "lib/admission/recent_ids.hh"

#include <algorithm>
#include <bit>

namespace mqlb::admission {

struct RecentIds::Cell {
  static constexpr unsigned kSourceBits = 13;
  static constexpr unsigned kRunBits = 3;

  uint32_t tag = 0;
  uint16_t last = 0;  // never 0
  uint16_t source = 0;
  uint8_t run = 0;

  static Cell unpack(uint64_t word) {
    return {static_cast<uint32_t>(word >> 32), static_cast<uint16_t>(word >> 16),
            static_cast<uint16_t>((word & 0xffff) >> kRunBits),
            static_cast<uint8_t>(word & ((1U << kRunBits) - 1))};
  }
  [[nodiscard]] uint64_t pack() const {
    return uint64_t{tag} << 32 | uint64_t{last} << 16 | uint64_t{source} << kRunBits | run;
  }
  static uint16_t hashed(const wire::IpAddress& address) {
    return static_cast<uint16_t>(address.hash() >> (64 - kSourceBits));
  }
  [[nodiscard]] uint32_t age(uint16_t now) const { return static_cast<uint16_t>(now - last); }
};

RecentIds::RecentIds(uint64_t capacity)
    : buckets_(std::bit_ceil(std::max<uint64_t>(capacity, kCells)) / kCells) {}

RecentIds::Meeting RecentIds::note(uint64_t id, const wire::IpAddress& source,
                                   uint32_t now_seconds) {
  const auto now = static_cast<uint16_t>(std::max<uint32_t>(now_seconds & 0xffff, 1));
  Bucket& bucket = buckets_[(id >> 32) & (buckets_.size() - 1)];
  Cell own{static_cast<uint32_t>(id), now, Cell::hashed(source), 0};
  for (std::atomic<uint64_t>& word : bucket.cells) {
    uint64_t before = word.load(std::memory_order_relaxed);
    while (before != 0 && static_cast<uint32_t>(before >> 32) == own.tag) {
      const Cell last = Cell::unpack(before);
      // Clocks of workers differ a little: what seems to lie ahead is of now.
      const uint32_t age = last.age(now) < 0xff00 ? last.age(now) : 0;
      const bool moved = last.source != own.source;
      own.run = age > kRecent ? uint8_t{0} : last.run;
      if (moved && age <= kSwift) own.run = std::min<uint8_t>(own.run + 1U, kLongest);
      if (!word.compare_exchange_weak(before, own.pack(), std::memory_order_relaxed)) continue;
      return {true, age, moved, own.run};
    }
  }
  own.run = 0;
  take_oldest(bucket, own);
  return {};
}

// Another worker may be faster: then the newcomer is met at its next connect.
void RecentIds::take_oldest(Bucket& bucket, const Cell& newcomer) {
  std::atomic<uint64_t>* oldest = nullptr;
  uint64_t oldest_word = 0;
  uint32_t oldest_age = 0;
  for (std::atomic<uint64_t>& word : bucket.cells) {
    const uint64_t value = word.load(std::memory_order_relaxed);
    const Cell cell = Cell::unpack(value);
    const uint32_t age = cell.age(newcomer.last);
    const bool spared = cell.run > 0 && age <= kRecent;
    const uint32_t counts = value == 0 ? ~0U : age + (spared ? 0 : 1U << 16);
    if (oldest != nullptr && counts <= oldest_age) continue;
    oldest = &word;
    oldest_word = value;
    oldest_age = counts;
  }
  (void)oldest->compare_exchange_strong(oldest_word, newcomer.pack(), std::memory_order_relaxed);
}

}  // namespace mqlb::admission
