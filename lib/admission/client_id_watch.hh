// Which Client IDs connect most, and from where: so that two devices that share one, and throw each
// other out in turns, can be named. Bounded memory, written by one worker at each CONNECT of an ID
// that connected lately; RecentIds knows which these are.
//
// A switch is a connect from another address than the one before, within RecentIds::kSwift seconds.
// A client that roams makes one; two that fight make one each time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/admission/recent_ids.hh"
#include "lib/base/bytes.hh"
#include "lib/wire/address.hh"

namespace mqlb::admission {

class ClientIdWatch {
 public:
  static constexpr size_t kShown = 64;     // bytes of an ID that are kept
  static constexpr uint8_t kFight = 3;     // switches in a row
  static constexpr uint32_t kMinute = 60;  // seconds of a window

  // IDs in all; the default takes 3 MB.
  explicit ClientIdWatch(uint32_t capacity = 16384);

  struct Connect {
    uint64_t id = 0;
    uint16_t listener = 0;
    base::Bytes client_id;
    wire::IpAddress source;
    bool refused = false;  // since it came too often
  };
  // True if it is part of a fight. meeting: what RecentIds says of it.
  bool note(const Connect& connect, const RecentIds::Meeting& meeting, uint32_t now_seconds);

  struct Row {
    uint64_t id = 0;
    uint16_t listener = 0;                 // of the latest connect
    std::string client_id;                 // its first kShown bytes
    size_t length = 0;                     // of all of it
    uint32_t connects = 0;                 // in the last minute, about
    uint32_t switches = 0;                 // since they began
    uint8_t run = 0;                       // of switches, as RecentIds has it
    uint32_t refused = 0;                  // in these minutes
    std::vector<wire::IpAddress> sources;  // the latest first
    uint32_t since = 0;                    // seconds: of the first of the switches, or connects
    uint32_t last = 0;                     // seconds

    [[nodiscard]] bool is_fight() const { return run >= kFight && switches > 0; }
    // client_id, fit for a terminal and between quotes: what is no printable ASCII, a backslash or
    // a quote as \xNN; then "..." if it is not all of it.
    [[nodiscard]] std::string printable() const;
  };
  enum class Which : uint8_t { all, contested };  // contested: that changed addresses
  // Those of some buckets that connected in the last minute.
  void list(size_t first_bucket, size_t buckets, uint32_t now_seconds, std::vector<Row>& out,
            Which which = Which::all) const;
  [[nodiscard]] size_t bucket_count() const { return entries_.size() / kWays; }
  // Makes one row of those that several workers have of an ID, and leaves out who connected only
  // once: fights first, then the busiest.
  static void merge(std::vector<Row>& rows);

 private:
  static constexpr size_t kWays = 4;
  static constexpr size_t kSources = 4;
  struct Entry {
    uint64_t id = 0;
    wire::IpAddress latest;    // source; unknown while source_count is 0
    uint8_t source_count = 0;  // addresses known
    uint8_t shown = 0;         // bytes of text
    uint16_t length = 0;
    uint16_t listener = 0;
    uint16_t switches = 0;
    uint32_t first = 0;        // seconds
    uint32_t last = 0;         // seconds
    uint32_t last_switch = 0;  // seconds
    uint32_t minute = 0;       // of connects[0]; connects[1] are those of the one before
    std::array<uint16_t, 2> connects{};
    uint16_t refused = 0;
    uint8_t run = 0;
    std::array<wire::IpAddress, kSources - 1> earlier{};  // the latest first
    std::array<uint8_t, kShown> text{};
  };

  Entry& find_or_take(uint64_t id, uint32_t now);
  static void begin(Entry& entry, const Connect& connect, uint32_t first);
  static void count(Entry& entry, uint32_t now);
  static void note_source(Entry& entry, const wire::IpAddress& source, bool swift, uint32_t now);
  [[nodiscard]] static bool is_contested(const Entry& entry, uint32_t now) {
    return entry.switches > 0 && now - entry.last_switch <= RecentIds::kRecent;
  }
  [[nodiscard]] static uint32_t per_minute(const Entry& entry, uint32_t now);

  std::vector<Entry> entries_;  // buckets of kWays, a power of two of them
};

}  // namespace mqlb::admission
