// The resolver on a virtual clock: what it sends and when, and whom it believes. What both families
// have in common is tested in both; addresses are written as IPv4's.
#include "lib/engine/neighbour_resolver.hh"

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

#include "lib/wire/ndp.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;
using engine::NeighbourResolver;
using wire::Arp;
using wire::Neighbour;

using SnapshotPtr = std::unique_ptr<const config::Snapshot>;

enum class Family { v4, v6 };

// One message, of either protocol.
struct Sent {
  config::PortId port = 0;
  bool is_announcement = false;
  wire::IpAddress sender, target;
  wire::MacAddress sender_mac;
  wire::MacAddress source, destination;
  wire::IpAddress asked;  // IPv6: where it goes to
  Duration when{};
};

Sent from_arp(const Octets& frame) {
  Arp arp;
  assert_int_equal(frame.size(), wire::kArpFrame);
  assert_true(wire::parse_arp(&frame[14], arp));
  assert_int_equal(arp.operation, Arp::request);
  assert_true(arp.target_mac == wire::MacAddress{});
  Sent s;
  s.is_announcement = arp.sender == arp.target;
  s.sender = arp.sender;
  s.target = arp.target;
  s.sender_mac = arp.sender_mac;
  return s;
}

Sent from_neighbour(const Octets& frame) {
  Neighbour message;
  assert_int_equal(frame.size(), wire::kNeighbourFrame);
  assert_true(wire::parse_neighbour(base::Bytes(frame).subspan(14), message));
  Sent s;
  s.is_announcement = message.type == Neighbour::advertisement;
  s.sender = message.source;
  s.target = message.target;
  s.sender_mac = message.link_address.value();
  s.asked = message.destination;
  if (!s.is_announcement) return s;
  assert_int_equal(message.flags, Neighbour::override_cached);
  assert_string_equal(to_string(message.destination).c_str(), "ff02::1");
  return s;
}

// Ports 0 (clients) and 1 (brokers) of sample_model(), with its next hops .11, .12 and .254.
class Bench {
 public:
  explicit Bench(Family family_, const config::Model& m = sample_model())
      : family(family_), model(family_ == Family::v4 ? m : in_ipv6(m)) {
    shared->port_macs[0] = kMacA;
    shared->port_macs[1] = kMacB;
    adopt();
  }
  explicit Bench(void** state) : Bench(*static_cast<Family*>(*state)) {}

  wire::IpAddress at(const char* address) const {
    return family == Family::v4 ? ip(address) : in_ipv6(ip(address));
  }
  void adopt() {
    const config::IdUse use{{}, [this](config::BackendId) { return flows; }, {}};
    auto compiled =
        config::compile(model, snapshots.empty() ? nullptr : snapshots.back().get(), use);
    if (!compiled) fail_msg("%s", compiled.error().message.c_str());
    snapshots.push_back(std::move(*compiled));
    resolver.adopt(*snapshots.back(), Instant(now));
  }
  // In steps of 100 ms, as control does; `sent` is then what was sent meanwhile.
  const Bench& run(Duration time) {
    sent.clear();
    for (const Duration end = now + time; now < end; now += 100ms) resolver.advance(Instant(now));
    return *this;
  }
  void answer(const Arp& arp, config::PortId port = 1) {
    uint8_t frame[wire::kArpFrame];
    wire::build_arp(arp, {arp.sender_mac, kMacB}, frame);
    resolver.receive(frame, port, Instant(now));
  }
  void answer(const Neighbour& message, config::PortId port = 1) {
    Octets frame(wire::kNeighbourFrame);
    frame.resize(wire::build_neighbour(message, {kMacA, kMacB}, frame));
    resolver.receive(frame, port, Instant(now));
  }
  void answer(const char* address, const wire::MacAddress& mac) {
    if (family == Family::v4) {
      answer({Arp::reply, mac, ip(address), kMacB, ip("198.18.1.1")});
    } else {
      answer(advertisement(address, mac));
    }
  }
  Neighbour advertisement(const char* address, std::optional<wire::MacAddress> mac,
                          uint8_t flags = Neighbour::solicited | Neighbour::override_cached) const {
    Neighbour message;
    message.type = Neighbour::advertisement;
    message.flags = flags;
    message.source = message.target = at(address);
    message.destination =
        (flags & Neighbour::solicited) != 0 ? at("198.18.1.1") : wire::all_nodes();
    message.link_address = mac;
    return message;
  }
  // The link address of a next hop; all zeros: not known.
  wire::MacAddress mac_of(const char* address) const {
    wire::MacAddress mac;
    const auto id = id_of(address);
    return shared->neighbours.lookup(id, mac) ? mac : wire::MacAddress{};
  }
  config::NextHopId id_of(const char* address) const {
    const auto& hops = snapshots.back()->next_hops;
    const auto it = std::find_if(hops.begin(), hops.end(),
                                 [&](const auto& hop) { return hop.address == at(address); });
    assert_true(it != hops.end());
    return static_cast<config::NextHopId>(it - hops.begin());
  }

