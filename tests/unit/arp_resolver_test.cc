// The resolver on a virtual clock: what it sends and when, and whom it believes.
#include "lib/engine/arp_resolver.hh"

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;
using engine::ArpResolver;
using wire::Arp;

using SnapshotPtr = std::unique_ptr<const config::Snapshot>;

struct Sent {
  config::PortId port = 0;
  Arp arp;
  wire::MacAddress source, destination;
  Duration when{};
};

// Ports 0 (clients) and 1 (brokers) of sample_model(), with its next hops .11, .12 and .254.
class Bench {
 public:
  explicit Bench(const config::Model& m = sample_model()) : model(m) {
    shared->port_macs[0] = kMacA;
    shared->port_macs[1] = kMacB;
    adopt();
  }

  void adopt() {
    const config::IdUse use{{}, [this](config::BackendId) { return flows; }, {}};
    auto compiled =
        config::compile(model, snapshots.empty() ? nullptr : snapshots.back().get(), use);
    if (!compiled) fail_msg("%s", compiled.error().message.c_str());
    snapshots.push_back(std::move(*compiled));
    resolver.adopt(*snapshots.back(), Instant(now));
  }
  // In steps of 100 ms, as control does; returns what was sent.
  std::vector<Sent> run(Duration time) {
    sent.clear();
    for (const Duration end = now + time; now < end; now += 100ms) resolver.advance(Instant(now));
    return sent;
  }
  void answer(const Arp& arp, config::PortId port = 1) {
    uint8_t frame[wire::kArpFrame];
    wire::build_arp(arp, {arp.sender_mac, kMacB}, frame);
    resolver.receive(frame, port, Instant(now));
  }
  void answer(const char* address, const wire::MacAddress& mac) {
    answer({Arp::reply, mac, ip(address), kMacB, ip("198.18.1.1")});
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
                                 [&](const auto& hop) { return hop.address == ip(address); });
    assert_true(it != hops.end());
    return static_cast<config::NextHopId>(it - hops.begin());
  }

  Duration now = 1000s;
  bool flows = false;  // to backends that were removed
  config::Model model;
  std::vector<SnapshotPtr> snapshots;
  std::vector<Sent> sent;
  std::unique_ptr<engine::Shared> shared = std::make_unique<engine::Shared>();
  ArpResolver resolver{*shared, [this](config::PortId port, base::Bytes frame) {
                         Octets bytes(frame.begin(), frame.end());
                         assert_int_equal(bytes.size(), wire::kArpFrame);
                         Sent s;
                         s.port = port;
                         assert_true(wire::parse_arp(&bytes[14], s.arp));
                         s.destination = wire::MacAddress::load(&bytes[0]);
                         s.source = wire::MacAddress::load(&bytes[6]);
                         s.when = now;
                         sent.push_back(s);
                       }};
};

bool is_announcement(const Sent& s) { return s.arp.sender == s.arp.target; }

std::vector<Duration> probes(const std::vector<Sent>& sent, const char* address) {
  std::vector<Duration> when;
  for (const Sent& s : sent) {
    if (!is_announcement(s) && s.arp.target == ip(address)) when.push_back(s.when);
  }
  return when;
}

size_t announcements(const std::vector<Sent>& sent, const char* address) {
  return static_cast<size_t>(std::count_if(sent.begin(), sent.end(), [&](const Sent& s) {
    return is_announcement(s) && s.arp.target == ip(address);
  }));
}

void test_requests(void**) {
  Bench bench;
  const auto sent = bench.run(100ms);
  for (const char* hop : {"198.18.1.11", "198.18.1.12", "198.18.1.254"}) {
    assert_int_equal(probes(sent, hop).size(), 1);
  }
  for (const Sent& s : sent) {
    assert_int_equal(s.arp.operation, Arp::request);
    assert_true(s.destination == wire::kBroadcastMac);
    assert_true(s.source == (s.port == 0 ? kMacA : kMacB));
    assert_true(s.arp.sender_mac == s.source);
    assert_true(s.arp.target_mac == wire::MacAddress{});
    if (is_announcement(s)) continue;
    assert_int_equal(s.port, 1);
    assert_true(s.arp.sender == ip("198.18.1.1"));
  }
}

// Quickly at first, then once a second, for ever: a broker may come up at any time.
void test_unanswered(void**) {
  Bench bench;
  assert_int_equal(probes(bench.run(2s), "198.18.1.11").size(), 10);
  assert_in_range(probes(bench.run(60s), "198.18.1.11").size(), 59, 62);
  assert_in_range(probes(bench.run(3600s), "198.18.1.11").size(), 3599, 3601);
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
}

