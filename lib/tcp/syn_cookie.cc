#include "lib/tcp/syn_cookie.hh"

#include <sodium.h>

#include <algorithm>
#include <iterator>

#include "lib/base/bytes.hh"

namespace mqlb::tcp {
namespace {

constexpr int64_t kSlotMicroseconds = 16'000'000;
constexpr uint32_t kSlotsPerEpoch = 256;
constexpr uint32_t kValidMilliseconds = 2 * kSlotMicroseconds / 1000;

constexpr uint32_t kNoWindowScale = 15;

// Classes of the client's MSS, ascending: sixteen where four bits are free, eight where three.
constexpr uint16_t kMssWithTimestamps[16] = {64,   216,  256,  536,  768,  960,  1024, 1220,
                                             1300, 1340, 1380, 1400, 1440, 1452, 1460, 8960};
constexpr uint16_t kMssWithout[8] = {64, 216, 536, 1024, 1220, 1360, 1420, 1460};

template <size_t N>
uint32_t mss_class(const uint16_t (&classes)[N], uint16_t mss) {
  const auto* above = std::upper_bound(std::begin(classes), std::end(classes), mss);
  return above == std::begin(classes)
             ? 0
             : static_cast<uint32_t>(std::distance(std::begin(classes), above)) - 1;
}

uint32_t scale_bits(const Negotiated& n) {
  return n.has_window_scale ? n.window_scale : kNoWindowScale;
}

uint32_t encode_options(const Negotiated& n) {
  const uint32_t scale_and_sack = scale_bits(n) | (n.sack ? 16U : 0U);
  return scale_and_sack |
         (n.timestamps ? mss_class(kMssWithTimestamps, n.mss) : mss_class(kMssWithout, n.mss)) << 5;
}

Negotiated decode_options(uint32_t bits, bool timestamps) {
  Negotiated n;
  n.has_window_scale = (bits & 15) != kNoWindowScale;
  n.window_scale = n.has_window_scale ? static_cast<uint8_t>(bits & 15) : uint8_t{0};
  n.sack = (bits & 16) != 0;
  n.timestamps = timestamps;
  n.mss = timestamps ? kMssWithTimestamps[(bits >> 5) & 15] : kMssWithout[(bits >> 5) & 7];
  return n;
}

uint32_t slot_of(base::Instant now) {
  return static_cast<uint32_t>(now.time_since_epoch().count() / kSlotMicroseconds);
}

constexpr uint32_t kTimestampOptionBits = 9;
constexpr uint32_t kTimestampOptionMask = (1U << kTimestampOptionBits) - 1;
constexpr uint32_t kWithTimestamps = 1U << 31;  // among the hashed options
constexpr uint32_t kShortMask = 0xffffff;

}  // namespace

SynCookies::SynCookies(const Secret& secret) : secret_(secret) {
  static_assert(crypto_kdf_KEYBYTES == kSecretBytes);
  uint8_t offset[16];
  crypto_kdf_derive_from_key(offset, sizeof offset, 0, "mqlb-tsc", secret_.data());
  timestamp_offset_ = base::load_be32(offset);
}

const SynCookies::Key& SynCookies::key_of(uint32_t slot) {
  const uint64_t epoch = slot / kSlotsPerEpoch;
  const size_t i = epoch % 2;
  if (epochs_[i] != epoch + 1) {
    crypto_kdf_derive_from_key(keys_[i].data(), keys_[i].size(), epoch, "mqlb-syn", secret_.data());
    epochs_[i] = epoch + 1;
  }
  return keys_[i];
}

uint64_t SynCookies::mac(const wire::Endpoint& client, const wire::Endpoint& listener,
                         base::Seq32 client_isn, uint32_t slot, uint32_t options) {
  // In words of eight bytes, as the hash reads them: smaller ones it would have to wait for.
  uint8_t input[16 + 16 + 2 + 2 + 4 + 4 + 4];
  uint8_t* p = input;
  if (client.address.is_v4() && listener.address.is_v4()) {
    base::store_be64(p, uint64_t{client.address.v4_bits()} << 32 | listener.address.v4_bits());
    p += 8;
  } else {
    client.address.store_v6(p);
    listener.address.store_v6(p + 16);
    p += 32;
  }
  base::store_be64(p,
                   uint64_t{client.port} << 48 | uint64_t{listener.port} << 32 | client_isn.raw());
  base::store_be64(p + 8, uint64_t{slot} << 32 | options);
  const auto length = static_cast<size_t>(p + 16 - input);
  static_assert(crypto_shorthash_KEYBYTES == sizeof(Key));
  uint8_t out[crypto_shorthash_BYTES];
  crypto_shorthash(out, input, length, key_of(slot).data());
  return uint64_t{base::load_be32(out)} << 32 | base::load_be32(out + 4);
}

// What a cookie has without the client's ISN. With timestamps all 32 bits are hash and the ISN is
// added; without, 24 bits are, and the ISN's upper eight are hashed instead.
uint32_t SynCookies::base_of(const wire::Endpoint& client, const wire::Endpoint& listener,
                             base::Seq32 client_isn, uint32_t slot, uint32_t options) {
  const bool wide = (options & kWithTimestamps) != 0;
  const base::Seq32 hashed(wide ? 0 : client_isn.raw() & ~kShortMask);
  return static_cast<uint32_t>(mac(client, listener, hashed, slot, options));
}

Cookie SynCookies::make(const wire::Endpoint& client, const wire::Endpoint& listener,
                        base::Seq32 client_isn, const Negotiated& negotiated, base::Instant now) {
  const uint32_t options = encode_options(negotiated);
  Cookie cookie;
  if (!negotiated.timestamps) {
    const uint32_t base = base_of(client, listener, client_isn, slot_of(now), options);
    cookie.iss = base::Seq32((base + client_isn.raw()) << 8 | options);
    return cookie;
  }
  const uint32_t base =
      base_of(client, listener, client_isn, slot_of(now), options | kWithTimestamps);
  cookie.iss = base::Seq32(base + client_isn.raw());
  const uint32_t clock = timestamp(now);
  cookie.tsval = (clock & ~kTimestampOptionMask) | options;
  // Never ahead of the clock: what is sent later must not look older (PAWS).
  if (static_cast<int32_t>(cookie.tsval - clock) > 0) cookie.tsval -= kTimestampOptionMask + 1;
  return cookie;
}

std::optional<Negotiated> SynCookies::check(const wire::Endpoint& client,
                                            const wire::Endpoint& listener, base::Seq32 client_isn,
                                            base::Seq32 iss, std::optional<uint32_t> tsecr,
                                            base::Instant now) {
  if (tsecr && !is_recent(*tsecr, now)) return std::nullopt;
  const uint32_t options =
      tsecr ? (*tsecr & kTimestampOptionMask) | kWithTimestamps : iss.raw() & 0xff;
  const uint32_t slot = slot_of(now);
  for (const uint32_t s : {slot, slot - 1}) {
    const uint32_t sum = base_of(client, listener, client_isn, s, options) + client_isn.raw();
    if (tsecr ? sum == iss.raw() : (sum & kShortMask) == iss.raw() >> 8) {
      return decode_options(options & kTimestampOptionMask, tsecr.has_value());
    }
  }
  return std::nullopt;
}

bool SynCookies::is_early(const wire::Endpoint& client, const wire::Endpoint& listener,
                          base::Seq32 seq, base::Seq32 iss, std::optional<uint32_t> tsecr,
                          base::Instant now) {
  constexpr uint32_t kFlight = 16384;  // ten full segments, and some
  if (tsecr && !is_recent(*tsecr, now)) return false;
  const uint32_t options =
      tsecr ? (*tsecr & kTimestampOptionMask) | kWithTimestamps : iss.raw() & 0xff;
  const uint32_t slot = slot_of(now);
  for (const uint32_t s : {slot, slot - 1}) {
    // Without timestamps the ISN may lie before a carry into the bits that are hashed.
    for (const base::Seq32 near : {seq - 1, seq - 1 - kFlight}) {
      const uint32_t base = base_of(client, listener, near, s, options);
      const base::Seq32 isn(tsecr ? iss.raw() - base
                                  : (near.raw() & ~kShortMask) |
                                        (((iss.raw() >> 8) - base) & kShortMask));
      if ((seq - 1).in_window(isn, kFlight)) return true;
    }
  }
  return false;
}

bool SynCookies::is_recent(uint32_t tsecr, base::Instant now) const {
  const uint32_t age = timestamp(now) - tsecr;
  return age <= kValidMilliseconds + kTimestampOptionMask + 1;
}

}  // namespace mqlb::tcp
