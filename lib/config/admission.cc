#include "lib/config/admission.hh"

#include <algorithm>
#include <set>

#include "lib/config/limits.hh"
#include "lib/config/routing.hh"

namespace mqlb::config {
namespace {

using base::fail;
using base::Result;

struct Number {
  const char* name;
  uint64_t value;
  Range range;
};

Result<void> check_prefixes(const std::vector<wire::Prefix>& prefixes, const std::string& list) {
  if (prefixes.size() > kMaxListedPrefixes) {
    return fail(list + " has more than " + std::to_string(kMaxListedPrefixes) + " prefixes");
  }
  std::set<wire::Prefix> seen;
  for (const wire::Prefix& prefix : prefixes) {
    if (network_of(prefix) != prefix) {
      return fail(list + ": " + to_string(prefix) + " has host bits set: did you mean " +
                  to_string(network_of(prefix)) + "?");
    }
    if (!seen.insert(prefix).second)
      return fail(list + ": " + to_string(prefix) + " is there twice");
  }
  return {};
}

admission::Rate per_second(const RateLimit& limit) {
  return admission::Rate::per(limit.rate, 1, limit.burst == 0 ? limit.rate : limit.burst);
}

}  // namespace

std::string_view to_string(Refusal refusal) {
  switch (refusal) {
    case Refusal::silent:
      return "silent";
    case Refusal::reset:
      return "reset";
  }
  return "?";
}

Result<void> validate_admission(const Admission& a, const std::string& owner) {
  const Number numbers[] = {
      {"max-connections", a.max_connections, kMaxConnectionsRange},
      {"connect-rate", a.connect_rate.rate, kConnectRateRange},
      {"burst of connect-rate", a.connect_rate.burst, kConnectRateRange},
      {"source-connections", a.source_connections, kSourceConnectionsRange},
      {"source-rate", a.source_rate.rate, kConnectRateRange},
      {"burst of source-rate", a.source_rate.burst, kConnectRateRange},
      {"source-prefix", a.source_v4_bits, kSourceV4Range},
      {"source-prefix", a.source_v6_bits, kSourceV6Range},
      {"client-id-rate", a.client_id_connects, kClientIdRateRange},
      {"period of client-id-rate", static_cast<uint64_t>(a.client_id_period.count()),
       kClientIdPeriodRange},
  };
  for (const Number& n : numbers) {
    if (n.range.contains(n.value)) continue;
    return fail(n.name + (" of " + owner) + " is " + std::to_string(n.value) +
                ": it must be from " + std::to_string(n.range.least) + " to " +
                std::to_string(n.range.most));
  }
  if (auto r = check_prefixes(a.allow, "allow of " + owner); !r) return r;
  return check_prefixes(a.deny, "deny of " + owner);
}

AdmissionEntry compile_admission(const Admission& a) {
  AdmissionEntry entry;
  entry.max_connections = a.max_connections;
  entry.connect_rate = per_second(a.connect_rate);
  entry.source = {a.source_connections, per_second(a.source_rate)};
  entry.source_v4_bits = a.source_v4_bits;
  entry.source_v6_bits = a.source_v6_bits;
  entry.client_id_rate =
      admission::Rate::per(a.client_id_connects, static_cast<uint32_t>(a.client_id_period.count()),
                           a.client_id_connects);
  entry.refuse = a.refuse;
  entry.allow = admission::PrefixSet(a.allow);
  entry.deny = admission::PrefixSet(a.deny);
  entry.asks = a.max_connections != 0 || a.connect_rate.rate != 0 || entry.counts_sources() ||
               !entry.allow.empty() || !entry.deny.empty();
  return entry;
}

}  // namespace mqlb::config
