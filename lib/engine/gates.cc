#include "lib/engine/gates.hh"

#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace mqlb::engine {

namespace {

// room: sources, or Client IDs.
std::unique_ptr<admission::SourceTable> try_make(uint32_t room) {
  try {
    return std::make_unique<admission::SourceTable>(room);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

}  // namespace

base::Result<void> Gates::adopt(const config::Snapshot& snapshot, const tcp::Secret& secret,
                                uint64_t flows) {
  if (!std::exchange(has_keys_, true)) {
    derive_keys(secret);
    recent_ids_ = std::make_unique<admission::RecentIds>(std::clamp(flows, kFewestIds, kMostIds));
  }
  // So roomy that a bucket is hardly ever full, even if each flow has a source of its own.
  constexpr uint64_t kFewest = 1U << 16;
  const auto room =
      static_cast<uint32_t>(std::clamp<uint64_t>(4 * flows, kFewest, admission::kMostSources));
  bool by_source = false, by_client_id = false;
  for (const config::ListenerEntry& listener : snapshot.listeners) {
    if (listener.retired) continue;
    by_source |= listener.admission.counts_sources();
    by_client_id |= listener.admission.client_id_rate.interval != 0;
  }
  std::unique_ptr<admission::SourceTable> sources, client_ids;
  if (by_source && !sources_ && !(sources = try_make(room))) {
    return base::fail("no memory for the table of sources");
  }
  if (by_client_id && !client_ids_ && !(client_ids = try_make(room))) {
    return base::fail("no memory for the table of Client IDs");
  }
  if (sources) sources_ = std::move(sources);
  if (client_ids) client_ids_ = std::move(client_ids);
  return {};
}

void Gates::derive_keys(const tcp::Secret& secret) {
  static_assert(crypto_shorthash_KEYBYTES == sizeof key_);
  std::array<uint8_t, sizeof key_ + sizeof id_seed_> derived;
  crypto_kdf_derive_from_key(derived.data(), derived.size(), 0, "mqlb-adm", secret.data());
  std::memcpy(key_.data(), derived.data(), sizeof key_);
  std::memcpy(&id_seed_, derived.data() + sizeof key_, sizeof id_seed_);
}

uint64_t Gates::source(config::ListenerId listener, const wire::IpAddress& address,
                       uint8_t bits) const {
  const bool v4 = address.is_v4();
  std::array<uint8_t, 16> octets = address.octets();
  const size_t kept = (v4 ? 96U : 0U) + bits;
  for (size_t i = 0; i < octets.size(); ++i) {
    if (8 * i >= kept) {
      octets[i] = 0;
    } else if (8 * (i + 1) > kept) {
      octets[i] &= static_cast<uint8_t>(0xff00U >> (kept % 8));
    }
  }
  std::array<uint8_t, 20> message{};
  std::memcpy(message.data(), octets.data(), octets.size());
  std::memcpy(message.data() + 16, &listener, sizeof listener);
  message[18] = bits;
  message[19] = v4 ? 1 : 0;
  uint64_t hash = 0;
  crypto_shorthash(reinterpret_cast<uint8_t*>(&hash), message.data(), message.size(), key_.data());
  return hash;
}

uint64_t Gates::client_id(config::PoolId pool, uint64_t hash) const {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(hash ^ id_seed_) * ((id_seed_ | 1U) + 2 * uint64_t{pool});
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

admission::Verdict Gates::count(uint64_t client_id, const admission::Rate& rate,
                                base::Instant now) {
  // Limits of another rate are kept apart: the table cannot tell one's arrival times from
  // another's.
  client_id ^= static_cast<uint64_t>(rate.interval) * 0x9e3779b97f4a7c15U +
               static_cast<uint64_t>(rate.tolerance) * 0xd6e8feb86659fd93U;
  const admission::Verdict verdict = client_ids_->enter(client_id, {0, rate}, now);
  // Only its rate counts.
  if (verdict == admission::Verdict::counted) client_ids_->leave(client_id);
  return verdict;
}

}  // namespace mqlb::engine
