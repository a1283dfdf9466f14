// Anything at any time to the whole engine, between families: what it sends is sound, nothing is
// multiplied, and when all is over nothing is held.
//
// The input is a list of steps of 8 bytes; the first says which. Clients and brokers know the
// numbers that they should use, so that most steps are near what is right.
#include <algorithm>
#include <deque>

#include "lib/wire/build.hh"
#include "lib/wire/checksum.hh"
#include "lib/wire/ndp.hh"
#include "tests/engine/engine_world.hh"
#include "tests/fuzz/check.hh"
#include "tests/support/models.hh"
#include "tests/support/sim/mqtt_packets.hh"

namespace {

using namespace mqlb;
using namespace std::chrono_literals;
using base::Bytes;
using base::Seq32;
using fuzz::check;
using tests::kBrokers;
using tests::kClients;
using tests::kPortMacs;
using Octets = std::vector<uint8_t>;

constexpr size_t kStep = 8;
constexpr size_t kClientCount = 4;        // half of them IPv6
constexpr size_t kMostAnswers = 40;       // to one frame: what was held for a broker, and its ACKs
constexpr base::Duration kLongest = 60s;  // of all timeouts together
constexpr wire::MacAddress kPeerMac{{0x02, 0, 0, 0, 7, 7}};

// Both families on both sides, few of everything, and all that can be limited is.
config::Model model() {
  const config::Model four = tests::sample_model();
  const config::Model six = tests::in_ipv6(four);
  config::Model m = four;
  m.routes.clear();
  for (size_t i = 0; i < m.ports.size(); ++i) {
    m.ports[i].addresses.push_back(six.ports[i].addresses[0]);
  }
  m.snat_pools[0].addresses = {four.snat_pools[0].addresses[0], six.snat_pools[0].addresses[0]};
  m.snat_pools[0].first_port = 2000;
  m.snat_pools[0].last_port = 2019;
  config::Pool& pool = m.pools[0];
  pool.backends = {four.pools[0].backends[0], six.pools[0].backends[1]};
  pool.proxy_protocol = config::ProxyProtocol::v2;
  pool.connect_timeout = 200ms;
  pool.answer_timeout = 500ms;
  config::Listener listener = six.listeners[0];
  listener.name = "mqtt6";
  m.listeners.push_back(listener);
  listener.name = "tcp6";
  listener.endpoint.port = 8883;
  listener.mode = config::ListenerMode::tcp;
  m.listeners.push_back(listener);
  for (config::Listener& l : m.listeners) {
    l.connect_deadline = 2s;
    l.idle_timeout = l.mode == config::ListenerMode::tcp ? 10s : 0s;
    l.admission.max_connections = 6;
    l.admission.source_connections = 4;
  }
  m.settings.idle_floor = 8s;
  m.settings.idle_max = 16s;
  m.settings.closing_timeout = 1s;
  m.settings.half_close_timeout = 4s;
  m.settings.snat_quarantine = 1s;
  m.settings.max_flows = 8;
  m.settings.max_connecting = 6;
  return m;
}

// A small difference often, a large one sometimes.
uint32_t offset(uint8_t b) {
  const auto n = static_cast<uint32_t>(static_cast<int8_t>(b));
  return b % 7 == 6 ? n << 20 : n;
}

// One end of a connection, and what it should say next.
struct End {
  unsigned port = kClients;
  wire::Endpoint local, remote;
  Seq32 next{5000};
  Seq32 peer;
  uint32_t echo = 0;
};

class Play final : public sim::FrameSink {
 public:
  Play() : model_(model()), dut_(model_, options(), 1) {
    for (size_t i = 0; i < kClientCount; ++i) {
      const config::Listener& listener = model_.listeners[i < 2 ? 0 : i - 1];
      const wire::IpAddress own = tests::ip(i == 0 ? "198.18.0.21" : "198.18.0.22");
      End end;
      end.local = {i < 2 ? own : tests::in_ipv6(own), static_cast<uint16_t>(40000 + i)};
      end.remote = listener.endpoint;
      clients_.push_back(end);
    }
    meet();
  }

