#include "lib/admission/prefix_set.hh"

#include <algorithm>
#include <iterator>

namespace mqlb::admission {
namespace {

// The lowest `bits` of 64 set; any number of bits.
uint64_t low_ones(unsigned bits) {
  if (bits == 0) return 0;
  return bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
}

}  // namespace

PrefixSet::PrefixSet(std::span<const wire::Prefix> prefixes) {
  for (const wire::Prefix& prefix : prefixes) {
    if (prefix.address.is_v4()) {
      const auto host = static_cast<uint32_t>(low_ones(32U - prefix.length));
      const uint32_t bits = prefix.address.v4_bits();
      v4_.emplace_back(bits & ~host, bits | host);
    } else {
      const unsigned host_bits = 128U - prefix.length;
      const uint64_t low = low_ones(host_bits);
      const uint64_t high = host_bits > 64 ? low_ones(host_bits - 64) : 0;
      const Wide bits = wide(prefix.address);
      v6_.emplace_back(Wide{bits.high & ~high, bits.low & ~low},
                       Wide{bits.high | high, bits.low | low});
    }
  }
  merge(v4_);
  merge(v6_);
}

bool PrefixSet::contains(const wire::IpAddress& address) const {
  return address.is_v4() ? holds(v4_, address.v4_bits()) : holds(v6_, wide(address));
}

PrefixSet::Wide PrefixSet::wide(const wire::IpAddress& address) {
  Wide out;
  const auto octets = address.octets();
  for (size_t i = 0; i < 8; ++i) {
    out.high = out.high << 8 | octets[i];
    out.low = out.low << 8 | octets[8 + i];
  }
  return out;
}

// Ranges in the order of their beginnings; what overlaps becomes one.
template <typename T>
void PrefixSet::merge(Ranges<T>& ranges) {
  std::sort(ranges.begin(), ranges.end());
  Ranges<T> merged;
  for (const auto& range : ranges) {
    if (merged.empty() || merged.back().second < range.first) {
      merged.push_back(range);
    } else {
      merged.back().second = std::max(merged.back().second, range.second);
    }
  }
  merged.shrink_to_fit();
  ranges = std::move(merged);
}

template <typename T>
bool PrefixSet::holds(const Ranges<T>& ranges, const T& value) {
  const auto above = std::upper_bound(ranges.begin(), ranges.end(), value,
                                      [](const T& v, const auto& r) { return v < r.first; });
  return above != ranges.begin() && value <= std::prev(above)->second;
}

}  // namespace mqlb::admission
