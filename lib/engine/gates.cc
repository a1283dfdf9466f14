#include "lib/engine/gates.hh"

#include <sodium.h>

#include <algorithm>
#include <cstring>

namespace mqlb::engine {

void Gates::adopt(const config::Snapshot& snapshot, const tcp::Secret& secret, uint64_t flows) {
  const auto counts = [](const config::ListenerEntry& l) {
    return !l.retired && l.admission.counts_sources();
  };
  if (sources_ || std::none_of(snapshot.listeners.begin(), snapshot.listeners.end(), counts))
    return;
  static_assert(crypto_shorthash_KEYBYTES == sizeof key_);
  crypto_kdf_derive_from_key(key_.data(), key_.size(), 0, "mqlb-adm", secret.data());
  // So roomy that a bucket is hardly ever full, even if each flow has a source of its own.
  constexpr uint64_t kFewest = 1U << 16;
  const uint64_t room = std::clamp<uint64_t>(4 * flows, kFewest, admission::kMostSources);
  sources_ = std::make_unique<admission::SourceTable>(static_cast<uint32_t>(room));
  published_.store(sources_.get(), std::memory_order_release);
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

}  // namespace mqlb::engine
