// SYN cookies: a half-open connection costs no memory (RFC 4987 section 3.6).
//
// The cookie is the ISN of our SYN-ACK. It is a keyed hash (SipHash-2-4) over the 4-tuple, a time
// slot and the options that the client offered. The options come back in the
// echoed timestamp when there is one, else in eight bits of the ISN:
//
//     with timestamps:     ISN = hash(32) + client's ISN    TSval = clock(23) | options(9)
//     without:             ISN = hash(24) + client's ISN(24) | options(8)
//
// The client's ISN is added, not hashed (as Linux does): so the cookie also tells how far a segment
// lies behind the client's first byte, and one that overtook the first is known for what it is.
//
// The present and the previous slot are accepted, so a forged ACK passes with probability 2^-31 or
// 2^-23. Keys are derived from one secret and change every 256 slots (68 minutes).
//
// All cores use the same secret; each core has its own object.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "lib/base/seq32.hh"
#include "lib/base/time.hh"
#include "lib/wire/address.hh"

namespace mqlb::tcp {

inline constexpr size_t kSecretBytes = 32;
using Secret = std::array<uint8_t, kSecretBytes>;

// What both sides of a client's handshake agreed on.
struct Negotiated {
  uint16_t mss = 536;  // largest segment the client takes, bytes
  bool has_window_scale = false;
  uint8_t window_scale = 0;  // the client's shift
  bool sack = false;
  bool timestamps = false;

  friend bool operator==(const Negotiated&, const Negotiated&) = default;
};

struct Cookie {
  base::Seq32 iss;
  uint32_t tsval = 0;  // to be sent if timestamps were negotiated
};

class SynCookies {
 public:
  explicit SynCookies(const Secret& secret);

  // The SYN-ACK's numbers for a SYN. negotiated.mss is rounded down to a class.
  [[nodiscard]] Cookie make(const wire::Endpoint& client, const wire::Endpoint& listener,
                            base::Seq32 client_isn, const Negotiated& negotiated,
                            base::Instant now);

  // What an ACK proves: `client_isn` is its sequence number less one, `iss` its acknowledgement
  // less one. tsecr: the echoed timestamp, if the segment carries one. nullopt: not our cookie.
  [[nodiscard]] std::optional<Negotiated> check(const wire::Endpoint& client,
                                                const wire::Endpoint& listener,
                                                base::Seq32 client_isn, base::Seq32 iss,
                                                std::optional<uint32_t> tsecr, base::Instant now);

  // True if a segment may follow a handshake of ours whose first bytes are late or lost; wrong for
  // one foreign segment in 2^9 at the most. Never enough to accept a connection.
  [[nodiscard]] bool is_early(const wire::Endpoint& client, const wire::Endpoint& listener,
                              base::Seq32 seq, base::Seq32 iss, std::optional<uint32_t> tsecr,
                              base::Instant now);

  // Our timestamp clock: milliseconds with a secret offset (RFC 7323 section 5.4).
  [[nodiscard]] uint32_t timestamp(base::Instant now) const {
    return base::to_milliseconds(now) + timestamp_offset_;
  }
  // True if a cookie of ours that is still valid may have carried this TSval.
  [[nodiscard]] bool is_recent(uint32_t tsecr, base::Instant now) const;

 private:
  using Key = std::array<uint8_t, 16>;

  [[nodiscard]] uint64_t mac(const wire::Endpoint& client, const wire::Endpoint& listener,
                             base::Seq32 client_isn, uint32_t slot, uint32_t options);
  [[nodiscard]] uint32_t base_of(const wire::Endpoint& client, const wire::Endpoint& listener,
                                 base::Seq32 client_isn, uint32_t slot, uint32_t options);
  const Key& key_of(uint32_t slot);

  Secret secret_;
  uint32_t timestamp_offset_ = 0;
  // Keys of the two latest epochs; epochs_ holds epoch + 1, 0: none.
  std::array<Key, 2> keys_{};
  std::array<uint64_t, 2> epochs_{};
};

}  // namespace mqlb::tcp
