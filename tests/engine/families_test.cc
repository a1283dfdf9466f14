// Clients and brokers of any families through the engine, over links of different MTUs: what each
// side was offered as the other's largest segment passes.
#include <string>

#include "lib/engine/local_engine.hh"
#include "lib/wire/build.hh"
#include "tests/engine/engine_world.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"
#include "tests/support/sim/mqtt_packets.hh"

namespace mqlb::tests {
namespace {

using namespace std::chrono_literals;
using Octets = std::vector<uint8_t>;

constexpr wire::MacAddress kClientMac{{0x02, 0, 0, 0, 1, 1}};
constexpr wire::MacAddress kBrokerMac{{0x02, 0, 0, 0, 2, 1}};
constexpr size_t kTimestampOption = 12;
constexpr uint16_t kLongestMtu = 9216;

struct Row {
  bool client_v6, broker_v6;
  uint16_t client_mtu, broker_mtu;
};

config::Model model_of(const Row& row) {
  const config::Model four = sample_model();
  const config::Model six = in_ipv6(four);
  config::Model m = row.broker_v6 ? six : four;
  const config::Model& clients = row.client_v6 ? six : four;
  m.ports[0] = clients.ports[0];
  m.listeners = clients.listeners;
  m.ports[0].mtu = row.client_mtu;
  m.ports[1].mtu = row.broker_mtu;
  m.pools[0].backends.resize(1);
  m.pools[0].proxy_protocol = config::ProxyProtocol::v1;
  m.settings.max_flows = 100;
  m.settings.max_connecting = 100;
  return m;
}

// A segment as it came out of a port; the packet is a view into the octets.
struct Heard {
  unsigned port = 0;
  Octets octets;
  wire::Packet packet;
};

// One end of a connection, played by hand: with timestamps, as all have them.
struct Peer {
  unsigned port = kClients;
  wire::MacAddress mac;
  uint16_t mtu = 0;
  wire::Endpoint local, remote;
  base::Seq32 nxt{1000};
  base::Seq32 peer;
  uint16_t offered = 0;  // the MSS that it was told
  uint32_t echo = 0;

  void hear(const Heard& heard) {
    const wire::TcpView tcp = heard.packet.tcp();
    const auto options = wire::parse_tcp_options(tcp.options());
    assert_true(options && options->timestamps);
    if (options->mss) offered = *options->mss;
    echo = options->timestamps->value;
    peer = heard.packet.segment_end();
  }
  // Of what its own link takes, too.
  [[nodiscard]] size_t most_payload() const {
    const size_t room = mtu - wire::ip_header_length(local.address) - wire::kTcpHeader;
    return std::min<size_t>(offered, room) - kTimestampOption;
  }
};

class Exchange {
 public:
  explicit Exchange(const Row& row) {
    const config::Model model = model_of(row);
    assert_true(config::validate(model).has_value());
    engine::LocalEngineOptions options;
    options.buffers = 256;
    options.buffer_size = 10240;  // for jumbo frames
    auto engine = engine::LocalEngine::create(
        std::move(*config::compile(model, nullptr, {})), {kPortMacs[0], kPortMacs[1]}, options,
        [this](config::PortId port, base::Bytes frame) { emitted(port, frame); }, now_);
    assert_true(engine.has_value());
    engine_ = std::move(*engine);
    for (const config::BackendEntry& backend : engine_->snapshot().backends) {
      engine_->shared().neighbours.set(backend.next_hop, kBrokerMac);
    }
    client.mac = kClientMac;
    client.mtu = row.client_mtu;
    client.remote = model.listeners[0].endpoint;
    const wire::IpAddress own = wire::IpAddress::v4(0xc6120007);
    client.local = {row.client_v6 ? in_ipv6(own) : own, 40000};
    broker.port = kBrokers;
    broker.mac = kBrokerMac;
    broker.mtu = row.broker_mtu;
    broker.local = model.pools[0].backends[0].endpoint;
  }

  // What comes out in answer.
  std::vector<Heard> send(Peer& from, uint8_t flags, base::Bytes payload = {}) {
    wire::Segment s;
    s.link = {from.mac, kPortMacs[from.port]};
    s.source = from.local;
    s.destination = from.remote;
    s.seq = from.nxt;
    s.ack = from.peer;
    s.flags = flags;
    s.window = 60000;
    s.options.timestamps = wire::Timestamps{++clock_, from.echo};
    if ((flags & wire::kSyn) != 0) {
      s.options.mss = static_cast<uint16_t>(from.mtu - wire::ip_header_length(from.local.address) -
                                            wire::kTcpHeader);
    }
    s.payload = payload;
    Octets frame(wire::kMaxSegmentHeaders + payload.size());
    frame.resize(wire::build_segment(s, frame));
    from.nxt =
        from.nxt + static_cast<uint32_t>(payload.size()) + ((flags & wire::kSyn) != 0 ? 1U : 0U);
    heard_.clear();
    engine_->receive(static_cast<config::PortId>(from.port), frame, now_);
    return std::move(heard_);
  }