  void step(const uint8_t* p) {
    switch (p[0] % 16) {
      case 6:
      case 7:
      case 8:
      case 9:
        if (!brokers_.empty()) segment(brokers_[p[1] % brokers_.size()], p);
        break;
      case 10:
        pass(base::Duration(10ms) * p[1] * (1 + p[2] % 8));
        break;
      case 11:
        ask_or_tell(p);
        break;
      case 12:
        complain(p);
        break;
      case 13:
        repeat(p);
        break;
      case 14:
        reconfigure(p[1]);
        break;
      case 15:
        meet();
        break;
      default:
        segment(clients_[p[1] % kClientCount], p);
    }
  }

  void finish() {
    pass(kLongest);
    check(dut_.flows() == 0, "no flow is left");
    check(dut_.snat_ports_in_use() == 0, "no port is left");
    check(dut_.counted_connections() == 0, "limits count none");
    check(dut_.connections_at_backends() == 0, "nobody is at a backend");
    check(dut_.engine().buffers_in_use() == 0, "no buffer is held");
    check(dut_.unaccounted_frames() == 0, "each frame has its account");
  }

  void transmit(unsigned port, Bytes bytes) override {
    ++answers_;
    check(bytes.size() >= wire::kEthernetHeader, "a whole header");
    Octets frame(bytes.begin(), bytes.end());
    const wire::EthernetView ethernet(&frame[0]);
    check(ethernet.source() == kPortMacs[port], "from our link address");
    wire::Packet packet;
    const wire::ParseRules rules{ethernet.destination(), 1500};
    check(!wire::parse_packet(frame, rules, wire::HardwareChecksum::unknown, packet),
          "what is sent is sound");
    if (packet.kind == wire::PacketKind::tcp) hear(port, packet);
    remember(port, frame);
  }

 private:
  static engine::LocalEngineOptions options() {
    check(tests::start_eal(), "the EAL starts");
    engine::LocalEngineOptions out;
    out.buffers = 64;
    return out;
  }

  // Next hops are known again, whatever forgeries have said.
  void meet() {
    engine::LocalEngine& engine = dut_.engine();
    for (size_t id = 0; id < engine.snapshot().next_hops.size(); ++id) {
      engine.shared().neighbours.set(static_cast<config::NextHopId>(id), kPeerMac);
    }
  }

  void give(unsigned port, Bytes frame) {
    answers_ = 0;
    dut_.receive(port, frame, now_, *this);
    check(answers_ <= kMostAnswers, "few answers to one frame");
    remember(port, frame);
  }

  // What is too short to be quoted is forgotten.
  void remember(unsigned port, Bytes frame) {
    if (frame.size() < wire::kEthernetHeader + wire::kIpv6Header) return;
    recent_.emplace_back(port, Octets(frame.begin(), frame.end()));
    if (recent_.size() > 16) recent_.pop_front();
  }

  void pass(base::Duration time) {
    constexpr base::Duration kTick = 40ms;
    for (; time > base::Duration::zero(); time -= kTick) {
      now_ += kTick;
      dut_.advance(now_, *this);
    }
  }

  static Octets payload(uint8_t kind, uint8_t size) {
    sim::ConnectFields fields;
    fields.client_id = "device" + std::to_string(kind % 3);
    fields.keep_alive = kind % 2 == 0 ? 1 : 0;
    const sim::Buffer connect = sim::encode_connect(fields);
    const size_t half = connect.size() / 2;
    switch (kind % 8) {
      case 1:
      case 2:
        return {connect.begin(), connect.end()};
      case 3:
        return {connect.begin(), connect.begin() + static_cast<ptrdiff_t>(half)};
      case 4:
        return {connect.begin() + static_cast<ptrdiff_t>(half), connect.end()};
      case 5:
        return {0x20, 2, 0, 0};
      case 6:
        return Octets(size * 5, 'x');
      case 7:
        return Octets(size, 0xe0);
      default:
        return {};
    }
  }

