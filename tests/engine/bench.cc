#include "tests/engine/bench.hh"

#include <utility>

namespace mqlb::tests {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kWindow = 512;

std::unique_ptr<Bench>& bench_of_test() {
  static std::unique_ptr<Bench> bench;
  return bench;
}

}  // namespace

sim::Segment RawEnd::segment(uint8_t flags, base::Bytes payload) const {
  sim::Segment s;
  s.source = local;
  s.destination = remote;
  s.seq = nxt;
  if ((flags & sim::kAck) != 0) s.ack = peer;
  s.flags = flags;
  s.window = kWindow;
  s.payload = payload;
  if (timestamps) s.timestamps = sim::Timestamps{tsval, tsecr};
  return s;
}

RawEnd raw_client(uint16_t port, unsigned host) {
  RawEnd e;
  e.mac = client_mac(host);
  e.local = {client_address(host), port};
  e.remote = listener_endpoint();
  return e;
}

Bench::Bench(const Setup& setup)
    : dut_(setup.model, setup.options, setup.seed, setup.spread),
      drops_seen_(static_cast<size_t>(base::Drop::count_)) {
  pass(10ms);
  new_drops();
}

void Bench::transmit(unsigned port, base::Bytes frame) {
  const auto asked = sim::is_resolution(frame) ? sim::parse_resolution(frame) : std::nullopt;
  if (asked && asked->request) {
    const bool question = asked->sender != asked->target && port == kBrokers;
    if (question) questions_.push_back(*asked);
    return;
  }
  Sent s;
  s.port = port;
  s.bytes.assign(frame.begin(), frame.end());
  s.tcp = sim::parse_segment(s.bytes, s.segment) == sim::FrameFault::none;
  sent_.push_back(std::move(s));
}

void Bench::answer_questions() {
  for (const sim::Resolution& asked : std::exchange(questions_, {})) {
    const sim::Resolution answer{false, broker_mac(broker_at(asked.target)), asked.target,
                                 asked.sender_mac, asked.sender};
    dut_.receive(kBrokers, sim::encode_resolution(answer), now_, *this);
  }
}

SentFrames Bench::take() {
  answer_questions();
  return std::exchange(sent_, {});
}

SentFrames Bench::frame(unsigned port, base::Bytes bytes) {
  dut_.receive(port, bytes, now_, *this);
  return take();
}

SentFrames Bench::send(const RawEnd& from, const sim::Segment& segment) {
  return frame(from.port, sim::encode_segment(from.mac, kPortMacs[from.port], segment, 0));
}

SentFrames Bench::pass(base::Duration time) {
  for (const base::Instant end = now_ + time; now_ < end;) {
    now_ += 1ms;
    dut_.advance(now_, *this);
    answer_questions();
  }
  return take();
}

bool Bench::handshake(RawEnd& client) {
  sim::Segment syn = client.segment(sim::kSyn);
  syn.mss = 1460;
  const SentFrames answer = send(client, syn);
  if (answer.size() != 1 || !answer[0].tcp) return false;
  const sim::Segment& s = answer[0].segment;
  if (s.flags != (sim::kSyn | sim::kAck) || s.ack != client.nxt + 1U) return false;
  client.nxt += 1;
  client.peer = s.seq + 1U;
  if (s.timestamps) client.tsecr = s.timestamps->value;
  for (const Sent& sent : send(client, client.segment(sim::kAck))) {
    if (sent.port == kClients) return false;
  }
  return true;
}

RawEnd Bench::ask_broker(RawEnd& client, const std::string& client_id, uint16_t keep_alive) {
  sim::ConnectFields fields;
  fields.keep_alive = keep_alive;
  fields.client_id = client_id;
  const sim::Buffer connect = sim::encode_connect(fields);
  const SentFrames asked = send(client, client.segment(sim::kAck | sim::kPsh, connect));
  client.nxt += static_cast<uint32_t>(connect.size());
  return asked.size() == 1 ? asked_broker(asked[0]) : RawEnd{};
}

RawEnd Bench::asked_broker(const Sent& sent) {
  RawEnd broker;
  if (sent.port != kBrokers || !sent.tcp || sent.segment.flags != sim::kSyn) return broker;
  const sim::Segment& syn = sent.segment;
  broker.port = kBrokers;
  broker.mac = wire::MacAddress::load(sent.bytes.data());
  broker.local = syn.destination;
  broker.remote = syn.source;
  broker.nxt = base::Seq32(50'000);
  broker.peer = syn.seq + 1U;
  broker.timestamps = syn.timestamps.has_value();
  if (syn.timestamps) broker.tsecr = syn.timestamps->value;
  return broker;
}

bool Bench::accept(RawEnd& broker, RawEnd& client) {
  sim::Segment answer = broker.segment(sim::kSyn | sim::kAck);
  answer.mss = 1460;
  const SentFrames first = send(broker, answer);
  broker.nxt += 1;
  // Of two cores each sends one, in any order.
  const base::Seq32 begin = broker.peer;
  uint32_t bytes = 0;
  for (const Sent& s : first) {
    if (!s.tcp || s.port != kBrokers) return false;
    bytes += static_cast<uint32_t>(s.segment.payload.size());
    broker.peer = base::later(broker.peer, s.segment.seq + s.segment.length());
  }
  if (broker.peer != begin + bytes) return false;
  if (first.size() != 2) return false;  // the header, and the held CONNECT
  const SentFrames acked = send(broker, broker.segment(sim::kAck));
  return acked.size() == 1 && acked[0].port == kClients && acked[0].segment.ack == client.nxt;
}

bool Bench::answer(RawEnd& broker, RawEnd& client) {
  const sim::Buffer connack = sim::encode_connack(4, 0);
  const SentFrames told = send(broker, broker.segment(sim::kAck | sim::kPsh, connack));
  if (told.size() != 1 || told[0].port != kClients || told[0].segment.seq != client.peer) {
    return false;
  }
  broker.nxt += static_cast<uint32_t>(connack.size());
  client.peer += static_cast<uint32_t>(connack.size());
  if (told[0].segment.timestamps) client.tsecr = told[0].segment.timestamps->value;
  return send(client, client.segment(sim::kAck)).size() == 1;
}

bool Bench::splice(RawEnd& client, RawEnd& broker, const std::string& client_id,
                   uint16_t keep_alive) {
  if (!handshake(client)) return false;
  broker = ask_broker(client, client_id, keep_alive);
  return broker.port == kBrokers && accept(broker, client);
}

std::vector<std::string> Bench::new_drops() {
  std::vector<std::string> names;
  for (size_t i = 0; i < drops_seen_.size(); ++i) {
    const uint64_t n = count(static_cast<base::Drop>(i));
    for (; drops_seen_[i] < n; ++drops_seen_[i]) names.emplace_back(base::kDropTexts[i].name);
  }
  return names;
}

Bench& new_bench(const Setup& setup) {
  bench_of_test().reset();
  bench_of_test() = std::make_unique<Bench>(setup);
  return *bench_of_test();
}

int drop_bench(void** /*state*/) {
  bench_of_test().reset();
  return 0;
}

}  // namespace mqlb::tests
