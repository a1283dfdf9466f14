// Maglev consistent hashing (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//
// Pure and deterministic: the same names and weights give the same table on every machine and in
// any order of the input. Built on the control thread, then read-only.
#pragma once

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

  // The first members met walking the table from the hash's slot, each once, in order: the first
  // is lookup(hash), the others are who to try when it cannot be reached. Fills at most out.size()
  // entries and returns how many. Takes a few steps per member, and up to one turn round the table
  // to reach those of very small weight.
  size_t candidates(uint64_t hash, std::span<MemberIndex> out) const;

 private:
  std::vector<MemberIndex> slots_;
  size_t member_count_ = 0;  // that have a slot
};

// The hash of a key (a Client ID) as every balancer with the same seed computes it: XXH3, 64 bits.
[[nodiscard]] uint64_t hash_key(base::Bytes key, uint64_t seed);

[[nodiscard]] bool is_prime(uint32_t n);

}  // namespace mqlb::maglev