  std::vector<Duration> probes(const char* address) const {
    std::vector<Duration> when;
    for (const Sent& s : sent) {
      if (!s.is_announcement && s.target == at(address)) when.push_back(s.when);
    }
    return when;
  }
  size_t announcements(const char* address) const {
    return static_cast<size_t>(std::count_if(sent.begin(), sent.end(), [&](const Sent& s) {
      return s.is_announcement && s.target == at(address);
    }));
  }
  size_t announcements() const {
    return static_cast<size_t>(
        std::count_if(sent.begin(), sent.end(), [](const Sent& s) { return s.is_announcement; }));
  }

  Family family;
  Duration now = 1000s;
  bool flows = false;  // to backends that were removed
  config::Model model;
  std::vector<SnapshotPtr> snapshots;
  std::vector<Sent> sent;
  std::unique_ptr<engine::Shared> shared = std::make_unique<engine::Shared>();
  NeighbourResolver resolver{*shared, [this](config::PortId port, base::Bytes frame) {
                               const Octets bytes(frame.begin(), frame.end());
                               assert_true(bytes.size() > 14);
                               Sent s = bytes[12] == 8 ? from_arp(bytes) : from_neighbour(bytes);
                               s.port = port;
                               s.destination = wire::MacAddress::load(&bytes[0]);
                               s.source = wire::MacAddress::load(&bytes[6]);
                               s.when = now;
                               sent.push_back(s);
                             }};
};

void test_requests(void** state) {
  Bench bench(state);
  bench.run(100ms);
  for (const char* hop : {"198.18.1.11", "198.18.1.12", "198.18.1.254"}) {
    assert_int_equal(bench.probes(hop).size(), 1);
  }
  for (const Sent& s : bench.sent) {
    if (bench.family == Family::v4) {
      assert_true(s.destination == wire::kBroadcastMac);
    } else {
      assert_true(s.destination == wire::multicast_mac(s.asked));
      assert_true(s.is_announcement || s.asked == wire::solicited_node(s.target));
    }
    assert_true(s.source == (s.port == 0 ? kMacA : kMacB));
    assert_true(s.sender_mac == s.source);
    if (s.is_announcement) continue;
    assert_int_equal(s.port, 1);
    assert_true(s.sender == bench.at("198.18.1.1"));
  }
}

// Quickly at first, then once a second, for ever: a broker may come up at any time.
void test_unanswered(void** state) {
  Bench bench(state);
  assert_int_equal(bench.run(2s).probes("198.18.1.11").size(), 10);
  assert_in_range(bench.run(60s).probes("198.18.1.11").size(), 59, 62);
  assert_in_range(bench.run(3600s).probes("198.18.1.11").size(), 3599, 3601);
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
}

