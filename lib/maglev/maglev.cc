#include "lib/maglev/maglev.hh"

#include <xxhash.h>

#include <algorithm>
#include <numeric>
#include <queue>

namespace mqlb::maglev {
namespace {

// Not an index: a table has at most 65,535 members.
constexpr MemberIndex kFree = 0xffff;

// Any two fixed numbers do; changing one changes every table of every balancer.
constexpr uint64_t kOffsetSeed = 0x6d716c62'6f666673;  // "mqlboffs"
constexpr uint64_t kSkipSeed = 0x6d716c62'736b6970;    // "mqlbskip"

// One member's walk over the slots: offset, offset + skip, ... modulo the prime size, which meets
// every slot once.
struct Walk {
  MemberIndex member;
  uint16_t rank;  // place of the name in sorted order
  uint32_t weight;
  uint32_t position;
  uint32_t skip;
  uint32_t turns = 0;
};

// The paper lets every member take one slot per round. Here member m takes its k-th slot at time
// k / weight: with equal weights that is the paper's round robin; with others, slots come out in
// proportion, and a changed weight leaves the order of all others' turns as it was, so that few
// slots move. All start at time 0: every member gets a slot, however small its weight.
struct LaterTurn {
  bool operator()(const Walk& a, const Walk& b) const {
    // a.turns / a.weight > b.turns / b.weight; the products of 32-bit numbers fit.
    const uint64_t time_a = uint64_t{a.turns} * b.weight;
    const uint64_t time_b = uint64_t{b.turns} * a.weight;
    return time_a != time_b ? time_a > time_b : a.rank > b.rank;
  }
};

uint32_t step(uint32_t position, uint32_t skip, uint32_t size) {
  // position + skip could pass 2^32.
  return position >= size - skip ? position - (size - skip) : position + skip;
}

std::vector<Walk> make_walks(std::span<const Member> members, uint32_t size) {
  std::vector<MemberIndex> by_name(members.size());
  std::iota(by_name.begin(), by_name.end(), MemberIndex{0});
  std::stable_sort(by_name.begin(), by_name.end(),
                   [&](MemberIndex a, MemberIndex b) { return members[a].name < members[b].name; });
  std::vector<Walk> walks;
  walks.reserve(members.size());
  for (const MemberIndex i : by_name) {
    if (members[i].weight == 0) continue;
    const base::Bytes name = base::as_bytes(members[i].name);
    walks.push_back({.member = i,
                     .rank = static_cast<uint16_t>(walks.size()),
                     .weight = members[i].weight,
                     .position = static_cast<uint32_t>(hash_key(name, kOffsetSeed) % size),
                     .skip = static_cast<uint32_t>(hash_key(name, kSkipSeed) % (size - 1) + 1)});
  }
  return walks;
}

}  // namespace

Table Table::build(std::span<const Member> members, uint32_t size) {
  Table table;
  if (members.size() >= size || members.size() > kFree || !is_prime(size)) return table;
  std::vector<Walk> walks = make_walks(members, size);
  if (walks.empty()) return table;
  table.member_count_ = walks.size();
  table.index_limit_ = members.size();
  table.slots_.assign(size, kFree);
  std::priority_queue<Walk, std::vector<Walk>, LaterTurn> turns(LaterTurn{}, std::move(walks));
  for (uint32_t filled = 0; filled < size; ++filled) {
    Walk walk = turns.top();
    turns.pop();
    while (table.slots_[walk.position] != kFree) {
      walk.position = step(walk.position, walk.skip, size);
    }
    table.slots_[walk.position] = walk.member;
    ++walk.turns;
    turns.push(walk);
  }
  return table;
}

uint64_t hash_key(base::Bytes key, uint64_t seed) {
  return XXH3_64bits_withSeed(key.data(), key.size(), seed);
}

bool is_prime(uint32_t n) {
  if (n < 4) return n >= 2;
  if (n % 2 == 0) return false;
  for (uint64_t d = 3; d * d <= n; d += 2) {
    if (n % d == 0) return false;
  }
  return true;
}

}  // namespace mqlb::maglev
