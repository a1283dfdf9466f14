// A session's frames before and around its connections: who is asked for a link address, who is
// answered, and what anybody else may send.
#include <string>

#include "lib/base/random.hh"
#include "lib/replay/session.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"

namespace mqlb::replay {
namespace {

using base::Duration;
using base::Instant;
using tests::Octets;
using wire::Neighbour;

constexpr Instant kStart{Duration(1'000'000)};
constexpr config::PortId kClients = 0;
constexpr config::PortId kBrokers = 1;
constexpr wire::MacAddress kClientMac{{0x02, 0, 0, 0, 0, 1}};
constexpr wire::MacAddress kBrokerMac{{0x02, 0, 0, 0, 0, 2}};
constexpr wire::MacAddress kBalancerMac{{0x02, 0, 0, 0, 0xff, 0}};

wire::Endpoint endpoint(const char* text) { return *wire::Endpoint::parse(text); }
wire::IpAddress address(const char* text) { return *wire::IpAddress::parse(text); }

Capture capture_of_one() {
  Recording r;
  r.client.endpoint = endpoint("[2001:db8::20]:4000");
  r.server.endpoint = endpoint("[2001:db8::10]:1883");
  r.client.stream = {0x10, 14, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 60, 0, 2, 'm', 'e'};
  Step syn;
  syn.flags = wire::kSyn;
  Step connect;
  connect.flags = wire::kAck | wire::kPsh;
  connect.length = 16;
  r.client.steps = {syn, connect};
  Capture out;
  out.recordings.push_back(r);
  return out;
}

// A client and two brokers, and every frame that they send.
class Stage {
 public:
  explicit Stage(const char* target, std::optional<wire::IpAddress> gateway = std::nullopt)
      : capture_(capture_of_one()) {
    options_.target = endpoint(target);
    plan_ = *make_plan(capture_, options_, {});
    SessionSetup setup;
    setup.client_mac = kClientMac;
    setup.broker_mac = kBrokerMac;
    setup.gateway = gateway;
    setup.brokers = {{"b1", endpoint("[2001:db8:1::31]:1883")},
                     {"b2", endpoint("198.18.1.32:1883")}};
    session =
        std::make_unique<Session>(capture_, plan_, options_, std::move(setup),
                                  [this](config::PortId port, base::Bytes frame) {
                                    sent.emplace_back(port, Octets(frame.begin(), frame.end()));
                                  });
  }

  void receive(config::PortId port, Octets frame) { session->receive(port, frame, now); }
  // The only frame that was sent since the last look.
  Octets only(config::PortId port) {
    assert_int_equal(sent.size(), 1);
    assert_int_equal(sent[0].first, port);
    Octets frame = std::move(sent[0].second);
    sent.clear();
    return frame;
  }
  void advance(int64_t microseconds) {
    now += Duration(microseconds);
    session->advance(now);
  }

  std::unique_ptr<Session> session;
  std::vector<std::pair<config::PortId, Octets>> sent;
  Instant now = kStart;