void test_answered_and_refreshed(void** state) {
  Bench bench(state);
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
  assert_true(bench.mac_of("198.18.1.12") == wire::MacAddress{});
  assert_int_equal(bench.run(19s).probes("198.18.1.11").size(), 0);
  assert_int_equal(bench.run(2100ms).probes("198.18.1.11").size(), 2);  // at 20 s, and one repeat
  // The neighbour has another card now.
  bench.answer("198.18.1.11", kMacB);
  assert_true(bench.mac_of("198.18.1.11") == kMacB);
  assert_int_equal(bench.run(19s).probes("198.18.1.11").size(), 0);
}

// A neighbour that falls silent keeps its address, and the operator sees that it is stale.
void test_stale(void** state) {
  Bench bench(state);
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  const Duration answered = bench.now;
  const auto row = [&] {
    const auto rows = bench.resolver.rows(Instant(bench.now));
    assert_int_equal(rows.size(), 3);
    return rows[bench.id_of("198.18.1.11")];
  };
  assert_true(row().resolved && !row().stale);
  bench.run(20s);
  assert_false(row().stale);
  bench.run(5s);
  assert_true(row().resolved && row().stale);
  assert_true(row().age == bench.now - answered);
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
  bench.answer("198.18.1.11", kMacA);
  assert_true(row().resolved && !row().stale && row().age == 0s);
}

void test_whom_arp_believes(void**) {
  const wire::MacAddress mac{{0x02, 0, 0, 0, 0, 0x77}};
  const struct {
    const char* what;
    Arp arp;
    config::PortId port;
    bool believed;
  } rows[] = {
      {"reply", {Arp::reply, mac, ip("198.18.1.11"), kMacB, ip("198.18.1.1")}, 1, true},
      {"gratuitous reply", {Arp::reply, mac, ip("198.18.1.11"), mac, ip("198.18.1.11")}, 1, true},
      {"announcement", {Arp::request, mac, ip("198.18.1.11"), {}, ip("198.18.1.11")}, 1, true},
      {"other port", {Arp::reply, mac, ip("198.18.1.11"), kMacA, ip("198.18.0.1")}, 0, false},
      {"stranger", {Arp::reply, mac, ip("198.18.1.13"), kMacB, ip("198.18.1.1")}, 1, false},
      {"target is the hop",
       {Arp::request, mac, ip("198.18.1.13"), {}, ip("198.18.1.11")},
       1,
       false},
      {"group address", {Arp::reply, wire::kBroadcastMac, ip("198.18.1.11"), kMacB, {}}, 1, false},
  };
  for (const auto& row : rows) {
    Bench bench(Family::v4);
    bench.run(100ms);
    bench.answer(row.arp, row.port);
    const bool known = bench.mac_of("198.18.1.11") != wire::MacAddress{};
    if (known != row.believed) fail_msg("%s", row.what);
    assert_true(bench.mac_of("198.18.1.12") == wire::MacAddress{});
  }
}

void test_short_and_strange_arp(void**) {
  Bench bench(Family::v4);
  uint8_t frame[wire::kArpFrame];
  wire::build_arp({Arp::reply, kMacA, ip("198.18.1.11"), kMacB, ip("198.18.1.1")}, {kMacA, kMacB},
                  frame);
  for (size_t n = 0; n < sizeof frame; ++n) {
    const Octets cut(frame, frame + n);
    bench.resolver.receive(cut, 1, Instant(bench.now));
  }
  frame[15] = 6;  // IEEE 802 and not Ethernet
  bench.resolver.receive(frame, 1, Instant(bench.now));
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
  // Before there is a configuration, nothing is known of anybody.
  const auto shared = std::make_unique<engine::Shared>();
  NeighbourResolver fresh(*shared, [](config::PortId, base::Bytes) { fail_msg("sent"); });
  fresh.receive(frame, 1, Instant(1s));
  fresh.advance(Instant(1s));
  assert_int_equal(fresh.rows(Instant(1s)).size(), 0);
}

