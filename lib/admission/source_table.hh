// How many connections each source has, and how fast it makes them: a table of fixed size that all
// cores share. Touched for new connections and for those that end, never in between.
//
// A source is a 64-bit hash under a secret seed, made by the caller of all that tells sources
// apart: listener, prefix, and the generation of the settings, so that after a change of the prefix
// length counts begin anew and old flows give back what they took.
//
// A bucket of eight cells holds the sources whose hashes share their upper bits. Only an idle cell
// (no connection, rate bucket full) is taken for another source, and an idle cell is worth nothing:
// so no crowd of sources can free one that is over its limit. Who finds no cell is admitted
// uncounted, and the caller counts it by name: a crowd must not lock out others either, and what
// listeners limit as a whole still holds.
//
//   word of a cell:  | 44 bits of the source's hash | 20 bits: its connections |
//
// Two cores that meet a new source at one instant may give it two cells; it then has up to twice
// its limit until one is idle. No count is lost by it.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "lib/admission/rate_cell.hh"
#include "lib/base/cache_line.hh"

namespace mqlb::admission {

inline constexpr uint32_t kMaxSourceConnections = (1U << 20) - 1;
inline constexpr uint32_t kMostSources = 1U << 28;  // of one table

struct SourceLimits {
  uint32_t connections = 0;  // at once, at most kMaxSourceConnections; 0: any number
  Rate rate;                 // of new ones
};

enum class Verdict : uint8_t {
  counted,    // leave() must follow when the connection ends
  uncounted,  // no cell is free; leave() must not follow
  full,       // refused: as many connections as allowed
  too_fast,   // refused: above the rate
};

class SourceTable {
 public:
  // Room for at least so many sources if they spread evenly; 16 bytes each.
  explicit SourceTable(uint32_t capacity);

  // A new connection that has proved its source.
  [[nodiscard]] Verdict enter(uint64_t source, const SourceLimits& limits, base::Instant now);
  // A connection that was counted is over.
  void leave(uint64_t source);
  // What enter() would refuse, said without a trace: for SYNs, whose source proves nothing.
  [[nodiscard]] Verdict peek(uint64_t source, const SourceLimits& limits, base::Instant now) const;
  [[nodiscard]] uint32_t connections(uint64_t source) const;

 private:
  struct Cell {
    std::atomic<uint64_t> word{0};
    RateCell rate;
  };
  struct alignas(base::kCacheLine) Bucket {
    std::array<Cell, 8> cells;
  };
  static constexpr unsigned kCountBits = 20;
  static constexpr uint64_t kCountMask = (uint64_t{1} << kCountBits) - 1;

  // Buckets by the upper bits, cells by the lower ones; never 0, which is a cell without source.
  [[nodiscard]] static uint64_t tag(uint64_t source) {
    const uint64_t bits = source << kCountBits;
    return bits != 0 ? bits : uint64_t{1} << kCountBits;
  }
  [[nodiscard]] size_t bucket(uint64_t source) const {
    return bits_ == 0 ? 0 : static_cast<size_t>(source >> (64 - bits_));
  }
  [[nodiscard]] Cell* lookup(uint64_t source);
  [[nodiscard]] const Cell* lookup(uint64_t source) const;
  [[nodiscard]] Cell* lookup_or_take(uint64_t source, base::Instant now);

  unsigned bits_;
  std::vector<Bucket> buckets_;
};

}  // namespace mqlb::admission
