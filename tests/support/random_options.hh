// Numbers and TCP options for tests that ask for any of them.
#pragma once

#include <algorithm>
#include <iterator>
#include <random>

#include "tests/support/frames.hh"

namespace mqlb::tests {

// Values at which carries happen, or any.
inline uint32_t number(std::mt19937& random) {
  const uint32_t edges[] = {0, 1, 2, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffe, ~0U};
  const auto any = static_cast<uint32_t>(random());
  return any % 3 == 0 ? edges[random() % std::size(edges)] : static_cast<uint32_t>(random());
}

inline void append_be32(Octets& out, uint32_t v) {
  out.resize(out.size() + 4);
  base::store_be32(&out[out.size() - 4], v);
}

// Timestamps, SACK blocks and unknown options in any order, with NOPs anywhere.
inline Octets random_options(std::mt19937& random) {
  Octets out;
  if (random() % 4 == 0) {  // the usual layout
    out = {1, 1, 8, 10};
    append_be32(out, number(random));
    append_be32(out, number(random));
    return out;
  }
  std::vector<Octets> parts;
  if (random() % 2 == 0) {
    Octets stamps{8, 10};
    append_be32(stamps, number(random));
    append_be32(stamps, number(random));
    parts.push_back(stamps);
  }
  if (const size_t blocks = random() % 5; blocks > 0) {
    Octets sack{5, static_cast<uint8_t>(2 + 8 * blocks)};
    for (size_t i = 0; i < 2 * blocks; ++i) append_be32(sack, number(random));
    parts.push_back(sack);
  }
  if (random() % 4 == 0) parts.push_back({254, 5, 0x12, 0x34, 0x56});
  std::shuffle(parts.begin(), parts.end(), random);
  for (const Octets& part : parts) {
    if (out.size() + part.size() <= wire::kMaxTcpOptions) {
      const size_t room = wire::kMaxTcpOptions - out.size() - part.size();
      out.insert(out.end(), random() % (std::min<size_t>(room, 3) + 1), wire::kOptionNop);
      out.insert(out.end(), part.begin(), part.end());
    }
  }
  const uint8_t filler = random() % 2 == 0 ? wire::kOptionNop : wire::kOptionEnd;
  out.resize((out.size() + 3) / 4 * 4, filler);
  return out;
}

}  // namespace mqlb::tests