// RFC 4861 section 7.2.5. The neighbour is asked first, and in some rows known already by kMacA.
void test_whom_neighbour_discovery_believes(void**) {
  constexpr uint8_t kSolicited = Neighbour::solicited;
  constexpr uint8_t kOverride = Neighbour::override_cached;
  constexpr wire::MacAddress kNobody{};
  const wire::MacAddress other{{0x02, 0, 0, 0, 0, 0x77}};
  const struct {
    const char* what;
    bool known;
    std::optional<wire::MacAddress> mac;
    uint8_t flags;
    wire::MacAddress then;
    size_t probes;  // in the next 19 seconds
  } rows[] = {
      {"answer", false, other, kSolicited | kOverride, other, 0},
      {"first answer need not override", false, other, kSolicited, other, 0},
      {"first answer without address", false, {}, kSolicited | kOverride, kNobody, 27},
      {"first seen unasked", false, other, kOverride, other, 19},
      {"confirmed without address", true, {}, kSolicited, kMacA, 0},
      {"confirmed with the same", true, kMacA, kSolicited, kMacA, 0},
      {"another overrides", true, other, kSolicited | kOverride, other, 0},
      {"another does not override", true, other, kSolicited, kMacA, 0},
      {"another unasked", true, other, kOverride, other, 19},
      {"the same unasked", true, kMacA, kOverride, kMacA, 0},
  };
  for (const auto& row : rows) {
    Bench bench(Family::v6);
    bench.run(100ms);
    if (row.known) bench.answer("198.18.1.11", kMacA);
    bench.answer(bench.advertisement("198.18.1.11", row.mac, row.flags));
    if (!(bench.mac_of("198.18.1.11") == row.then)) fail_msg("%s", row.what);
    const size_t probes = bench.run(19s).probes("198.18.1.11").size();
    if (probes != row.probes) fail_msg("%s: %zu probes", row.what, probes);
    assert_true(bench.mac_of("198.18.1.12") == kNobody);
  }
}

// What is no advertisement about a next hop, on its port.
void test_what_neighbour_discovery_ignores(void**) {
  Bench bench(Family::v6);
  bench.run(100ms);
  bench.answer(bench.advertisement("198.18.1.13", kMacA));
  bench.answer(bench.advertisement("198.18.1.11", kMacA), 0);
  bench.answer(bench.advertisement("198.18.1.11", wire::kBroadcastMac));
  Neighbour question = bench.advertisement("198.18.1.11", kMacA);
  question.type = Neighbour::solicitation;
  bench.answer(question);
  Octets frame(wire::kNeighbourFrame);
  wire::build_neighbour(bench.advertisement("198.18.1.11", kMacA), {kMacA, kMacB}, frame);
  for (size_t n = 0; n < frame.size(); ++n) {
    bench.resolver.receive(Octets(frame.begin(), frame.begin() + static_cast<long>(n)), 1,
                           Instant(bench.now));
  }
  Octets routed = frame;
  routed[21] = 254;  // hop limit
  bench.resolver.receive(routed, 1, Instant(bench.now));
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
  bench.resolver.receive(frame, 1, Instant(bench.now));
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
}

// A neighbour that is known is asked at its own address; one that does not answer there may have
// another card, so the group is asked (RFC 4861 section 7.3.3).
void test_how_known_neighbours_are_asked(void**) {
  Bench bench(Family::v6);
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  std::vector<bool> by_group;
  for (const Sent& s : bench.run(25s).sent) {
    if (s.is_announcement || s.target != bench.at("198.18.1.11")) continue;
    by_group.push_back(s.destination.is_group());
    assert_true(s.destination == (s.destination.is_group() ? wire::multicast_mac(s.asked) : kMacA));
    assert_true(s.asked == (by_group.back() ? wire::solicited_node(s.target) : s.target));
  }
  assert_true((by_group == std::vector<bool>{false, false, false, true, true}));
  // Then any answer is taken, overriding or not.
  bench.answer(bench.advertisement("198.18.1.11", kMacB, Neighbour::solicited));
  assert_true(bench.mac_of("198.18.1.11") == kMacB);
}

