// The Toeplitz hash as ports compute it, and the core that follows from it.
#include "lib/flow/steering.hh"

#include <rte_thash.h>

#include <map>
#include <random>

#include "tests/support/cmocka.hh"

namespace {

using namespace mqlb;
using flow::Steering;
using flow::Toeplitz;
using wire::Endpoint;
using wire::IpAddress;

// Of Microsoft's "Verifying the RSS Hash Calculation".
constexpr std::array<uint8_t, 40> kPublishedKey{
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

Toeplitz published() { return Toeplitz(std::span(kPublishedKey).first<Toeplitz::kKeyBytes>()); }

Endpoint endpoint(const char* text) {
  const auto parsed = Endpoint::parse(text);
  assert_true(parsed.has_value());
  return *parsed;
}

void test_published_vectors(void**) {
  const struct {
    const char* destination;
    const char* source;
    uint32_t hash;
  } rows[] = {
      {"161.142.100.80:1766", "66.9.149.187:2794", 0x51ccc178},
      {"65.69.140.83:4739", "199.92.111.2:14230", 0xc626b0ea},
      {"12.22.207.184:38024", "24.19.198.95:12898", 0x5c2b394a},
      {"209.142.163.6:2217", "38.27.205.30:48228", 0xafc7327f},
      {"202.188.127.2:1303", "153.39.163.191:44251", 0x10e828a2},
  };
  const Toeplitz toeplitz = published();
  for (const auto& row : rows) {
    assert_int_equal(toeplitz.hash(endpoint(row.source), endpoint(row.destination)), row.hash);
  }
}

uint32_t softrss(const Endpoint& source, const Endpoint& destination, const uint8_t* key) {
  uint32_t tuple[3] = {source.address.v4_bits(), destination.address.v4_bits(),
                       uint32_t{source.port} << 16 | destination.port};
  return rte_softrss(tuple, 3, key);
}

void test_as_dpdk_has_it(void**) {
  std::mt19937 random(7);
  const auto any = [&random] {
    return Endpoint{IpAddress::v4(static_cast<uint32_t>(random())),
                    static_cast<uint16_t>(random())};
  };
  for (int keys = 0; keys < 20; ++keys) {
    alignas(4) std::array<uint8_t, Toeplitz::kKeyBytes> key;
    for (uint8_t& byte : key) byte = static_cast<uint8_t>(random());
    const Toeplitz toeplitz(key);
    for (int i = 0; i < 5000; ++i) {
      const Endpoint source = any();
      const Endpoint destination = any();
      assert_int_equal(toeplitz.hash(source, destination),
                       softrss(source, destination, key.data()));
    }
  }
  // Each bit of the input alone, and none.
  const Toeplitz toeplitz = published();
  for (unsigned bit = 0; bit <= 96; ++bit) {
    const auto one = [bit](unsigned from, unsigned width) {
      return bit >= from && bit < from + width ? 1U << (from + width - 1 - bit) : 0U;
    };
    const Endpoint source{IpAddress::v4(one(0, 32)), static_cast<uint16_t>(one(64, 16))};
    const Endpoint destination{IpAddress::v4(one(32, 32)), static_cast<uint16_t>(one(80, 16))};
    assert_int_equal(toeplitz.hash(source, destination),
                     softrss(source, destination, kPublishedKey.data()));
  }
}

// The entry is named by the hash's low bits, and nothing else matters.
void test_core_of_an_entry(void**) {
  assert_false(Steering().known());
  const Endpoint listener = endpoint("198.18.0.10:1883");
  for (const size_t entries : {1U, 2U, 128U, 512U, 2048U}) {
    for (const unsigned cores : {1U, 2U, 3U, 7U}) {
      std::vector<flow::CoreIndex> table(entries);
      for (size_t i = 0; i < entries; ++i) table[i] = static_cast<flow::CoreIndex>(i % cores);
      const Steering steering(published(), table);
      assert_true(steering.known());
      std::map<unsigned, unsigned> shares;
      constexpr unsigned kClients = 6000;
      for (unsigned i = 0; i < kClients; ++i) {
        const Endpoint client{IpAddress::v4(0xc6120100 + i % 250), static_cast<uint16_t>(1024 + i)};
        const uint32_t hash = softrss(client, listener, kPublishedKey.data());
        assert_int_equal(steering.core_for(client, listener), table[hash % entries]);
        ++shares[steering.core_for(client, listener)];
      }
      if (entries < 128) continue;
      for (unsigned core = 0; core < cores; ++core) {
        assert_in_range(shares[core], kClients / cores * 3 / 4, kClients / cores * 5 / 4);
      }
    }
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_published_vectors),
      cmocka_unit_test(test_as_dpdk_has_it),
      cmocka_unit_test(test_core_of_an_entry),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
