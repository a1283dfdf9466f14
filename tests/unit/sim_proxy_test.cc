// PROXY headers: the simulator's own parser, and what a broker says of a device that sends them.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cstdio>

#include "tests/unit/sim_fixture.hh"

// Last: it defines fail and skip as macros.
extern "C" {
#include <cmocka.h>
}

namespace mqlb::sim {
namespace {

Buffer from_hex(std::string_view hex) {
  Buffer out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    out.push_back(static_cast<uint8_t>(digit(hex[i]) << 4 | digit(hex[i + 1])));
  }
  return out;
}

Buffer from_text(std::string_view text) { return {text.begin(), text.end()}; }

struct ParserRow {
  const char* name;
  Buffer bytes;
  ProxyHeader::Status status;
  unsigned version = 0;
  const char* source = "";
};

constexpr const char* kVector =
    "0d0a0d0a000d0a515549540a21110013c0000201c63364029c40075b0300045d7ff694";

const std::vector<ParserRow>& parser_rows() {
  using Status = ProxyHeader::Status;
  static const std::vector<ParserRow> rows{
      {"v2 with CRC32C", from_hex(kVector), Status::good, 2, "192.0.2.1:40000"},
      {"v2 with a wrong CRC32C",
       from_hex("0d0a0d0a000d0a515549540a21110013c0000201c63364029c40075b0300045d7ff695"),
       Status::bad},
      {"v2 plain", from_hex("0d0a0d0a000d0a515549540a2111000cc0000201c63364029c40075b"),
       Status::good, 2, "192.0.2.1:40000"},
      {"v2 mapped",
       from_hex("0d0a0d0a000d0a515549540a2121002400000000000000000000ffffc0000201"
                "20010db80000000000000000000000019c40075b"),
       Status::good, 2, "192.0.2.1:40000"},
      {"v2 LOCAL", from_hex("0d0a0d0a000d0a515549540a20000000"), Status::bad},
      {"v2 UDP", from_hex("0d0a0d0a000d0a515549540a2112000cc0000201c63364029c40075b"), Status::bad},
      {"v2 too short for its family",
       from_hex("0d0a0d0a000d0a515549540a2111000bc0000201c63364029c4007"), Status::bad},
      {"v2 TLV runs over",
       from_hex("0d0a0d0a000d0a515549540a21110010c0000201c63364029c40075b04000200"), Status::bad},
      {"v2 unknown TLV", from_hex("0d0a0d0a000d0a515549540a2111000fc0000201c63364029c40075bee0000"),
       Status::bad},
      {"v1", from_text("PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883\r\nrest"), Status::good, 1,
       "192.0.2.1:40000"},
      {"v1 six", from_text("PROXY TCP6 2001:db8::1 2001:db8::2 40000 1883\r\n"), Status::good, 1,
       "[2001:db8::1]:40000"},
      {"v1 not canonical", from_text("PROXY TCP6 2001:DB8::1 2001:db8::2 40000 1883\r\n"),
       Status::bad},
      {"v1 leading zero", from_text("PROXY TCP4 192.0.2.1 198.51.100.2 040000 1883\r\n"),
       Status::bad},
      {"v1 two spaces", from_text("PROXY TCP4  192.0.2.1 198.51.100.2 40000 1883\r\n"),
       Status::bad},
      {"v1 trailing word", from_text("PROXY TCP4 192.0.2.1 198.51.100.2 40000 1883 x\r\n"),
       Status::bad},
      {"v1 unknown", from_text("PROXY UNKNOWN\r\n"), Status::bad},
      {"v1 without end", from_text("PROXY TCP4 " + std::string(100, '1')), Status::bad},
      {"no header", from_hex("100c00044d515454"), Status::bad},
  };
  return rows;
}

void test_parser(void**) {
  for (const ParserRow& row : parser_rows()) {
    const ProxyHeader h = parse_proxy_header(row.bytes);
    if (h.status != row.status) print_error("%s: %s\n", row.name, h.why.c_str());
    assert_int_equal(h.status, row.status);
    if (row.status != ProxyHeader::Status::good) continue;
    assert_int_equal(h.version, row.version);
    assert_string_equal(to_string(h.source).c_str(), row.source);
    for (size_t n = 0; n < h.size; ++n) {
      assert_int_equal(parse_proxy_header(base::Bytes(row.bytes).first(n)).status,
                       ProxyHeader::Status::cut);
    }
  }
}

enum class Mischief : uint8_t {
  none,
  in_pieces,
  other_client,
  other_listener,
  twice_different,
  no_header,
};

// The smallest balancer that puts a PROXY header in front: it takes as many sequence numbers from
// before the client's first byte, so that nothing but the handshake needs translation. No loss.
class HeaderWire final : public Dut {
 public:
  HeaderWire(unsigned version, Mischief mischief) : version_(version), mischief_(mischief) {}

  void receive(unsigned port, base::Bytes frame, base::Instant, FrameSink& out) override {
    Segment s;
    const bool tcp = ether_type(frame) == kEtherTypeIpv4;
    if (!tcp || parse_segment(frame, s) != FrameFault::none) {
      out.transmit(1 - port, frame);
      return;
    }
    const auto source = wire::MacAddress::load(frame.data() + 6);
    const auto destination = wire::MacAddress::load(frame.data());
    if (port == 0) {
      const auto size = static_cast<uint32_t>(header(s.source, s.destination).size());
      if (s.has(kSyn)) s.seq = s.seq - size;
      out.transmit(1, encode_segment(source, destination, s, 1));
      return;
    }
    if (s.has(kSyn)) send_header(s, source, destination, out);
    out.transmit(0, encode_segment(source, destination, s, 1));
  }
  void advance(base::Instant, FrameSink&) override {}