  // p: kind, who, flags, sequence and acknowledgement off by, payload, options, window.
  void segment(End& from, const uint8_t* p) {
    wire::Segment s;
    s.link = {kPeerMac, kPortMacs[from.port]};
    s.source = from.local;
    s.destination = from.remote;
    s.flags = static_cast<uint8_t>(p[2] & 0x3f);
    s.seq = from.next + offset(p[3]);
    s.ack = from.peer + offset(p[4]);
    s.window = static_cast<uint16_t>(p[7] << 4);
    const bool syn = (s.flags & wire::kSyn) != 0;
    if ((p[6] & 1) != 0) s.options.timestamps = wire::Timestamps{++clock_, from.echo};
    if (syn && (p[6] & 2) != 0) s.options.mss = static_cast<uint16_t>(p[7] * 8);
    if (syn && (p[6] & 4) != 0) s.options.window_scale = p[6] >> 4;
    s.options.sack_permitted = syn && (p[6] & 8) != 0;
    const wire::SackBlock block{s.ack + 10U, s.ack + p[7]};
    if (!syn && (p[6] & 8) != 0) s.sack = {&block, 1};
    const Octets bytes = payload(p[5], p[7]);
    s.payload = bytes;
    Octets frame(wire::kMaxSegmentHeaders + bytes.size());
    frame.resize(wire::build_segment(s, frame));
    if (p[3] == 0) {
      from.next = from.next + static_cast<uint32_t>(bytes.size()) + (syn ? 1U : 0U) +
                  ((s.flags & wire::kFin) != 0 ? 1U : 0U);
    }
    give(from.port, frame);
  }

  void hear(unsigned port, const wire::Packet& packet) {
    const wire::TcpView tcp = packet.tcp();
    const wire::Endpoint from{packet.source(), tcp.source_port()};
    const wire::Endpoint to{packet.destination(), tcp.destination_port()};
    std::deque<End>& ends = port == kClients ? clients_ : brokers_;
    auto end = std::find_if(ends.begin(), ends.end(),
                            [&](const End& e) { return e.local == to && e.remote == from; });
    if (end == ends.end()) {
      check(port == kBrokers || packet.tcp().has(wire::kRst), "a client that has spoken");
      if (!tcp.has(wire::kSyn)) return;
      if (brokers_.size() == 8) brokers_.pop_front();
      End broker;
      broker.port = port;
      broker.local = to;
      broker.remote = from;
      end = brokers_.insert(brokers_.end(), broker);
    }
    if (!tcp.has(wire::kRst)) end->peer = packet.segment_end();
    const auto options = wire::parse_tcp_options(tcp.options());
    check(options.has_value(), "options that are well formed");
    if (options->timestamps) end->echo = options->timestamps->value;
  }

  // p: kind, port and type, flags, whose address, about which one, link address, length changed.
  void ask_or_tell(const uint8_t* p) {
    const unsigned port = p[1] & 1;
    const auto pick = [&](uint8_t b) {
      const wire::IpAddress any[] = {model_.ports[port].addresses[1].address,
                                     model_.snat_pools[0].addresses[1],
                                     model_.pools[0].backends[1].endpoint.address,
                                     clients_[2].local.address,
                                     model_.listeners[1].endpoint.address,
                                     wire::all_nodes(),
                                     wire::IpAddress()};
      return any[b % std::size(any)];
    };
    wire::Neighbour message;
    message.type = (p[1] & 2) != 0 ? wire::Neighbour::advertisement : wire::Neighbour::solicitation;
    message.flags = static_cast<uint8_t>(p[2] & 0xe0);
    message.source = pick(p[3]);
    message.destination = (p[1] & 4) != 0 ? wire::solicited_node(pick(p[4])) : pick(p[5]);
    message.target = pick(p[4]);
    if ((p[2] & 1) != 0) message.link_address = wire::MacAddress{{2, 0, 0, 0, 9, p[6]}};
    const bool to_group = (p[1] & 4) != 0;
    Octets frame(wire::kNeighbourFrame);
    frame.resize(wire::build_neighbour(
        message, {kPeerMac, to_group ? wire::multicast_mac(message.destination) : kPortMacs[port]},
        frame));
    if (frame.size() > 1U && p[7] != 0) frame[54 + p[7] % (frame.size() - 54)] ^= p[6];
    mend_icmpv6(frame);
    give(port, frame);
  }