void test_answered_and_refreshed(void**) {
  Bench bench;
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
  assert_true(bench.mac_of("198.18.1.12") == wire::MacAddress{});
  assert_int_equal(probes(bench.run(19s), "198.18.1.11").size(), 0);
  assert_int_equal(probes(bench.run(2100ms), "198.18.1.11").size(), 2);  // at 20 s, and one repeat
  // The neighbour has another card now.
  bench.answer("198.18.1.11", kMacB);
  assert_true(bench.mac_of("198.18.1.11") == kMacB);
  assert_int_equal(probes(bench.run(19s), "198.18.1.11").size(), 0);
}

// A neighbour that falls silent keeps its address, and the operator sees that it is stale.
void test_stale(void**) {
  Bench bench;
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

void test_whom_it_believes(void**) {
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
    Bench bench;
    bench.run(100ms);
    bench.answer(row.arp, row.port);
    const bool known = bench.mac_of("198.18.1.11") != wire::MacAddress{};
    if (known != row.believed) fail_msg("%s", row.what);
    assert_true(bench.mac_of("198.18.1.12") == wire::MacAddress{});
  }
}

void test_short_and_strange_frames(void**) {
  Bench bench;
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
  ArpResolver fresh(*shared, [](config::PortId, base::Bytes) { fail_msg("sent"); });
  fresh.receive(frame, 1, Instant(1s));
  fresh.advance(Instant(1s));
  assert_int_equal(fresh.rows(Instant(1s)).size(), 0);
}

// Each of our addresses, three times, on the side where its users are.
void test_announcements(void**) {
  Bench bench;
  const auto sent = bench.run(10s);
  const struct {
    const char* address;
    config::PortId port;
  } rows[] = {{"198.18.0.1", 0},
              {"198.18.1.1", 1},
              {"198.18.0.10", 0},
              {"198.18.1.100", 1},
              {"198.18.1.101", 1}};
  for (const auto& row : rows) {
    assert_int_equal(announcements(sent, row.address), 3);
    for (const Sent& s : sent) {
      if (is_announcement(s) && s.arp.target == ip(row.address)) assert_int_equal(s.port, row.port);
    }
  }
  assert_int_equal(std::count_if(sent.begin(), sent.end(), is_announcement), 3 * std::size(rows));
  // A change elsewhere is no reason to say it all again.
  bench.model.pools[0].backends[0].weight = 5;
  bench.adopt();
  const auto later = bench.run(10s);
  assert_int_equal(std::count_if(later.begin(), later.end(), is_announcement), 0);
}

// An address that left is announced no more; when it comes back, others may have another link
// address for it, so it is.
void test_address_comes_back(void**) {
  Bench bench;
  bench.run(500ms);  // one of three is said
  const wire::Endpoint first = bench.model.listeners[0].endpoint;
  bench.model.listeners[0].endpoint = endpoint("198.18.0.11:1883");
  bench.adopt();
  const auto moved = bench.run(10s);
  assert_int_equal(announcements(moved, "198.18.0.10"), 0);
  assert_int_equal(announcements(moved, "198.18.0.11"), 3);
  bench.model.listeners[0].endpoint = first;
  bench.adopt();
  const auto back = bench.run(10s);
  assert_int_equal(announcements(back, "198.18.0.10"), 3);
  assert_int_equal(announcements(back, "198.18.0.11"), 0);
}

// The next hop of a removed broker is asked for as long as there are flows to it. Then it is let
// go, and asked for anew when it comes back.
void test_next_hop_leaves_and_returns(void**) {
  Bench bench;
  bench.run(100ms);
  bench.answer("198.18.1.11", kMacA);
  const config::Backend removed = bench.model.pools[0].backends[0];
  bench.model.pools[0].backends.erase(bench.model.pools[0].backends.begin());
  bench.flows = true;
  bench.adopt();
  assert_in_range(probes(bench.run(60s), "198.18.1.11").size(), 30, 60);
  bench.answer("198.18.1.11", kMacB);
  assert_true(bench.mac_of("198.18.1.11") == kMacB);
  bench.flows = false;
  bench.adopt();
  assert_int_equal(probes(bench.run(60s), "198.18.1.11").size(), 0);
  assert_int_equal(bench.resolver.rows(Instant(bench.now)).size(), 2);
  bench.model.pools[0].backends.push_back(removed);
  bench.adopt();
  assert_true(bench.mac_of("198.18.1.11") == wire::MacAddress{});
  assert_int_equal(probes(bench.run(100ms), "198.18.1.11").size(), 1);
  bench.answer("198.18.1.11", kMacA);
  assert_true(bench.mac_of("198.18.1.11") == kMacA);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_requests),
      cmocka_unit_test(test_unanswered),
      cmocka_unit_test(test_answered_and_refreshed),
      cmocka_unit_test(test_stale),
      cmocka_unit_test(test_whom_it_believes),
      cmocka_unit_test(test_short_and_strange_frames),
      cmocka_unit_test(test_announcements),
      cmocka_unit_test(test_address_comes_back),
      cmocka_unit_test(test_next_hop_leaves_and_returns),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
