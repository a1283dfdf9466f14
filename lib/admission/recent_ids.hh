// Which Client IDs connected lately, and whether they come from changing addresses: one table for
// all workers, since each connect of a client may meet another one. Touched at each CONNECT.
//
// A Client ID is known by a keyed 64-bit hash. A bucket of eight cells, one cache line, holds those
// that share its bits. A newcomer takes the cell of the one that was silent for longest, but of one
// that changed addresses lately only if all did: a crowd of new IDs does not hide a fight.
//
//   word of a cell:  | 32 bits of the ID's hash | 16: last seen | 13: source, hashed | 3: run |
//
// 0 is a free cell. Times are the lower bits of seconds, so an ID that was silent for 18 hours
// looks like one that was not; by then its cell has long been another's where there is any traffic.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "lib/base/cache_line.hh"
#include "lib/wire/address.hh"

namespace mqlb::admission {

class RecentIds {
 public:
  static constexpr uint32_t kSwift = 30;   // seconds within which a change of address counts
  static constexpr uint32_t kRecent = 60;  // seconds that it counts for
  static constexpr uint8_t kLongest = 7;   // of a run, as far as it is counted

  // IDs that there is room for if they spread evenly; 8 bytes each.
  explicit RecentIds(uint64_t capacity);

  struct Meeting {
    bool known = false;  // it connected before
    uint32_t age = 0;    // seconds since then; with known
    bool moved = false;  // and from another address
    uint8_t run = 0;     // swift changes of address in a row, this one included
  };
  // A connect of an ID.
  Meeting note(uint64_t id, const wire::IpAddress& source, uint32_t now_seconds);

 private:
  static constexpr size_t kCells = 8;
  struct alignas(base::kCacheLine) Bucket {
    std::array<std::atomic<uint64_t>, kCells> cells{};
  };
  struct Cell;  // a word, unpacked

  void take_oldest(Bucket& bucket, const Cell& newcomer);

  std::vector<Bucket> buckets_;  // a power of two
};

}  // namespace mqlb::admission
