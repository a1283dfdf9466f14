#include "lib/admission/source_table.hh"

#include <algorithm>
#include <utility>

namespace mqlb::admission {

SourceTable::SourceTable(uint32_t capacity)
    : bits_(static_cast<unsigned>(
          std::countr_zero(std::bit_ceil(std::clamp(capacity, 8U, kMostSources)) / 8))),
      buckets_(size_t{1} << bits_) {}

const SourceTable::Cell* SourceTable::lookup(uint64_t source) const {
  for (const Cell& cell : buckets_[bucket(source)].cells) {
    if ((cell.word.load(std::memory_order_relaxed) & ~kCountMask) == tag(source)) return &cell;
  }
  return nullptr;
}

SourceTable::Cell* SourceTable::lookup(uint64_t source) {
  return const_cast<Cell*>(std::as_const(*this).lookup(source));
}

// The source's cell, or an idle one that now is; null if the bucket has neither. Another core may
// take the cell for another source again until it is counted in it.
SourceTable::Cell* SourceTable::lookup_or_take(uint64_t source, base::Instant now) {
  if (Cell* known = lookup(source)) return known;
  for (Cell& cell : buckets_[bucket(source)].cells) {
    uint64_t word = cell.word.load(std::memory_order_relaxed);
    if ((word & kCountMask) != 0 || !cell.rate.is_idle(now)) continue;
    if (cell.word.compare_exchange_strong(word, tag(source), std::memory_order_relaxed) ||
        (word & ~kCountMask) == tag(source)) {
      return &cell;
    }
  }
  return nullptr;
}

Verdict SourceTable::enter(uint64_t source, const SourceLimits& limits, base::Instant now) {
  const uint64_t most = limits.connections == 0
                            ? kMaxSourceConnections
                            : std::min(limits.connections, kMaxSourceConnections);
  while (Cell* cell = lookup_or_take(source, now)) {
    uint64_t word = cell->word.load(std::memory_order_relaxed);
    bool mine = true;
    do {
      mine = (word & ~kCountMask) == tag(source);
      if (mine && (word & kCountMask) >= most) {
        return limits.connections == 0 ? Verdict::uncounted : Verdict::full;
      }
    } while (mine && !cell->word.compare_exchange_weak(word, word + 1, std::memory_order_relaxed));
    if (!mine) continue;
    // Counted first, so that no other core takes the cell meanwhile.
    if (cell->rate.take(limits.rate, now)) return Verdict::counted;
    cell->word.fetch_sub(1, std::memory_order_relaxed);
    return Verdict::too_fast;
  }
  return Verdict::uncounted;
}

void SourceTable::leave(uint64_t source) {
  for (Cell& cell : buckets_[bucket(source)].cells) {
    uint64_t word = cell.word.load(std::memory_order_relaxed);
    while ((word & ~kCountMask) == tag(source) && (word & kCountMask) != 0) {
      if (cell.word.compare_exchange_weak(word, word - 1, std::memory_order_relaxed)) return;
    }
  }
}

Verdict SourceTable::peek(uint64_t source, const SourceLimits& limits, base::Instant now) const {
  const Cell* cell = lookup(source);
  if (cell == nullptr) return Verdict::counted;
  const uint64_t count = cell->word.load(std::memory_order_relaxed) & kCountMask;
  if (limits.connections != 0 && count >= limits.connections) return Verdict::full;
  return cell->rate.is_over(limits.rate, now) ? Verdict::too_fast : Verdict::counted;
}

uint32_t SourceTable::connections(uint64_t source) const {
  uint64_t sum = 0;
  for (const Cell& cell : buckets_[bucket(source)].cells) {
    const uint64_t word = cell.word.load(std::memory_order_relaxed);
    if ((word & ~kCountMask) == tag(source)) sum += word & kCountMask;
  }
  return static_cast<uint32_t>(sum);
}

}  // namespace mqlb::admission
