// Which Client IDs connect most, and from where: so that two devices that share one, and throw each
// other out in turns, can be named. Bounded memory, written by one worker at each CONNECT.
//
// A Client ID is known by a keyed 64-bit hash over it and its listener. A bucket of eight, one
// cache line, holds those that share its bits; only from the second connect on there is more to
// write. A newcomer takes the place of the one that was silent for longest, but of one that changed
// sources lately only if all did: a crowd of new IDs does not hide a fight.
//
// A switch is a connect from another address than the one before, within kSwift seconds. A client
// that roams makes one; two that fight make one each time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/base/cache_line.hh"
#include "lib/wire/address.hh"

namespace mqlb::admission {

class ClientIdWatch {
 public:
  static constexpr size_t kShown = 64;     // bytes of an ID that are kept
  static constexpr uint32_t kSwift = 30;   // seconds
  static constexpr uint32_t kRecent = 60;  // seconds that a switch counts for, and a window lasts
  static constexpr uint16_t kFight = 3;    // switches

  // IDs in all; the default takes 3 MB.
  explicit ClientIdWatch(uint32_t capacity = 16384);

  struct Connect {
    uint64_t id = 0;
    uint16_t listener = 0;
    base::Bytes client_id;
    wire::IpAddress source;
    bool refused = false;  // since it came too often
  };
  // True if it is part of a fight.
  bool note(const Connect& connect, uint32_t now_seconds);

  struct Row {
    uint64_t id = 0;
    uint16_t listener = 0;
    std::string client_id;                 // its first kShown bytes
    size_t length = 0;                     // of all of it
    uint32_t connects = 0;                 // in the last minute, about
    uint32_t switches = 0;                 // since they began
    uint32_t refused = 0;                  // in these minutes
    std::vector<wire::IpAddress> sources;  // the latest first
    uint32_t since = 0;                    // seconds: of the first of the switches, or connects
    uint32_t last = 0;                     // seconds

    [[nodiscard]] bool is_fight() const { return switches >= kFight; }
  };
  // Those of some buckets that connected more than once in the last minute.
  void list(size_t first_bucket, size_t buckets, uint32_t now_seconds, std::vector<Row>& out) const;
  [[nodiscard]] size_t bucket_count() const { return buckets_.size(); }
  // Makes one row of those that several workers have of an ID: fights first, then the busiest.
  static void merge(std::vector<Row>& rows);

 private:
  static constexpr size_t kCells = 8;
  static constexpr size_t kSources = 4;
  static constexpr uint16_t kContested = 0x8000;  // beside 15 bits of a source
  struct alignas(base::kCacheLine) Bucket {
    std::array<uint32_t, kCells> tags{};     // the lower bits of IDs
    std::array<uint16_t, kCells> last{};     // seconds, their lower bits; 0: free
    std::array<uint16_t, kCells> sources{};  // of the last connect, hashed; kContested
  };
  struct Entry {
    uint64_t id = 0;
    wire::IpAddress latest;    // source; unknown while source_count is 0
    uint8_t source_count = 0;  // addresses known
    uint8_t shown = 0;         // bytes of text
    uint16_t length = 0;
    uint16_t listener = 0;
    uint16_t switches = 0;
    uint32_t first = 0;        // seconds
    uint32_t last_switch = 0;  // seconds
    uint32_t minute = 0;       // of connects[0]; connects[1] are those of the one before
    std::array<uint16_t, 2> connects{};
    uint16_t refused = 0;
    std::array<wire::IpAddress, kSources - 1> earlier{};  // the latest first
    std::array<uint8_t, kShown> text{};
  };

  [[nodiscard]] static size_t lookup(const Bucket& bucket, uint32_t tag);
  [[nodiscard]] static size_t oldest(const Bucket& bucket, uint32_t now);
  static void begin(Entry& entry, const Connect& connect, uint32_t first);
  static void count(Entry& entry, uint32_t now);
  static void note_source(Entry& entry, const wire::IpAddress& source, bool swift, uint32_t now);
  [[nodiscard]] static bool is_contested(const Entry& entry, uint32_t now) {
    return entry.switches > 0 && now - entry.last_switch <= kRecent;
  }
  [[nodiscard]] static uint32_t per_minute(const Entry& entry, uint32_t now);

  std::vector<Bucket> buckets_;  // a power of two
  std::vector<Entry> entries_;   // kCells of each bucket, of IDs that connected twice
};

}  // namespace mqlb::admission
