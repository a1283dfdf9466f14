// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//
// Pure and deterministic: the same names and weights give the same table on every machine and in
// any order of the input. Built on the control thread, then read-only.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hh"

namespace mqlb::maglev {

struct Member {
  std::string name;     // what its permutation is derived from; unique
  uint32_t weight = 1;  // a member of weight 0 gets no slot, any other at least one

  friend bool operator==(const Member&, const Member&) = default;
};

// The index of a member in the list that the table was built from.
using MemberIndex = uint16_t;

class Table {
 public:
  Table() = default;

  // size: a prime, larger than the number of members (at most 65,535). A size that is not, no
  // members, or none with a weight: an empty table.
  [[nodiscard]] static Table build(std::span<const Member> members, uint32_t size);

  [[nodiscard]] bool empty() const { return slots_.empty(); }
  [[nodiscard]] uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  [[nodiscard]] std::span<const MemberIndex> slots() const { return slots_; }

  // The member for a key's hash. The table must not be empty.
  [[nodiscard]] MemberIndex lookup(uint64_t hash) const { return slots_[hash % slots_.size()]; }

  // Meets the members in the order in which the hash's own permutation of the slots does, each
  // once: the first is lookup(hash), the others are who to ask when it is passed over. So the keys
  // of one that is passed over spread over all others as weights say; over those of the next slots
  // they would not, as members' own permutations are not independent of each other.
  // visit(MemberIndex) says whether to go on. Takes a few steps per member, and up to all slots to
  // reach those of very small weight.
  template <typename Visit>
  void walk(uint64_t hash, Visit&& visit) const {
    if (slots_.empty()) return;
    std::array<uint64_t, (kMaxMembers + 63) / 64> met;  // as much of it as there are members
    std::fill_n(met.begin(), index_limit_ / 64 + 1, 0);
    size_t left = member_count_;
    // The size is a prime, so steps of any length come by every slot, and every member has one.
    const size_t skip = (hash >> 32) % (slots_.size() - 1) + 1;
    const size_t first = hash % slots_.size();
    for (size_t slot = first; left > 0; slot = next(slot, skip)) {
      const MemberIndex member = slots_[slot];
      uint64_t& word = met[member / 64];
      const uint64_t bit = uint64_t{1} << member % 64;
      if ((word & bit) != 0) continue;
      word |= bit;
      --left;
      if (!visit(member)) return;
    }
  }

 private:
  static constexpr size_t kMaxMembers = 65535;

  [[nodiscard]] size_t next(size_t slot, size_t skip) const {
    slot += skip;
    return slot < slots_.size() ? slot : slot - slots_.size();
  }

  std::vector<MemberIndex> slots_;
  size_t member_count_ = 0;  // that have a slot
  size_t index_limit_ = 0;   // above their indices
};

// The hash of a key (a Client ID) as every balancer with the same seed computes it: XXH3, 64 bits.
[[nodiscard]] uint64_t hash_key(base::Bytes key, uint64_t seed);

[[nodiscard]] bool is_prime(uint32_t n);

}  // namespace mqlb::maglev