 private:
  Capture capture_;
  PlayOptions options_;
  std::vector<Planned> plan_;
};

Neighbour neighbour_in(const Octets& frame) {
  Neighbour message;
  assert_true(wire::parse_neighbour(base::Bytes(frame).subspan(wire::kEthernetHeader), message));
  return message;
}

wire::MacAddress destination_of(const Octets& frame) { return wire::MacAddress::load(&frame[0]); }
wire::MacAddress source_of(const Octets& frame) { return wire::MacAddress::load(&frame[6]); }

Octets frame_of(const Neighbour& message, const wire::MacAddress& to,
                const wire::MacAddress& from = kBalancerMac) {
  Octets frame(wire::kNeighbourFrame);
  frame.resize(wire::build_neighbour(message, {from, to}, frame));
  assert_false(frame.empty());
  return frame;
}

Octets advertisement(const char* target, std::optional<wire::MacAddress> mac = kBalancerMac,
                     uint8_t flags = Neighbour::solicited) {
  Neighbour message;
  message.type = Neighbour::advertisement;
  message.flags = flags;
  message.source = message.target = address(target);
  message.destination = address("2001:db8::20");
  message.link_address = mac;
  return frame_of(message, kClientMac);
}

Octets solicitation(const char* source, const char* target) {
  Neighbour message;
  message.source = address(source);
  message.target = address(target);
  message.destination = wire::solicited_node(message.target);
  if (!message.source.is_unspecified()) message.link_address = kBalancerMac;
  return frame_of(message, wire::multicast_mac(message.destination));
}

void test_the_target_is_solicited(void**) {
  Stage stage("[2001:db8::10]:1883");
  // As an announcement; nothing begins before it is told to.
  stage.receive(kClients, advertisement("2001:db8::10", tests::kMacA, Neighbour::override_cached));
  stage.advance(0);
  assert_true(stage.sent.empty());
  stage.session->start(stage.now);
  const Octets frame = stage.only(kClients);
  const Neighbour asked = neighbour_in(frame);
  assert_int_equal(asked.type, Neighbour::solicitation);
  assert_true(asked.source == address("2001:db8::20"));
  assert_true(asked.target == address("2001:db8::10"));
  assert_true(asked.destination == address("ff02::1:ff00:10"));
  assert_true(destination_of(frame) == (wire::MacAddress{{0x33, 0x33, 0xff, 0, 0, 0x10}}));
  assert_true(asked.link_address == kClientMac);
  // Others, and an answer that tells nothing, are no answer; then it is asked for again.
  stage.receive(kClients, advertisement("2001:db8::11"));
  stage.receive(kClients, advertisement("2001:db8::10", std::nullopt));
  assert_true(stage.sent.empty());
  stage.advance(1'000'000);
  assert_true(neighbour_in(stage.only(kClients)).target == address("2001:db8::10"));
  stage.receive(kClients, advertisement("2001:db8::10"));
  stage.advance(0);
  Octets syn = stage.only(kClients);
  assert_true(destination_of(syn) == kBalancerMac && source_of(syn) == kClientMac);
  const auto packet =
      wire::parse_packet(syn, {kBalancerMac, 1500}, wire::HardwareChecksum::unknown);
  assert_true(packet && packet->is_v6 && packet->tcp().flags() == wire::kSyn);
  assert_true(packet->source() == address("2001:db8::20"));
  // Nobody takes the place of a next hop while clients play.
  stage.receive(kClients, advertisement("2001:db8::10", tests::kMacA));
  stage.advance(3'000'000);
  assert_true(destination_of(stage.sent.at(0).second) == kBalancerMac);
}

void test_a_gateway_may_have_an_address_of_the_link(void**) {
  Stage stage("[2001:db8:7::10]:1883", address("fe80::1"));
  stage.session->start(stage.now);
  assert_true(neighbour_in(stage.only(kClients)).target == address("fe80::1"));
  stage.receive(kClients, advertisement("fe80::1"));
  stage.advance(0);
  assert_true(destination_of(stage.only(kClients)) == kBalancerMac);
}

void test_nobody_answers(void**) {
  const struct {
    const char* target;
    const char* failure;
  } rows[] = {{"198.18.0.10:1883", "198.18.0.10 does not answer ARP"},
              {"[2001:db8::10]:1883", "2001:db8::10 does not answer neighbour solicitations"}};
  for (const auto& row : rows) {
    Stage stage(row.target);
    stage.session->start(stage.now);
    for (int i = 0; i < 20; ++i) stage.advance(1'000'000);
    assert_string_equal(stage.session->failure().c_str(), row.failure);
    assert_int_equal(stage.sent.size(), 10);
  }
}

void test_solicitations_are_answered(void**) {
  const struct {
    const char* source;
    const char* target;
    config::PortId port;
    const wire::MacAddress* mac;  // null: no answer
  } rows[] = {{"2001:db8::10", "2001:db8::20", kClients, &kClientMac},
              {"fe80::10", "2001:db8::20", kClients, &kClientMac},
              {"::", "2001:db8::20", kClients, &kClientMac},
              {"2001:db8::10", "2001:db8::20", kBrokers, nullptr},
              {"2001:db8::10", "2001:db8::10", kClients, nullptr},
              {"2001:db8:1::1", "2001:db8:1::31", kBrokers, &kBrokerMac},
              {"::", "2001:db8:1::31", kBrokers, &kBrokerMac},
              {"2001:db8:1::1", "2001:db8:1::32", kBrokers, nullptr}};
  Stage stage("[2001:db8::10]:1883");
  for (const auto& row : rows) {
    stage.receive(row.port, solicitation(row.source, row.target));
    if (row.mac == nullptr) {
      assert_true(stage.sent.empty());
      continue;
    }
    const Octets frame = stage.only(row.port);
    const Neighbour answer = neighbour_in(frame);
    const bool to_all = address(row.source).is_unspecified();
    assert_int_equal(answer.type, Neighbour::advertisement);
    assert_int_equal(answer.flags,
                     Neighbour::override_cached | (to_all ? 0 : Neighbour::solicited));
    assert_true(answer.source == address(row.target) && answer.target == address(row.target));
    assert_true(answer.destination == (to_all ? wire::all_nodes() : address(row.source)));
    assert_true(answer.link_address == *row.mac && source_of(frame) == *row.mac);
    assert_true(destination_of(frame) ==
                (to_all ? wire::multicast_mac(wire::all_nodes()) : kBalancerMac));
  }
}

// Without its own link address a solicitation comes from a group's: nobody is answered there.
void test_an_answer_goes_to_one(void**) {
  Stage stage("[2001:db8::10]:1883");
  Neighbour message;
  message.source = address("2001:db8::10");
  message.target = message.destination = address("2001:db8::20");
  stage.receive(kClients, frame_of(message, kClientMac, wire::kBroadcastMac));
  assert_true(stage.sent.empty());
  stage.receive(kClients, frame_of(message, kClientMac));
  assert_true(destination_of(stage.only(kClients)) == kBalancerMac);
}

void test_played_brokers_are_of_either_family(void**) {
  Stage stage("[2001:db8::10]:1883");
  const std::pair<const char*, const char*> rows[] = {
      {"[2001:db8:1::100]:5000", "[2001:db8:1::31]:1883"},
      {"198.18.1.100:5000", "198.18.1.32:1883"}};
  for (const auto& [from, to] : rows) {
    wire::Segment syn;
    syn.link = {kBalancerMac, kBrokerMac};
    syn.source = endpoint(from);
    syn.destination = endpoint(to);
    syn.flags = wire::kSyn;
    Octets frame(2048);
    frame.resize(wire::build_segment(syn, frame));
    stage.receive(kBrokers, frame);
    Octets answer = stage.only(kBrokers);
    const auto packet =
        wire::parse_packet(answer, {kBalancerMac, 1500}, wire::HardwareChecksum::unknown);
    assert_true(packet && packet->tcp().flags() == (wire::kSyn | wire::kAck));
    const auto options = wire::parse_tcp_options(packet->tcp().options());
    assert_int_equal(*options->mss, packet->is_v6 ? 1440 : 1460);
  }
}

// Whatever comes, the session goes on; checksums are put right half of the time, so that more than
// those is looked at.
void test_frames_of_anybody(void**) {
  base::Random random(7);
  Stage stage("[2001:db8::10]:1883");
  stage.session->start(stage.now);
  const Octets seeds[] = {
      advertisement("2001:db8::10"), solicitation("::", "2001:db8::20"),
      solicitation("2001:db8::10", "2001:db8:1::31"),
      tests::make_frame_between(endpoint("[2001:db8::10]:1883"), endpoint("[2001:db8::20]:4000"),
                                {2, 4, 0, 0}, {1, 2, 3}, wire::kSyn | wire::kAck),
      tests::make_frame_between(endpoint("[2001:db8:1::5]:99"), endpoint("[2001:db8:1::31]:1883"),
                                {2, 4, 0, 0}, {}, wire::kSyn)};
  size_t answers = 0;
  for (int i = 0; i < 40'000; ++i) {
    Octets frame = seeds[random.u32() % std::size(seeds)];
    (random.u32() % 2 == 0 ? kClientMac : kBrokerMac).store(frame.data());
    const uint32_t changes = random.u32() % 4;
    for (uint32_t n = 0; n < changes; ++n) {
      frame[12 + random.u32() % (frame.size() - 12)] = static_cast<uint8_t>(random.u32());
    }
    if (random.u32() % 8 == 0) frame.resize(random.u32() % (frame.size() + 1));
    if (frame.size() > 60 && random.u32() % 2 == 0 && tests::is_v6(frame) && frame[20] == 58) {
      base::store_be16(&frame[56], 0);
      const uint64_t sum =
          wire::pseudo_header_v6(&frame[22], 58, static_cast<uint32_t>(frame.size() - 54)) +
          wire::sum_bytes(base::Bytes(frame).subspan(54));
      base::store_be16(&frame[56], wire::checksum_of(sum));
    }
    stage.receive(random.u32() % 2 == 0 ? kClients : kBrokers, frame);
    if (i % 16 == 0) stage.advance(1000);
    answers += stage.sent.size();
    stage.sent.clear();
  }
  stage.session->abandon(stage.now);
  assert_true(stage.session->failure().empty());
  assert_true(answers > 1000);
}

}  // namespace
}  // namespace mqlb::replay

int main() {
  using namespace mqlb::replay;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_the_target_is_solicited),
      cmocka_unit_test(test_a_gateway_may_have_an_address_of_the_link),
      cmocka_unit_test(test_nobody_answers),
      cmocka_unit_test(test_solicitations_are_answered),
      cmocka_unit_test(test_an_answer_goes_to_one),
      cmocka_unit_test(test_played_brokers_are_of_either_family),
      cmocka_unit_test(test_frames_of_anybody),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
