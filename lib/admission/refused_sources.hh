// Which sources are turned away for what they are or do, and how often: so that the one that is
// over its limit can be named. Bounded memory, written by one worker at each refusal.
//
// A source is a network of a listener, known by a keyed 64-bit hash. A bucket of eight cells holds
// those that share its upper bits: one cache line says which they are and what each weighs, and one
// more is each one's account. A newcomer takes the cell of the lightest and, as in Space-Saving
// (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements, 2005), its
// weight too: so who has more than an eighth of what a bucket's sources are refused stays in it,
// however many others come. Weights are halved each minute. Accounts are exact since they began.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "lib/base/cache_line.hh"
#include "lib/wire/address.hh"

namespace mqlb::admission {

enum class Refused : uint8_t {
  denied,
  full,
  rate
};  // by lists; at its connections; above its rate
inline constexpr size_t kRefusedReasons = 3;

class RefusedSources {
 public:
  static constexpr uint32_t kMinute = 60;   // seconds of a window
  static constexpr uint32_t kShown = 3600;  // seconds after its last refusal that one is listed

  // Sources in all; the default takes 36 KB.
  explicit RefusedSources(uint32_t capacity = 512);

  struct Refusal {
    uint64_t id = 0;  // of listener and network, hashed
    uint16_t listener = 0;
    wire::IpAddress address;
    uint8_t bits = 0;  // of the address that are its network
    Refused reason = Refused::denied;
  };
  void note(const Refusal& refusal, uint32_t now_seconds);
  // Control took listeners away, whose numbers others may get.
  template <typename Predicate>
  void forget_listeners(Predicate&& is_gone) {
    for (Bucket& bucket : buckets_) {
      for (size_t i = 0; i < kWays; ++i) {
        if (bucket.tags[i] == 0 || !is_gone(entry(bucket, i).listener)) continue;
        bucket.tags[i] = 0;
        bucket.weights[i] = 0;
      }
    }
  }

  struct Row {
    uint16_t listener = 0;
    wire::Prefix network;
    Refused reason = Refused::denied;                // the latest
    std::array<uint64_t, kRefusedReasons> counts{};  // since `since`, by reason
    uint64_t last_minute = 0;                        // about
    uint32_t since = 0;                              // seconds
    uint32_t last = 0;                               // seconds

    [[nodiscard]] uint64_t count(Refused why) const { return counts[static_cast<size_t>(why)]; }
    [[nodiscard]] uint64_t refused() const { return counts[0] + counts[1] + counts[2]; }
  };
  // Those of some buckets.
  void list(size_t first_bucket, size_t buckets, uint32_t now_seconds, std::vector<Row>& out) const;
  [[nodiscard]] size_t bucket_count() const { return buckets_.size(); }
  // Makes one row of those that several workers have of a source: the busiest in the last minute
  // first, then those refused most.
  static void merge(std::vector<Row>& rows);

 private:
  static constexpr size_t kWays = 8;
  struct alignas(base::kCacheLine) Bucket {
    std::array<uint32_t, kWays> weights{};
    std::array<uint16_t, kWays> tags{};  // of hashes; 0: free
    uint32_t minute = 0;                 // that weights are of
  };
  struct alignas(base::kCacheLine) Entry {
    wire::IpAddress address;  // the latest of the network
    uint16_t listener = 0;
    uint8_t bits = 0;
    Refused reason = Refused::denied;
    uint32_t since = 0;                   // seconds
    uint32_t last = 0;                    // seconds
    std::array<uint32_t, 2> in_minute{};  // of the minute of `last`, and of the one before
    std::array<uint64_t, kRefusedReasons> counts{};

    [[nodiscard]] bool is_of(const Refusal& r) const {
      return listener == r.listener && bits == r.bits &&
             wire::Prefix{address, bits}.contains(r.address);
    }
  };
  static_assert(sizeof(Bucket) == base::kCacheLine && sizeof(Entry) == base::kCacheLine);

  [[nodiscard]] Entry& entry(const Bucket& bucket, size_t way) {
    return entries_[static_cast<size_t>(&bucket - buckets_.data()) * kWays + way];
  }
  Entry& find_or_take(const Refusal& refusal, uint32_t now);
  static void count(Entry& entry, uint32_t now);
  [[nodiscard]] static uint64_t per_minute(const Entry& entry, uint32_t now);

  std::vector<Bucket> buckets_;  // a power of two
  std::vector<Entry> entries_;   // kWays for each
};

}  // namespace mqlb::admission
