// SYN cookies by what they promise: they come back whole, in time, to the one who got them.
#include "lib/tcp/syn_cookie.hh"

#include <memory>
#include <random>

#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Instant;
using base::Seq32;
using tcp::Negotiated;
using tcp::SynCookies;

constexpr base::Duration kSlot = 16s;
constexpr auto kEpoch = kSlot * 256;
const tcp::Secret kSecret{1, 2, 3, 4};
const Seq32 kIsn{0x12345678};

Instant at(base::Duration since_start) { return Instant(since_start); }

Negotiated with(bool timestamps) {
  Negotiated n;
  n.mss = 1460;
  n.has_window_scale = true;
  n.window_scale = 7;
  n.sack = true;
  n.timestamps = timestamps;
  return n;
}

std::optional<uint32_t> echo(const tcp::Cookie& cookie, const Negotiated& n) {
  return n.timestamps ? std::optional(cookie.tsval) : std::nullopt;
}

struct Handshake {
  Negotiated n;
  tcp::Cookie cookie;
  Instant made;

  Handshake(SynCookies& cookies, bool timestamps, Instant when) : n(with(timestamps)), made(when) {
    cookie = cookies.make(client_endpoint(), listener_endpoint(), kIsn, n, when);
  }
  std::optional<Negotiated> check(SynCookies& cookies, Instant when) const {
    return cookies.check(client_endpoint(), listener_endpoint(), kIsn, cookie.iss, echo(cookie, n),
                         when);
  }
};

void test_options_come_back(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(12345s);
  for (const bool timestamps : {false, true}) {
    for (unsigned scale = 0; scale <= 15; ++scale) {
      for (unsigned mss = 64; mss <= 0xffff; mss += mss < 1500 ? 1 : 997) {
        Negotiated n = with(timestamps);
        n.has_window_scale = scale < 15;
        n.window_scale = static_cast<uint8_t>(n.has_window_scale ? scale : 0);
        n.sack = (mss + scale) % 2 == 0;
        n.mss = static_cast<uint16_t>(mss);
        const auto cookie = cookies.make(client_endpoint(), listener_endpoint(), kIsn, n, now);
        const auto back = cookies.check(client_endpoint(), listener_endpoint(), kIsn, cookie.iss,
                                        echo(cookie, n), now);
        assert_true(back.has_value());
        // Down to a class, and not by more than a sixth where clients are.
        assert_true(back->mss <= n.mss);
        if (mss >= 1220 && mss <= 1500) assert_true(back->mss * 6 >= mss * 5);
        n.mss = back->mss;
        assert_true(*back == n);
      }
    }
  }
}

// The usual sizes lose nothing: Ethernet, PPPoE, tunnels, and the default.
void test_usual_sizes_are_classes(void**) {
  SynCookies cookies(kSecret);
  const struct {
    uint16_t mss;
    bool without;
  } rows[] = {{536, true}, {1220, true}, {1460, true}, {1440, false}, {1452, false}, {1400, false}};
  for (const auto& row : rows) {
    for (const bool timestamps : {false, true}) {
      if (!timestamps && !row.without) continue;
      Negotiated n = with(timestamps);
      n.mss = row.mss;
      const auto cookie = cookies.make(client_endpoint(), listener_endpoint(), kIsn, n, at(1s));
      const auto back = cookies.check(client_endpoint(), listener_endpoint(), kIsn, cookie.iss,
                                      echo(cookie, n), at(1s));
      assert_true(back && back->mss == row.mss);
    }
  }
}

// A cookie made anywhere in a slot is good to the end of the next one, not a microsecond longer.
void test_expiry(void**) {
  SynCookies cookies(kSecret);
  const base::Duration starts[] = {
      0s, kSlot, kSlot * 7, kEpoch - kSlot, kEpoch - kSlot * 2, kEpoch, kEpoch * 3 - kSlot};
  for (const bool timestamps : {false, true}) {
    for (const base::Duration slot : starts) {
      for (const base::Duration into : {base::Duration(0), base::Duration(8s), kSlot - 1us}) {
        const Handshake h(cookies, timestamps, at(slot + into));
        assert_true(h.check(cookies, h.made).has_value());
        assert_true(h.check(cookies, at(slot + kSlot)).has_value());
        assert_true(h.check(cookies, at(slot + 2 * kSlot - 1us)).has_value());
        assert_false(h.check(cookies, at(slot + 2 * kSlot)).has_value());
        assert_false(h.check(cookies, at(slot + kEpoch)).has_value());
        assert_false(h.check(cookies, at(slot + 2 * kEpoch)).has_value());
        // Other cores make new keys at other times; going back and forth must not confuse one.
        assert_true(h.check(cookies, h.made).has_value());
      }
    }
  }
}

