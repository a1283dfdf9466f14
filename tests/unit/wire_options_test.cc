// TCP options: what a SYN offers and what comes back, and every length that cannot be.
#include <random>
#include <vector>

#include "lib/wire/tcp_options.hh"
#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using Octets = std::vector<uint8_t>;

std::optional<wire::TcpOptions> parse(const Octets& bytes) {
  return wire::parse_tcp_options(bytes);
}

void test_round_trip(void**) {
  for (unsigned present = 0; present < 16; ++present) {
    for (const unsigned mss : {0U, 1U, 536U, 1460U, 0xffffU}) {
      for (uint8_t scale = 0; scale <= wire::kMaxWindowScale; ++scale) {
        wire::TcpOptions in;
        if ((present & 1) != 0) in.mss = static_cast<uint16_t>(mss);
        if ((present & 2) != 0) in.window_scale = scale;
        in.sack_permitted = (present & 4) != 0;
        if ((present & 8) != 0) in.timestamps = wire::Timestamps{0xdeadbeef, 0x01020304};
        Octets bytes(wire::kMaxTcpOptions);
        bytes.resize(wire::encode_tcp_options(in, bytes.data()));
        assert_int_equal(bytes.size() % 4, 0);
        const auto out = parse(bytes);
        assert_true(out.has_value());
        assert_true(out->mss == in.mss && out->window_scale == in.window_scale);
        assert_int_equal(out->sack_permitted, in.sack_permitted);
        assert_int_equal(out->timestamps.has_value(), in.timestamps.has_value());
        if (!in.timestamps) continue;
        assert_int_equal(out->timestamps->value, 0xdeadbeef);
        assert_int_equal(out->timestamps->echo_reply, 0x01020304);
        // Segments without a SYN keep the words aligned (RFC 7323 appendix A).
        assert_int_equal(base::load_be32(&bytes[out->timestamps_offset]), 0xdeadbeef);
      }
    }
  }
}

// For each known kind, only its own lengths are right; for an unknown kind all from two.
void test_lengths(void**) {
  for (unsigned kind = 2; kind < 256; ++kind) {
    for (unsigned length = 0; length < 256; ++length) {
      Octets bytes(wire::kMaxTcpOptions, wire::kOptionNop);
      bytes[0] = static_cast<uint8_t>(kind);
      bytes[1] = static_cast<uint8_t>(length);
      bool good = length >= 2 && length <= bytes.size();
      switch (kind) {
        case wire::kOptionMss:
          good = length == 4;
          break;
        case wire::kOptionWindowScale:
          good = length == 3;
          break;
        case wire::kOptionSackPermitted:
          good = length == 2;
          break;
        case wire::kOptionSack:
          good = length == 10 || length == 18 || length == 26 || length == 34;
          break;
        case wire::kOptionTimestamps:
          good = length == 10;
          break;
        default:
          break;
      }
      assert_int_equal(parse(bytes).has_value(), good);
    }
  }
}

// Cut at each byte: never read past the end, and no option is half taken.
void test_cut(void**) {
  const struct {
    Octets option;
  } rows[] = {{{2, 4, 5, 180}},
              {{3, 3, 7}},
              {{4, 2}},
              {{8, 10, 0, 0, 0, 1, 0, 0, 0, 2}},
              {{5, 10, 0, 0, 0, 1, 0, 0, 0, 2}},
              {{254, 4, 1, 2}}};
  for (const auto& row : rows) {
    for (size_t nops = 0; nops < 4; ++nops) {
      for (size_t n = 1; n < row.option.size(); ++n) {
        Octets bytes(nops, wire::kOptionNop);
        bytes.insert(bytes.end(), row.option.begin(),
                     row.option.begin() + static_cast<ptrdiff_t>(n));
        assert_false(parse(bytes).has_value());
      }
      Octets bytes(nops, wire::kOptionNop);
      bytes.insert(bytes.end(), row.option.begin(), row.option.end());
      assert_true(parse(bytes).has_value());
    }
  }
}

void test_offsets_and_end(void**) {
  const auto none = parse({});
  assert_true(none && !none->mss && none->sack_blocks == 0 && none->sack_offset == 0);
  Octets sack{1, 5, 18};
  sack.resize(3 + 16);
  const auto blocks = parse(sack);
  assert_true(blocks.has_value());
  assert_int_equal(blocks->sack_offset, 3);
  assert_int_equal(blocks->sack_blocks, 2);
  const auto stamps = parse({1, 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2});
  assert_true(stamps && stamps->timestamps_offset == 5 && stamps->timestamps->value == 1);
  // Behind the end of the list there are no options, whatever stands there.
  const auto ended = parse({2, 4, 1, 2, 0, 3, 99, 8});
  assert_true(ended && ended->mss == 0x0102 && !ended->window_scale);
}

void test_window_scale_is_capped(void**) {
  for (unsigned scale = 0; scale < 256; ++scale) {
    const auto options = parse({3, 3, static_cast<uint8_t>(scale)});
    assert_true(options && options->window_scale == std::min(scale, 14U));
  }
}

// Whatever the bytes are, the offsets in the answer lie within them.
void test_random(void**) {
  std::mt19937 random(4);
  const uint8_t likely[] = {0, 1, 2, 3, 4, 5, 8, 10, 18, 26, 34, 2, 1, 1};
  size_t accepted = 0;
  for (int round = 0; round < 200000; ++round) {
    Octets bytes(random() % (wire::kMaxTcpOptions + 1));
    for (uint8_t& b : bytes) {
      b = random() % 2 == 0 ? likely[random() % std::size(likely)] : static_cast<uint8_t>(random());
    }
    const auto options = parse(bytes);
    if (!options) continue;
    ++accepted;
    if (options->timestamps) assert_true(options->timestamps_offset + 8U <= bytes.size());
    assert_true(options->sack_offset + 8U * options->sack_blocks <= bytes.size());
    assert_true(options->sack_blocks <= 4);
    assert_int_equal(options->sack_blocks > 0, options->sack_offset >= 2);
  }
  assert_true(accepted > 1000);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_round_trip),
      cmocka_unit_test(test_lengths),
      cmocka_unit_test(test_cut),
      cmocka_unit_test(test_offsets_and_end),
      cmocka_unit_test(test_window_scale_is_capped),
      cmocka_unit_test(test_random),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