  // To a splice whose ends have spoken; the first line that the broker got.
  std::string open() {
    auto answer = send(client, wire::kSyn);
    assert_int_equal(answer.size(), 1);
    client.hear(answer[0]);
    send(client, wire::kAck);
    sim::ConnectFields fields;
    fields.client_id = "device";
    const sim::Buffer connect = sim::encode_connect(fields);
    auto asked = send(client, wire::kAck | wire::kPsh, connect);
    assert_int_equal(asked.size(), 1);
    assert_int_equal(asked[0].packet.tcp().flags(), wire::kSyn);
    broker.remote = {asked[0].packet.source(), asked[0].packet.tcp().source_port()};
    broker.hear(asked[0]);
    std::string got;
    for (const Heard& h : send(broker, wire::kSyn | wire::kAck)) {
      assert_int_equal(h.port, kBrokers);
      got += base::as_text(h.packet.payload());
      broker.hear(h);
    }
    assert_int_equal(got.size() - got.find('\n') - 1, connect.size());
    const Octets connack{0x20, 2, 0, 0};
    expect_passes(broker, client, connack);
    send(client, wire::kAck);
    return got.substr(0, got.find('\r'));
  }

  // The payload comes out at the other end, in the other's family and within its MTU.
  void expect_passes(Peer& from, Peer& to, const Octets& payload) {
    auto out = send(from, wire::kAck | wire::kPsh, payload);
    if (out.size() != 1) {
      fail_msg("%zu bytes from %s (MTU %u) to %s (MTU %u): %llu over the MTU", payload.size(),
               to_string(from.local).c_str(), from.mtu, to_string(to.local).c_str(), to.mtu,
               static_cast<unsigned long long>(engine_->count(base::Drop::over_mtu)));
    }
    const wire::Packet& packet = out[0].packet;
    assert_int_equal(out[0].port, to.port);
    assert_true(packet.source() == to.remote.address && packet.destination() == to.local.address);
    assert_true(packet.frame_length <= wire::kEthernetHeader + to.mtu);
    assert_int_equal(packet.payload_length, payload.size());
    assert_memory_equal(packet.payload().data(), payload.data(), payload.size());
    assert_int_equal(packet.tcp().seq().raw(), to.peer.raw());
    to.hear(out[0]);
  }

  [[nodiscard]] uint64_t count(base::Drop reason) const { return engine_->count(reason); }

  Peer client, broker;

 private:
  // All but questions for link addresses, which nobody needs to answer here.
  void emitted(unsigned port, base::Bytes frame) {
    Heard h;
    h.port = port;
    h.octets.assign(frame.begin(), frame.end());
    const wire::ParseRules rules{port == kClients ? kClientMac : kBrokerMac, kLongestMtu};
    const auto refused =
        wire::parse_packet(h.octets, rules, wire::HardwareChecksum::unknown, h.packet);
    if (!refused && h.packet.kind == wire::PacketKind::tcp) heard_.push_back(std::move(h));
  }

  base::Instant now_{1s};
  uint32_t clock_ = 1000;
  std::vector<Heard> heard_;
  std::unique_ptr<engine::LocalEngine> engine_;
};

// A failed assertion jumps over destructors, and the engine's tables have names of their own.
std::unique_ptr<Exchange>& exchange_of_test() {
  static std::unique_ptr<Exchange> exchange;
  return exchange;
}
Exchange& new_exchange(const Row& row) {
  exchange_of_test().reset();
  exchange_of_test() = std::make_unique<Exchange>(row);
  return *exchange_of_test();
}
int drop_exchange(void** /*state*/) {
  exchange_of_test().reset();
  return 0;
}

std::vector<Row> all_rows() {
  constexpr uint16_t kMtus[] = {1280, 1480, 1490, 1500, 9000};
  std::vector<Row> rows;
  for (const bool client_v6 : {false, true}) {
    for (const bool broker_v6 : {false, true}) {
      for (const uint16_t client_mtu : kMtus) {
        for (const uint16_t broker_mtu : kMtus) {
          rows.push_back({client_v6, broker_v6, client_mtu, broker_mtu});
        }
      }
    }
  }
  return rows;
}

void test_largest_segments_pass(void** /*state*/) {
  for (const Row& row : all_rows()) {
    Exchange& x = new_exchange(row);
    x.open();
    for (int round = 0; round < 3; ++round) {
      x.expect_passes(x.client, x.broker, Octets(x.client.most_payload(), 'c'));
      x.expect_passes(x.broker, x.client, Octets(x.broker.most_payload(), 'b'));
      x.expect_passes(x.broker, x.client, Octets(1, 'b'));
    }
    assert_int_equal(x.count(base::Drop::over_mtu), 0);
  }
}

// The header tells of the client's own connection, whatever the family of the broker's.
void test_proxy_header(void** /*state*/) {
  for (const bool broker_v6 : {false, true}) {
    assert_string_equal(new_exchange({false, broker_v6, 1500, 1500}).open().c_str(),
                        "PROXY TCP4 198.18.0.7 198.18.0.10 40000 1883");
    assert_string_equal(new_exchange({true, broker_v6, 1500, 1500}).open().c_str(),
                        "PROXY TCP6 2001:db8:0:1200::7 2001:db8:0:1200::a 40000 1883");
  }
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_largest_segments_pass, drop_exchange),
      cmocka_unit_test_teardown(test_proxy_header, drop_exchange),
  };
  return cmocka_run_group_tests_name("engine families", tests, nullptr, nullptr);
}