// A slot of an hour's keys later, and another core.
void test_key_epochs(void**) {
  SynCookies one(kSecret);
  SynCookies other(kSecret);
  tcp::Secret changed = kSecret;
  changed[31] ^= 1;
  SynCookies stranger(changed);
  uint32_t previous = 0;
  for (int epoch = 0; epoch < 20; ++epoch) {
    const Instant last = at(kEpoch * epoch + kEpoch - 1s);
    const Handshake h(one, false, last);
    assert_true(h.check(other, last).has_value());
    assert_true(h.check(other, last + 2s).has_value());  // with the key before the present one
    assert_false(h.check(stranger, last).has_value());
    assert_int_not_equal(h.cookie.iss.raw(), previous);
    previous = h.cookie.iss.raw();
  }
}

void test_only_for_the_one_who_got_it(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(1000s);
  const wire::Endpoint client = client_endpoint();
  const wire::Endpoint listener = listener_endpoint();
  const wire::Endpoint other_address{wire::IpAddress::v4(client.address.v4_bits() + 1),
                                     client.port};
  const wire::Endpoint other_port{client.address, static_cast<uint16_t>(client.port + 1)};
  const wire::Endpoint other_listener{listener.address, static_cast<uint16_t>(listener.port + 1)};
  const wire::Endpoint other_vip{client.address, listener.port};
  const struct {
    const char* what;
    wire::Endpoint client, listener;
    uint32_t isn;
  } rows[] = {
      {"address", other_address, listener, 0},
      {"port", other_port, listener, 0},
      {"listener port", client, other_listener, 0},
      {"listener", client, other_vip, 0},
      {"swapped", listener, client, 0},
      {"next ISN", client, listener, 1},
      {"ISN before", client, listener, 0xffffffff},
      {"far ISN", client, listener, 0x80000000},
  };
  for (const bool timestamps : {false, true}) {
    const Handshake h(cookies, timestamps, now);
    assert_true(h.check(cookies, now).has_value());
    for (const auto& row : rows) {
      const auto back = cookies.check(row.client, row.listener, kIsn + row.isn, h.cookie.iss,
                                      echo(h.cookie, h.n), now);
      if (back) fail_msg("accepted: another %s", row.what);
    }
    for (unsigned bit = 0; bit < 32; ++bit) {
      const Seq32 iss(h.cookie.iss.raw() ^ (1U << bit));
      assert_false(
          cookies.check(client, listener, kIsn, iss, echo(h.cookie, h.n), now).has_value());
    }
  }
  // What was promised without timestamps is not had with them, and the other way round.
  const Handshake with_timestamps(cookies, true, now);
  assert_false(
      cookies.check(client, listener, kIsn, with_timestamps.cookie.iss, {}, now).has_value());
  const Handshake without(cookies, false, now);
  for (uint32_t options = 0; options < 512; ++options) {
    const uint32_t tsecr = (cookies.timestamp(now) - 1024) / 512 * 512 + options;
    assert_false(cookies.check(client, listener, kIsn, without.cookie.iss, tsecr, now).has_value());
  }
}

// The address that an IPv4 address looks like in IPv6 to whoever reads only its last four octets.
wire::Endpoint look_alike(const wire::Endpoint& e, std::initializer_list<uint8_t> front) {
  std::array<uint8_t, 16> octets{};
  std::copy(front.begin(), front.end(), octets.begin());
  e.address.store_v4(&octets[12]);
  return {wire::IpAddress::load_v6(octets.data()), e.port};
}