// Each of our addresses, three times, on the side where its users are.
void test_announcements(void** state) {
  Bench bench(state);
  bench.run(10s);
  const struct {
    const char* address;
    config::PortId port;
  } rows[] = {{"198.18.0.1", 0},
              {"198.18.1.1", 1},
              {"198.18.0.10", 0},
              {"198.18.1.100", 1},
              {"198.18.1.101", 1}};
  for (const auto& row : rows) {
    assert_int_equal(bench.announcements(row.address), 3);
    for (const Sent& s : bench.sent) {
      if (s.is_announcement && s.target == bench.at(row.address)) {
        assert_int_equal(s.port, row.port);
      }
    }
  }
  assert_int_equal(bench.announcements(), 3 * std::size(rows));
  // A change elsewhere is no reason to say it all again.
  bench.model.pools[0].backends[0].weight = 5;
  bench.adopt();
  assert_int_equal(bench.run(10s).announcements(), 0);
}

// An address that left is announced no more; when it comes back, others may have another link
// address for it, so it is.
void test_address_comes_back(void** state) {
  Bench bench(state);
  bench.run(500ms);  // one of three is said
  const wire::Endpoint first = bench.model.listeners[0].endpoint;
  bench.model.listeners[0].endpoint = {bench.at("198.18.0.11"), 1883};
  bench.adopt();
  bench.run(10s);
  assert_int_equal(bench.announcements("198.18.0.10"), 0);
  assert_int_equal(bench.announcements("198.18.0.11"), 3);
  bench.model.listeners[0].endpoint = first;
  bench.adopt();
  bench.run(10s);
  assert_int_equal(bench.announcements("198.18.0.10"), 3);
  assert_int_equal(bench.announcements("198.18.0.11"), 0);
}

// The next hop of a removed broker is asked for as long as there are flows to it. Then it is let
// go, and asked for anew when it comes back.
void test_next_hop_leaves_and_returns(void** state) {
  Bench bench(state);
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  const config::Backend removed = bench.model.pools[0].backends[0];
  bench.model.pools[0].backends.erase(bench.model.pools[0].backends.begin());
  bench.flows = true;
  bench.adopt();
  assert_in_range(bench.run(60s).probes("198.18.1.11").size(), 30, 60);
  bench.answer("198.18.1.11", kMacB);
  assert_true(bench.mac_of("198.18.1.11") == kMacB);
  bench.flows = false;
  bench.adopt();
  assert_int_equal(bench.run(60s).probes("198.18.1.11").size(), 0);
  assert_int_equal(bench.resolver.rows(Instant(bench.now)).size(), 2);
  bench.model.pools[0].backends.push_back(removed);
  bench.adopt();
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
  assert_int_equal(bench.run(100ms).probes("198.18.1.11").size(), 1);
  bench.answer("198.18.1.11", kMacA);
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
}

}  // namespace

int main() {
  static Family families[] = {Family::v4, Family::v6};
#define IN_BOTH_FAMILIES(test)                               \
  {#test " (IPv4)", test, nullptr, nullptr, &families[0]}, { \
#test " (IPv6)", test, nullptr, nullptr, &families[1]    \
  }
  const CMUnitTest tests[] = {
      IN_BOTH_FAMILIES(test_requests),
      IN_BOTH_FAMILIES(test_unanswered),
      IN_BOTH_FAMILIES(test_answered_and_refreshed),
      IN_BOTH_FAMILIES(test_stale),
      IN_BOTH_FAMILIES(test_announcements),
      IN_BOTH_FAMILIES(test_address_comes_back),
      IN_BOTH_FAMILIES(test_next_hop_leaves_and_returns),
      cmocka_unit_test(test_whom_arp_believes),
      cmocka_unit_test(test_short_and_strange_arp),
      cmocka_unit_test(test_whom_neighbour_discovery_believes),
      cmocka_unit_test(test_what_neighbour_discovery_ignores),
      cmocka_unit_test(test_how_known_neighbours_are_asked),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