  // An ICMP error about something that went by.
  // p: kind, which frame, type, code, quoted bytes, MTU (two bytes), a byte changed.
  void complain(const uint8_t* p) {
    if (recent_.empty()) return;
    const auto& [port, about] = recent_[p[1] % recent_.size()];
    const bool v6 =
        wire::EthernetView(const_cast<uint8_t*>(about.data())).type() == wire::kEtherTypeIpv6;
    const size_t quoted = std::min<size_t>(about.size() - wire::kEthernetHeader, p[4]);
    Octets icmp{p[2], p[3], 0, 0, 0, 0, p[5], p[6]};
    icmp.insert(icmp.end(), about.begin() + wire::kEthernetHeader,
                about.begin() + wire::kEthernetHeader + static_cast<ptrdiff_t>(quoted));
    if (p[7] != 0) icmp[p[7] % icmp.size()] ^= 0x10;
    const size_t at = wire::kEthernetHeader + (v6 ? wire::kIpv6Header : wire::kIpv4Header);
    Octets frame(at + icmp.size());
    std::copy(icmp.begin(), icmp.end(), &frame[at]);
    wire::EthernetView ethernet(&frame[0]);
    ethernet.set_source(kPeerMac);
    ethernet.set_destination(kPortMacs[port]);
    ethernet.set_type(v6 ? wire::kEtherTypeIpv6 : wire::kEtherTypeIpv4);
    // The quoted packet's sender is who is told, if it is us.
    const wire::IpAddress to =
        v6 ? wire::IpAddress::load_v6(&about[22]) : wire::IpAddress::load_v4(&about[26]);
    const wire::IpAddress router = v6 ? clients_[2].local.address : clients_[0].local.address;
    wire::write_network_header(&frame[wire::kEthernetHeader], router, to, 0, icmp.size());
    if (v6) {
      frame[wire::kEthernetHeader + 6] = wire::kProtocolIcmpv6;
      mend_icmpv6(frame);
    } else {
      frame[wire::kEthernetHeader + 9] = wire::kProtocolIcmp;
      base::store_be16(&frame[24], 0);
      base::store_be16(&frame[24],
                       static_cast<uint16_t>(~wire::sum_bytes(Bytes(frame).subspan(14, 20))));
      base::store_be16(&frame[at + 2],
                       static_cast<uint16_t>(~wire::sum_bytes(Bytes(frame).subspan(at))));
    }
    give(port, frame);
  }

  static void mend_icmpv6(Octets& frame) {
    constexpr size_t at = wire::kEthernetHeader + wire::kIpv6Header;
    if (frame.size() < at + 4) return;
    base::store_be16(&frame[at + 2], 0);
    const uint64_t sum = wire::pseudo_header_v6(&frame[22], wire::kProtocolIcmpv6,
                                                static_cast<uint16_t>(frame.size() - at)) +
                         wire::sum_bytes(Bytes(frame).subspan(at));
    base::store_be16(&frame[at + 2], static_cast<uint16_t>(~wire::fold(sum)));
  }

  // Something that went by, at either port, with a byte changed.
  void repeat(const uint8_t* p) {
    if (recent_.empty()) return;
    Octets frame = recent_[p[1] % recent_.size()].second;
    const unsigned port = p[2] & 1;
    if ((p[2] & 2) != 0) wire::EthernetView(frame.data()).set_destination(kPortMacs[port]);
    frame[p[3] % frame.size()] ^= p[4];
    frame[p[5] % frame.size()] ^= p[6];
    if ((p[2] & 4) != 0) frame.resize(p[7] % (frame.size() + 1));
    give(port, frame);
  }

  void reconfigure(uint8_t what) {
    config::Model changed = model_;
    if ((what & 1) != 0) changed.pools[0].backends[0].state = config::AdminState::drain;
    if ((what & 2) != 0) changed.pools[0].backends[1].state = config::AdminState::maintenance;
    if ((what & 4) != 0) changed.pools[0].backends.erase(changed.pools[0].backends.begin());
    if ((what & 8) != 0) changed.listeners.pop_back();
    if ((what & 16) != 0) changed.listeners[0].admission.deny = {tests::prefix("198.18.0.22/32")};
    if ((what & 32) != 0) changed.pools[0].answer_timeout = 0ms;
    dut_.reconfigure(changed, now_);
    meet();
  }

  config::Model model_;
  tests::EngineDut dut_;
  base::Instant now_{std::chrono::seconds(10)};
  std::deque<End> clients_;
  std::deque<End> brokers_;
  std::deque<std::pair<unsigned, Octets>> recent_;  // port and frame, either way
  uint32_t clock_ = 0;
  size_t answers_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 2048) return 0;
  Play play;
  for (; size >= kStep; data += kStep, size -= kStep) play.step(data);
  play.finish();
  return 0;
}