 private:
  // In answer to the broker's SYN-ACK, which then goes on to the client.
  void send_header(Segment& syn_ack, const wire::MacAddress& broker, const wire::MacAddress& client,
                   FrameSink& out) {
    const Buffer bytes = header(syn_ack.destination, syn_ack.source);
    Segment s;
    s.source = syn_ack.destination;
    s.destination = syn_ack.source;
    s.seq = syn_ack.ack;
    s.ack = syn_ack.seq + 1;
    s.flags = kAck | kPsh;
    s.window = 1000;
    s.timestamps = Timestamps{syn_ack.timestamps->echo, syn_ack.timestamps->value};
    const size_t cut = mischief_ == Mischief::in_pieces ? 5 : bytes.size();
    for (size_t at = 0; at < bytes.size(); at += cut) {
      s.payload = base::Bytes(bytes).subspan(at, std::min(cut, bytes.size() - at));
      out.transmit(1, encode_segment(client, broker, s, 1));
      s.seq += static_cast<uint32_t>(s.payload.size());
    }
    if (mischief_ == Mischief::twice_different) {
      Buffer other = bytes;
      other.back() ^= 1;
      s.seq = syn_ack.ack;
      s.payload = other;
      out.transmit(1, encode_segment(client, broker, s, 1));
    }
    syn_ack.ack += static_cast<uint32_t>(bytes.size());
  }

  [[nodiscard]] Buffer header(wire::Endpoint client, wire::Endpoint listener) const {
    if (mischief_ == Mischief::no_header) return {};
    if (mischief_ == Mischief::other_client) client.port ^= 1;
    if (mischief_ == Mischief::other_listener) listener.port ^= 1;
    if (version_ == 1) {
      return from_text("PROXY TCP4 " + to_string(client.address) + " " +
                       to_string(listener.address) + " " + std::to_string(client.port) + " " +
                       std::to_string(listener.port) + "\r\n");
    }
    Buffer out = from_hex("0d0a0d0a000d0a515549540a2111000c");
    out.resize(28);
    client.address.store_v4(&out[16]);
    listener.address.store_v4(&out[20]);
    base::store_be16(&out[24], client.port);
    base::store_be16(&out[26], listener.port);
    return out;
  }

  unsigned version_;
  Mischief mischief_;
};

struct DeviceRow {
  const char* name;
  ProxyExpectation expected;
  unsigned version;
  Mischief mischief;
  Fault fault;
  bool good;
};

const DeviceRow kDeviceRows[] = {
    {"v1", ProxyExpectation::v1, 1, Mischief::none, Fault::data, true},
    {"v2", ProxyExpectation::v2, 2, Mischief::none, Fault::data, true},
    {"other version", ProxyExpectation::v1, 2, Mischief::none, Fault::proxy_header, false},
    {"in pieces", ProxyExpectation::v2, 2, Mischief::in_pieces, Fault::proxy_header, false},
    {"other client", ProxyExpectation::v2, 2, Mischief::other_client, Fault::proxy_header, false},
    {"other listener", ProxyExpectation::v2, 2, Mischief::other_listener, Fault::proxy_header,
     false},
    {"repeated differently", ProxyExpectation::v2, 2, Mischief::twice_different,
     Fault::proxy_header, false},
    {"none", ProxyExpectation::v2, 2, Mischief::no_header, Fault::proxy_header, false},
};

void test_broker_judges_the_header(void**) {
  for (const DeviceRow& row : kDeviceRows) {
    auto net = std::make_unique<Net>(4, std::make_unique<HeaderWire>(row.version, row.mischief),
                                     LinkConfig{}, LinkConfig{});
    BrokerConfig config;
    config.name = "broker";
    config.address = kBrokerEndpoint;
    config.proxy = row.expected;
    net->broker = std::make_unique<Broker>(net->brokers, net->ledger, std::move(config));
    for (uint32_t i = 0; i < 10; ++i) {
      ClientPlan plan = net->plan(i);
      plan.publish_bytes = 5'000;
      plan.pipeline = i % 2 == 0;
      plan.tcp.iss = base::Seq32(10 * i);  // the header's numbers wrap
      open_client(net->clients, net->ledger, plan);
    }
    assert_true(net->world.run());
    const std::string summary = net->world.violations().summary(3);
    const size_t count = net->world.violations().count(row.fault);
    if ((count == 0) != row.good) print_error("%s:\n%s", row.name, summary.c_str());
    assert_true((count == 0) == row.good);
    if (!row.good) continue;
    if (!summary.empty()) print_error("%s:\n%s", row.name, summary.c_str());
    assert_int_equal(net->world.violations().total(), 0);
    assert_int_equal(net->broker->counters().proxy_headers, 10);
    for (const auto& c : net->ledger.all()) assert_true(c->complete());
  }
}

}  // namespace
}  // namespace mqlb::sim

int main() {
  using namespace mqlb::sim;
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_parser),
      cmocka_unit_test(test_broker_judges_the_header),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