void test_ipv6_addresses(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(1000s);
  const wire::Endpoint client = client_endpoint_v6();
  const wire::Endpoint listener = listener_endpoint_v6();
  for (const bool timestamps : {false, true}) {
    const Negotiated n = with(timestamps);
    const auto cookie = cookies.make(client, listener, kIsn, n, now);
    const auto holds = [&](const wire::Endpoint& c, const wire::Endpoint& l) {
      return cookies.check(c, l, kIsn, cookie.iss, echo(cookie, n), now).has_value();
    };
    assert_true(holds(client, listener));
    // Each bit of both addresses counts: nobody in the same /64 has it either.
    for (unsigned bit = 0; bit < 128; ++bit) {
      for (const bool of_client : {true, false}) {
        auto octets = (of_client ? client : listener).address.octets();
        octets[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
        const auto other = wire::IpAddress::load_v6(octets.data());
        assert_false(of_client ? holds({other, client.port}, listener)
                               : holds(client, {other, listener.port}));
      }
    }
    assert_false(holds({client.address, 40001}, listener));
    assert_false(holds(client, {listener.address, 8883}));
    assert_false(holds({listener.address, client.port}, {client.address, listener.port}));
  }
}

// A cookie of IPv4 does not hold for an IPv6 address that ends alike, nor the other way round.
void test_families_apart(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(1000s);
  const std::initializer_list<uint8_t> fronts[] = {
      {},                                          // ::198.18.0.7
      {0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0},  // ::ffff:0:198.18.0.7
      {0, 0x64, 0xff, 0x9b},                       // 64:ff9b::198.18.0.7
      {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0xff, 0xff},
  };
  for (const bool timestamps : {false, true}) {
    const Negotiated n = with(timestamps);
    const wire::Endpoint client = client_endpoint();
    const wire::Endpoint listener = listener_endpoint();
    const auto four = cookies.make(client, listener, kIsn, n, now);
    for (const auto& front : fronts) {
      const wire::Endpoint client_six = look_alike(client, front);
      const wire::Endpoint listener_six = look_alike(listener, front);
      assert_false(client_six.address.is_v4());
      const auto six = cookies.make(client_six, listener_six, kIsn, n, now);
      const auto check = [&](const wire::Endpoint& c, const wire::Endpoint& l,
                             const tcp::Cookie& cookie) {
        return cookies.check(c, l, kIsn, cookie.iss, echo(cookie, n), now).has_value();
      };
      assert_true(check(client_six, listener_six, six));
      assert_false(check(client_six, listener_six, four));
      assert_false(check(client, listener, six));
      assert_false(check(client_six, listener, four));
      assert_false(check(client, listener_six, four));
    }
  }
}

// Segments that overtake the first are known in IPv6, too.
void test_early_ipv6(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(1000s);
  const wire::Endpoint client = client_endpoint_v6();
  const wire::Endpoint listener = listener_endpoint_v6();
  for (const bool timestamps : {false, true}) {
    const Negotiated n = with(timestamps);
    const auto cookie = cookies.make(client, listener, kIsn, n, now);
    const auto early = [&](const wire::Endpoint& c, uint32_t ahead) {
      return cookies.is_early(c, listener, kIsn + 1 + ahead, cookie.iss, echo(cookie, n), now);
    };
    assert_true(early(client, 0) && early(client, 1440) && early(client, 14400));
    assert_false(early(client, 100000));
    size_t others = 0;
    for (uint32_t i = 1; i <= 256; ++i) {
      auto octets = client.address.octets();
      octets[15] ^= static_cast<uint8_t>(i);
      octets[14] = static_cast<uint8_t>(i >> 8);
      const wire::Endpoint other{wire::IpAddress::load_v6(octets.data()), client.port};
      if (other != client && early(other, 1440)) ++others;
    }
    assert_in_range(others, 0, 4);  // promised is one in 2^9
  }
}

// A client cannot talk itself into options by another echo.
void test_echo_is_bound(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(5000s);
  const Handshake h(cookies, true, now);
  for (uint32_t flip = 1; flip < 512; ++flip) {
    assert_false(cookies
                     .check(client_endpoint(), listener_endpoint(), kIsn, h.cookie.iss,
                            h.cookie.tsval ^ flip, now)
                     .has_value());
  }
}

void test_timestamp_clock(void**) {
  SynCookies cookies(kSecret);
  uint32_t before = 0;
  for (base::Duration t = 0s; t < 20s; t += 317us) {
    const uint32_t clock = cookies.timestamp(at(t));
    if (t > 0s) assert_in_range(clock - before, 0, 1);
    before = clock;
    Negotiated n = with(true);
    n.window_scale = static_cast<uint8_t>(t.count() % 15);
    n.mss = static_cast<uint16_t>(t.count());
    const auto cookie = cookies.make(client_endpoint(), listener_endpoint(), kIsn, n, at(t));
    const uint32_t age = clock - cookie.tsval;
    assert_in_range(age, 0, 511);  // never ahead
    assert_true(cookies.is_recent(cookie.tsval, at(t)));
  }
}

// The clock and what is recent go on over the wrap of 32 bits of milliseconds.
void test_timestamp_wrap(void**) {
  SynCookies cookies(kSecret);
  const uint32_t offset = cookies.timestamp(at(0s));
  const auto wrap = std::chrono::milliseconds(uint64_t{0xffffffff} - offset + 1);
  for (const auto around : {-40'000ms, -511ms, -1ms, 0ms, 1ms, 511ms, 20'000ms}) {
    const Instant now = at(wrap + around + 0us);
    const Handshake h(cookies, true, now);
    assert_in_range(cookies.timestamp(now) - h.cookie.tsval, 0, 511);
    assert_true(h.check(cookies, now + 15s).has_value());
  }
}

void test_recent(void**) {
  SynCookies cookies(kSecret);
  const Instant now = at(777s);
  const uint32_t clock = cookies.timestamp(now);
  const struct {
    uint32_t age;
    bool recent;
  } rows[] = {{0, true},      {1, true},    {32000 + 511, true}, {32000 + 513, false},
              {60000, false}, {~0U, false}, {0x80000000, false}, {~0U - 1000, false}};
  for (const auto& row : rows)
    assert_int_equal(cookies.is_recent(clock - row.age, now), row.recent);
}

// Forged ACKs: of 2^20 tries none passes with timestamps (chance 2^-11), and without them no more
// than a few (expected: an eighth).
void test_forgery(void**) {
  SynCookies cookies(kSecret);
  std::mt19937 random(5);
  const Instant now = at(4000s);
  size_t with_timestamps = 0;
  size_t without = 0;
  for (uint32_t i = 0; i < 1U << 20; ++i) {
    const Seq32 isn(static_cast<uint32_t>(random()));
    const Seq32 iss(static_cast<uint32_t>(random()));
    const uint32_t tsecr = cookies.timestamp(now) - static_cast<uint32_t>(random()) % 32000;
    const wire::Endpoint client{wire::IpAddress::v4(0xc6120000 + i), 40000};
    with_timestamps += cookies.check(client, listener_endpoint(), isn, iss, tsecr, now) ? 1U : 0U;
    without += cookies.check(client, listener_endpoint(), isn, iss, {}, now) ? 1U : 0U;
  }
  assert_int_equal(with_timestamps, 0);
  assert_in_range(without, 0, 3);
}

// ISNs of different clients share no pattern: each bit of the hash is set about half of the time.
void test_isn_bits_are_balanced(void**) {
  SynCookies cookies(kSecret);
  constexpr uint32_t kClients = 1U << 14;
  for (const bool timestamps : {false, true}) {
    uint32_t set[32] = {};
    for (uint32_t i = 0; i < kClients; ++i) {
      const wire::Endpoint client{wire::IpAddress::v4(0xc6120000 + i), 40000};
      const auto cookie = cookies.make(client, listener_endpoint(), kIsn, with(timestamps), at(1s));
      for (unsigned bit = 0; bit < 32; ++bit) set[bit] += cookie.iss.raw() >> bit & 1;
    }
    // Six standard deviations of a fair coin: 6 * sqrt(2^14) / 2 = 384.
    for (unsigned bit = timestamps ? 0 : 8; bit < 32; ++bit) {
      assert_in_range(set[bit], kClients / 2 - 384, kClients / 2 + 384);
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_options_come_back),
      cmocka_unit_test(test_usual_sizes_are_classes),
      cmocka_unit_test(test_expiry),
      cmocka_unit_test(test_key_epochs),
      cmocka_unit_test(test_only_for_the_one_who_got_it),
      cmocka_unit_test(test_ipv6_addresses),
      cmocka_unit_test(test_families_apart),
      cmocka_unit_test(test_early_ipv6),
      cmocka_unit_test(test_echo_is_bound),
      cmocka_unit_test(test_timestamp_clock),
      cmocka_unit_test(test_timestamp_wrap),
      cmocka_unit_test(test_recent),
      cmocka_unit_test(test_forgery),
      cmocka_unit_test(test_isn_bits_are_balanced),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
