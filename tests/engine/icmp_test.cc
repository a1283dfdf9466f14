// ICMP errors over the splice, echo, and ARP.
#include <algorithm>

#include "tests/engine/bench.hh"
#include "tests/engine/icmp_frames.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {
namespace {

using base::load_be16;
using base::load_be32;
using sim::kAck;
using sim::kPsh;
using sim::kSyn;

constexpr size_t kEth = 14;
constexpr size_t kIp = 20;
constexpr size_t kIcmp = 8;
constexpr uint16_t kPathMtu = 1400;

// A router's own address, beyond the engine's ports.
const wire::IpAddress kRouter = wire::IpAddress::v4(0xc6130001);  // 198.19.0.1

struct Translated {
  wire::IpAddress source, destination;  // of the error
  wire::IpAddress quoted_source, quoted_destination;
  uint16_t quoted_source_port, quoted_destination_port;
  uint32_t quoted_seq;
};

// Checks every checksum on the way; `quoted` bytes of IP packet are quoted.
Translated read_error(const Sent& sent, size_t quoted) {
  const base::Bytes frame(sent.bytes);
  assert_int_equal(frame.size(), kEth + kIp + kIcmp + quoted);
  const uint8_t* ip = frame.data() + kEth;
  const uint8_t* icmp = ip + kIp;
  const uint8_t* quote = icmp + kIcmp;
  const uint8_t* tcp = quote + kIp;
  assert_int_equal(sim::checksum_finish(sim::checksum_add(0, {ip, kIp})), 0);
  assert_int_equal(sim::checksum_finish(sim::checksum_add(0, {icmp, kIcmp + quoted})), 0);
  assert_int_equal(sim::checksum_finish(sim::checksum_add(0, {quote, kIp})), 0);
  assert_int_equal(icmp[0], 3);
  assert_int_equal(icmp[1], 4);
  assert_int_equal(load_be16(icmp + 6), kPathMtu);
  const size_t total = load_be16(quote + 2);
  if (quoted == total) {  // the whole segment: its checksum is right for what it says now
    uint8_t pseudo[4] = {0, 6};
    base::store_be16(pseudo + 2, static_cast<uint16_t>(total - kIp));
    uint64_t sum = sim::checksum_add(0, {quote + 12, 8});
    sum = sim::checksum_add(sum, pseudo);
    assert_int_equal(sim::checksum_finish(sim::checksum_add(sum, {tcp, total - kIp})), 0);
  }
  return {wire::IpAddress::load_v4(ip + 12),
          wire::IpAddress::load_v4(ip + 16),
          wire::IpAddress::load_v4(quote + 12),
          wire::IpAddress::load_v4(quote + 16),
          load_be16(tcp),
          load_be16(tcp + 2),
          load_be32(tcp + 4)};
}

// All that a router may quote: 8 bytes of TCP, a header, the whole packet.
std::vector<size_t> quotes_of(const Sent& segment) {
  return {kIp + 8, kIp + 20, segment.bytes.size() - kEth};
}

void test_error_from_the_brokers_side(void** /*state*/) {
  Bench& b = new_bench(default_setup(600));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  const std::vector<uint8_t> payload(99, 'p');
  const SentFrames big = b.send(client, client.segment(kAck | kPsh, payload));
  assert_int_equal(big.size(), 1);
  for (const size_t quoted : quotes_of(big[0])) {
    const auto error = fragmentation_needed(kBrokers, kRouter, big[0], quoted, kPathMtu);
    const SentFrames sent = b.frame(kBrokers, error);
    assert_int_equal(sent.size(), 1);
    assert_int_equal(sent[0].port, kClients);
    assert_true(wire::MacAddress::load(sent[0].bytes.data()) == client.mac);
    const Translated t = read_error(sent[0], quoted);
    assert_true(t.source == client.remote.address);
    assert_true(t.destination == client.local.address);
    assert_true(t.quoted_source == client.local.address);
    assert_true(t.quoted_destination == client.remote.address);
    assert_int_equal(t.quoted_source_port, client.local.port);
    assert_int_equal(t.quoted_destination_port, client.remote.port);
    assert_int_equal(t.quoted_seq, client.nxt.raw());
  }
  assert_int_equal(b.count(base::Event::icmp_translated), 3);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

void test_error_from_the_clients_side(void** /*state*/) {
  Bench& b = new_bench(default_setup(601));
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  const std::vector<uint8_t> payload(99, 'p');
  const SentFrames big = b.send(broker, broker.segment(kAck | kPsh, payload));
  assert_int_equal(big.size(), 1);
  for (const size_t quoted : quotes_of(big[0])) {
    const auto error = fragmentation_needed(kClients, kRouter, big[0], quoted, kPathMtu);
    const SentFrames sent = b.frame(kClients, error);
    assert_int_equal(sent.size(), 1);
    assert_int_equal(sent[0].port, kBrokers);
    assert_true(wire::MacAddress::load(sent[0].bytes.data()) == broker.mac);
    const Translated t = read_error(sent[0], quoted);
    assert_true(t.source == broker.remote.address);
    assert_true(t.destination == broker.local.address);
    assert_true(t.quoted_source == broker.local.address);
    assert_true(t.quoted_destination == broker.remote.address);
    assert_int_equal(t.quoted_source_port, broker.local.port);
    assert_int_equal(t.quoted_destination_port, broker.remote.port);
    assert_int_equal(t.quoted_seq, broker.nxt.raw());
  }
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// Any core may get the error.
void test_error_at_another_core(void** /*state*/) {
  using config::CoreRole;
  Setup setup = default_setup(602);
  setup.options.cores = {CoreRole::worker, CoreRole::worker, CoreRole::proxy, CoreRole::proxy};
  Bench& b = new_bench(setup);
  for (uint16_t port = 4000; port < 4030; ++port) {
    RawEnd client = raw_client(port);
    RawEnd broker;
    assert_true(b.splice(client, broker, "device"));
    const SentFrames there = b.send(client, client.segment(kAck));
    const SentFrames back = b.send(broker, broker.segment(kAck));
    assert_int_equal(there.size(), 1);
    assert_int_equal(back.size(), 1);
    const auto to_client = fragmentation_needed(kBrokers, kRouter, there[0], 28, kPathMtu);
    const auto to_broker = fragmentation_needed(kClients, kRouter, back[0], 28, kPathMtu);
    assert_int_equal(b.frame(kBrokers, to_client).size(), 1);
    assert_int_equal(b.frame(kClients, to_broker).size(), 1);
  }
  assert_int_equal(b.count(base::Event::icmp_translated), 60);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// A port that is unreachable: the next broker is asked at once. An error about another number than
// the SYN's is somebody's guess.
void test_unreachable_broker(void** /*state*/) {
  Bench& b = new_bench(default_setup(603));
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  sim::ConnectFields fields;
  fields.client_id = "device";
  SentFrames syn = b.send(client, client.segment(kAck, sim::encode_connect(fields)));
  assert_int_equal(syn.size(), 1);
  std::vector<wire::IpAddress> asked{syn[0].segment.destination.address};

  Sent guess = syn[0];
  base::store_be32(guess.bytes.data() + kEth + kIp + 4, syn[0].segment.seq.raw() + 1);
  assert_int_equal(b.frame(kBrokers, port_unreachable(kBrokers, kRouter, guess, 28)).size(), 0);
  // Fragmentation cannot be needed for a SYN; it says nothing about the broker.
  assert_int_equal(
      b.frame(kBrokers, fragmentation_needed(kBrokers, kRouter, syn[0], 28, 500)).size(), 0);
  for (int i = 0; i < 2; ++i) {
    syn = b.frame(kBrokers, port_unreachable(kBrokers, kRouter, syn[0], 28));
    assert_int_equal(syn.size(), 1);
    assert_int_equal(syn[0].segment.flags, kSyn);
    assert_int_equal(std::count(asked.begin(), asked.end(), syn[0].segment.destination.address), 0);
    asked.push_back(syn[0].segment.destination.address);
  }
  // No client can say that a broker is unreachable.
  b.new_drops();
  assert_int_equal(b.frame(kClients, port_unreachable(kClients, kRouter, syn[0], 28)).size(), 0);
  assert_true(b.new_drops() == std::vector<std::string>{"icmp-unknown-flow"});
  const SentFrames refused = b.frame(kBrokers, port_unreachable(kBrokers, kRouter, syn[0], 28));
  assert_int_equal(refused.size(), 1);
  assert_int_equal(refused[0].port, kClients);
  assert_int_equal(refused[0].segment.payload.size(), 4);
  assert_int_equal(b.count(base::Event::broker_refused), 3);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// What is ours to deliver to the broker takes the size that its path allows; the client, which sees
// these bytes acknowledged, could not help.
void test_our_own_bytes_are_too_long(void** /*state*/) {
  Bench& b = new_bench(default_setup(607));
  RawEnd client = raw_client(4000);
  assert_true(b.handshake(client));
  sim::ConnectFields fields;
  fields.client_id = "device";
  fields.user_name = "u";
  fields.password = std::string(2000, 'p');
  const sim::Buffer connect = sim::encode_connect(fields);
  const auto half = connect.size() / 2;
  SentFrames sent;
  for (const base::Bytes part :
       {base::Bytes(connect).first(half), base::Bytes(connect).subspan(half)}) {
    sent = b.send(client, client.segment(kAck | kPsh, part));
    client.nxt += static_cast<uint32_t>(part.size());
  }
  RawEnd broker = Bench::asked_broker(sent.back());
  sim::Segment accepted = broker.segment(kSyn | kAck);
  accepted.mss = 1460;
  accepted.window = 0xffff;
  sent = b.send(broker, accepted);
  broker.nxt += 1;
  const auto longest = [](const SentFrames& frames) {
    size_t most = 0;
    for (const Sent& s : frames) {
      if (s.port == kBrokers) most = std::max(most, s.bytes.size() - kEth);
    }
    return most;
  };
  const auto first_long = std::find_if(sent.begin(), sent.end(), [](const Sent& s) {
    return s.port == kBrokers && s.bytes.size() > 1000;
  });
  assert_true(first_long != sent.end());
  const Sent lost = *first_long;
  const SentFrames again =
      b.frame(kBrokers, fragmentation_needed(kBrokers, kRouter, lost, kIp + 8, 700));
  assert_true(again.size() >= 3);
  assert_in_range(longest(again), 600, 700);
  // Once is enough, and what is not ours to repeat is the client's.
  assert_int_equal(
      b.frame(kBrokers, fragmentation_needed(kBrokers, kRouter, lost, kIp + 8, 700)).size(), 0);
  assert_int_equal(
      b.frame(kBrokers, fragmentation_needed(kBrokers, kRouter, lost, kIp + 8, 0)).size() > 0 ? 1
                                                                                              : 0,
      1);  // a router from before RFC 1191: 576
  assert_int_equal(b.count(base::Event::icmp_translated), 0);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

void test_echo(void** /*state*/) {
  Bench& b = new_bench(default_setup(604));
  const wire::IpAddress port_address = wire::IpAddress::v4(0xc6120001);
  const std::vector<uint8_t> data{1, 2, 3, 4, 5, 6, 7};
  for (const wire::IpAddress& target : {port_address, listener_endpoint().address}) {
    const auto request = echo_request(kClients, client_mac(0), client_address(0), target, data);
    const SentFrames sent = b.frame(kClients, request);
    assert_int_equal(sent.size(), 1);
    assert_int_equal(sent[0].port, kClients);
    const uint8_t* ip = sent[0].bytes.data() + kEth;
    assert_int_equal(sent[0].bytes.size(), request.size());
    assert_true(wire::MacAddress::load(sent[0].bytes.data()) == client_mac(0));
    assert_true(wire::IpAddress::load_v4(ip + 12) == target);
    assert_true(wire::IpAddress::load_v4(ip + 16) == client_address(0));
    assert_int_equal(ip[kIp], 0);
    assert_int_equal(sim::checksum_finish(sim::checksum_add(0, {ip + kIp, kIcmp + data.size()})),
                     0);
    assert_true(std::equal(data.begin(), data.end(), ip + kIp + kIcmp));
  }
  b.new_drops();
  const auto foreign = echo_request(kClients, client_mac(0), client_address(0),
                                    wire::IpAddress::v4(0xc6120063), data);
  assert_int_equal(b.frame(kClients, foreign).size(), 0);
  assert_true(b.new_drops() == std::vector<std::string>{"foreign-address"});
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

struct Question {
  unsigned port;
  wire::IpAddress address;
  bool answered;
};

void test_arp(void** /*state*/) {
  Bench& b = new_bench(default_setup(605));
  const auto client_port = wire::IpAddress::v4(0xc6120001);
  const auto broker_port = wire::IpAddress::v4(0xc6120101);
  const wire::IpAddress listener = listener_endpoint().address;
  const Question table[] = {
      {kClients, client_port, true},        {kClients, listener, true},
      {kClients, snat_address(0), false},   {kClients, broker_port, false},
      {kClients, client_address(2), false}, {kBrokers, broker_port, true},
      {kBrokers, snat_address(0), true},    {kBrokers, snat_address(1), true},
      {kBrokers, listener, false},          {kBrokers, client_port, false},
      {kBrokers, snat_address(2), false},
  };
  for (const Question& q : table) {
    const wire::MacAddress asker = q.port == kClients ? client_mac(0) : broker_mac(0);
    const wire::IpAddress from =
        q.port == kClients ? client_address(0) : broker_endpoint(0).address;
    const sim::Resolution request{true, asker, from, {}, q.address};
    const SentFrames sent = b.frame(q.port, sim::encode_resolution(request));
    assert_int_equal(sent.size(), q.answered ? 1 : 0);
    if (!q.answered) continue;
    const auto answer = sim::parse_resolution(sent[0].bytes);
    assert_int_equal(sent[0].port, q.port);
    assert_true(answer && !answer->request);
    assert_true(answer->sender == q.address && answer->sender_mac == kPortMacs[q.port]);
    assert_true(answer->target == from && answer->target_mac == asker);
  }
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

// Flows of a listener that was removed would die with their router's entry for its address.
void test_arp_for_a_removed_listener(void** /*state*/) {
  Setup setup = default_setup(606);
  Bench& b = new_bench(setup);
  RawEnd client = raw_client(4000);
  RawEnd broker;
  assert_true(b.splice(client, broker, "device"));
  setup.model.listeners.clear();
  b.dut().reconfigure(setup.model, b.now());
  const sim::Resolution request{true, client_mac(0), client_address(0), {}, client.remote.address};
  const auto is_answered = [&] {
    return b.frame(kClients, sim::encode_resolution(request)).size() == 1;
  };
  assert_true(is_answered());
  assert_int_equal(b.send(client, client.segment(kAck | kPsh, base::Bytes{})).size(), 1);
  (void)b.send(client, client.segment(sim::kRst));
  (void)b.pass(std::chrono::seconds(30));
  assert_int_equal(b.dut().flows(), 0);
  assert_false(is_answered());
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      BENCH_TEST(test_error_from_the_brokers_side),
      BENCH_TEST(test_error_from_the_clients_side),
      BENCH_TEST(test_error_at_another_core),
      BENCH_TEST(test_unreachable_broker),
      BENCH_TEST(test_our_own_bytes_are_too_long),
      BENCH_TEST(test_echo),
      BENCH_TEST(test_arp),
      BENCH_TEST(test_arp_for_a_removed_listener),
  };
  return cmocka_run_group_tests_name("icmp", tests, nullptr, nullptr);
}
