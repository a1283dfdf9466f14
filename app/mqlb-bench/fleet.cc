#include "app/mqlb-bench/fleet.hh"

#include <algorithm>
#include <array>
#include <cstring>

#include "lib/wire/packet.hh"

namespace mqlb::bench {
namespace {

using wire::kAck;
using wire::kFin;
using wire::kPsh;
using wire::kSyn;

constexpr uint32_t kFirstClient = 0xc6128000;  // 198.18.128.0
constexpr uint32_t kPortsOfClient = 50'000;
constexpr uint16_t kFirstPort = 10'000;
constexpr uint32_t kBrokerIss = 0x40000000;
constexpr uint32_t kBrokerTimestamp = 0x20000000;
constexpr uint32_t kProxyHeader = 28;  // version 2, IPv4, no TLVs
constexpr uint8_t kConnack[] = {0x20, 2, 0, 0};
constexpr uint8_t kPublish[] = {0x30, 19,  0,   6,   't', 'o', 'p', 'i', 'c', 's', 't',
                                'e',  'm', 'p', 'e', '2', '1', '.', '0', '0', '0'};
constexpr uint8_t kDisconnect[] = {0xe0, 0};

uint32_t first_seq(uint32_t i) { return i * 2654435761U; }

// The cycles of like bursts. One in which another process got the CPU counts as the median.
uint64_t sum_of(const std::vector<Cycles>& bursts, size_t core) {
  constexpr uint64_t kMuch = 4;  // times the median
  std::vector<uint64_t> sorted;
  for (const Cycles& burst : bursts) sorted.push_back(burst.of[core]);
  std::sort(sorted.begin(), sorted.end());
  const uint64_t median = sorted.empty() ? 0 : sorted[sorted.size() / 2];
  uint64_t sum = 0;
  for (const uint64_t cycles : sorted) {
    sum += median > 0 && cycles > kMuch * median ? median : cycles;
  }
  return sum;
}

}  // namespace

Fleet::Fleet(Balancer& rig, const FleetOptions& options)
    : rig_(rig), options_(options), flows_(options.flows) {}

wire::Endpoint Fleet::client(uint32_t i) const {
  const uint32_t n = options_.first + i;
  return {wire::IpAddress::v4(kFirstClient + n / kPortsOfClient),
          static_cast<uint16_t>(kFirstPort + n % kPortsOfClient)};
}

uint32_t Fleet::flow_of(const wire::Endpoint& client) const {
  return (client.address.v4_bits() - kFirstClient) * kPortsOfClient + client.port - kFirstPort -
         options_.first;
}

engine::Frame Fleet::encode(config::PortId port, wire::Segment segment) {
  engine::Frame frame = rig_.frame(port);
  segment.link = {port == kClients ? kClientMac : kBrokerMac, port_mac(port)};
  segment.window = 500;
  frame.length = static_cast<uint16_t>(wire::build_segment(segment, {frame.data, frame.capacity}));
  return frame;
}

wire::Segment Fleet::from_client(uint32_t i, uint8_t flags, base::Bytes payload) {
  wire::Segment s;
  s.source = client(i);
  s.destination = rig_.listener();
  s.seq = base::Seq32(flows_[i].client_next);
  s.ack = base::Seq32(flows_[i].client_acked);
  s.flags = flags;
  s.payload = payload;
  if (options_.timestamps)
    s.options.timestamps = wire::Timestamps{timestamp_, flows_[i].client_echo};
  flows_[i].client_next +=
      static_cast<uint32_t>(payload.size()) + ((flags & (kSyn | kFin)) != 0 ? 1U : 0U);
  return s;
}

wire::Segment Fleet::from_broker(uint32_t i, uint8_t flags, base::Bytes payload) {
  wire::Segment s;
  s.source = flows_[i].broker;
  s.destination = flows_[i].snat;
  s.seq = base::Seq32(flows_[i].broker_next);
  s.ack = base::Seq32(flows_[i].client_next + flows_[i].seq_delta);
  s.flags = flags;
  s.payload = payload;
  if (options_.timestamps) s.options.timestamps = wire::Timestamps{kBrokerTimestamp, timestamp_};
  flows_[i].broker_next +=
      static_cast<uint32_t>(payload.size()) + ((flags & (kSyn | kFin)) != 0 ? 1U : 0U);
  return s;
}

// Sends one segment of each flow, in bursts.
template <typename Make>
Cycles Fleet::each(uint32_t from, uint32_t to, config::PortId port, const Make& make) {
  std::vector<Cycles> bursts;
  uint32_t at = from;
  while (at != to) {
    bursts.push_back(rig_.step(port, [&](std::span<engine::Frame> frames) {
      size_t count = 0;
      for (; count < frames.size() && at < to; ++at) frames[count++] = encode(port, make(at));
      return count;
    }));
    look_at_sent();
  }
  return {{sum_of(bursts, 0), sum_of(bursts, 1)}};
}

// The proxy's check ends by the clock; the worker's some seconds after the client's first fresh
// timestamp.
void Fleet::settle() {
  constexpr std::chrono::seconds kOld{61};
  constexpr size_t kSize = 66;
  open(0, size());
  for (unsigned round = 0; failure_.empty() && round < 2; ++round) {
    rig_.pass(kOld);
    for (const config::PortId port : {kClients, kBrokers}) {
      for (uint32_t at = 0; at != size();) {
        rig_.step(port, [&](std::span<engine::Frame> frames) {
          size_t count = 0;
          for (; count < frames.size() && at < size(); ++at) {
            frames[count++] =
                port == kClients ? client_segment(at, kSize) : broker_segment(at, kSize);
          }
          return count;
        });
      }
    }
  }
}

std::vector<uint8_t> Fleet::connect_of(uint32_t i) const {
  std::string id = "device-" + std::to_string(options_.first + i);
  id.resize(options_.client_id, '.');
  const size_t remaining = 10 + 2 + id.size();
  std::vector<uint8_t> out{0x10};
  for (size_t rest = remaining;; rest /= 128) {
    out.push_back(static_cast<uint8_t>(rest % 128 | (rest > 127 ? 128 : 0)));
    if (rest < 128) break;
  }
  const uint8_t fixed[] = {0,
                           4,
                           'M',
                           'Q',
                           'T',
                           'T',
                           4,
                           2,
                           0,
                           60,
                           static_cast<uint8_t>(id.size() >> 8),
                           static_cast<uint8_t>(id.size())};
  out.insert(out.end(), std::begin(fixed), std::end(fixed));
  out.insert(out.end(), id.begin(), id.end());
  return out;
}

void Fleet::keep_sent(bool keep) {
  rig_.each_io([keep](MemoryIo& io) { io.keep = keep; });
}

void Fleet::look_at_sent() {
  rig_.each_io([this](MemoryIo& io) {
    for (const MemoryIo::Sent& sent : io.kept) {
      look_at(sent.port, sent.frame.bytes());
      io.release({&sent.frame, 1});
    }
    io.kept.clear();
  });
}

// What the balancer sends while flows are opened and closed tells their sequence numbers.
void Fleet::look_at(config::PortId port, base::MutableBytes bytes) {
  wire::ParseRules rules;
  rules.mac = port == kClients ? kClientMac : kBrokerMac;
  const auto packet = wire::parse_packet(bytes, rules, wire::HardwareChecksum::good);
  if (!packet || packet->kind != wire::PacketKind::tcp || packet->tcp().has(wire::kRst)) {
    failure_ = "the core sent what no connection in order would see";
    return;
  }
  const wire::TcpView tcp = packet->tcp();
  const wire::Endpoint to{packet->destination(), tcp.destination_port()};
  if (port == kClients) {
    Flow& flow = flows_[flow_of(to)];
    flow.client_acked = packet->segment_end().raw();
    const auto options = wire::parse_tcp_options(tcp.options());
    if (options && options->timestamps) flow.client_echo = options->timestamps->value;
  } else if (tcp.has(kSyn)) {
    // Flows are opened in the order of their CONNECTs.
    Flow& flow = flows_[next_opened_++];
    flow.broker = to;
    flow.snat = {packet->source(), tcp.source_port()};
    flow.broker_next = kBrokerIss;
    flow.seq_delta = packet->segment_end().raw() - flow.client_next;
  }
}

Cycles Fleet::open(uint32_t from, uint32_t to) {
  constexpr uint32_t kAtOnce = 1024;  // fewer than may be connecting
  Cycles cycles;
  keep_sent(true);
  for (uint32_t begin = from; begin < to && failure_.empty(); begin += kAtOnce) {
    const uint32_t end = std::min(begin + kAtOnce, to);
    next_opened_ = begin;
    cycles += open_some(begin, end);
    if (next_opened_ != end) failure_ = "not every client reached a broker";
  }
  keep_sent(false);
  return cycles;
}

Cycles Fleet::open_some(uint32_t from, uint32_t to) {
  const auto offer = [](wire::Segment syn) {
    syn.options.mss = 1460;
    syn.options.window_scale = 7;
    syn.options.sack_permitted = true;
    return syn;
  };
  Cycles cycles;
  cycles += each(from, to, kClients, [&](uint32_t i) {
    flows_[i] = Flow{};
    flows_[i].client_next = first_seq(options_.first + i);
    return offer(from_client(i, kSyn, {}));
  });
  cycles += each(from, to, kClients, [&](uint32_t i) { return from_client(i, kAck, {}); });
  std::vector<uint8_t> connect;
  cycles += each(from, to, kClients, [&](uint32_t i) {
    connect = connect_of(i);
    return from_client(i, kAck | kPsh, connect);
  });
  cycles +=
      each(from, to, kBrokers, [&](uint32_t i) { return offer(from_broker(i, kSyn | kAck, {})); });
  cycles += each(from, to, kBrokers, [&](uint32_t i) {
    // The SYN-ACK acknowledged what lies before the PROXY header; this, all that is behind it.
    const uint32_t first_byte = first_seq(options_.first + i) + 1;
    flows_[i].seq_delta += flows_[i].client_next + kProxyHeader - first_byte;
    return from_broker(i, kAck, {});
  });
  // A flow is bound to its broker by the first byte.
  cycles +=
      each(from, to, kBrokers, [&](uint32_t i) { return from_broker(i, kAck | kPsh, kConnack); });
  return cycles;
}

Cycles Fleet::talk_and_close(uint32_t from, uint32_t to) {
  keep_sent(true);
  Cycles cycles;
  const auto clients = [&](uint8_t flags, base::Bytes payload) {
    cycles += each(from, to, kClients, [&](uint32_t i) { return from_client(i, flags, payload); });
  };
  const auto brokers = [&](uint8_t flags, base::Bytes payload) {
    cycles += each(from, to, kBrokers, [&](uint32_t i) { return from_broker(i, flags, payload); });
  };
  clients(kAck | kPsh, kPublish);
  clients(kAck | kPsh, kDisconnect);
  clients(kAck | kFin, {});
  brokers(kAck | kFin, {});
  clients(kAck, {});
  keep_sent(false);
  return cycles;
}

engine::Frame Fleet::client_segment(uint32_t i, size_t frame_size) {
  static const std::array<uint8_t, 2048> kZeros{};
  const size_t headers = 54 + (options_.timestamps ? 12 : 0);
  const size_t payload = std::max(frame_size, headers + 1) - headers;
  return encode(kClients, from_client(i, kAck, {kZeros.data(), payload}));
}

engine::Frame Fleet::broker_segment(uint32_t i, size_t frame_size) {
  static const std::array<uint8_t, 2048> kZeros{};
  const size_t headers = 54 + (options_.timestamps ? 12 : 0);
  const size_t payload = std::max(frame_size, headers + 1) - headers;
  return encode(kBrokers, from_broker(i, kAck, {kZeros.data(), payload}));
}

}  // namespace mqlb::bench
