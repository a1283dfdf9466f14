// The monitor on a virtual clock: when it checks, from where, what it makes of the results, and
// what a changed configuration does to checks under way.
#include "lib/control/health_monitor.hh"

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "lib/proxy_protocol/proxy_protocol.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/frames.hh"
#include "tests/support/models.hh"

namespace {

using namespace mqlb;
using namespace mqlb::tests;
using namespace std::chrono_literals;
using base::Duration;
using base::Instant;
using base::Seq32;
using config::CheckKind;
using control::HealthMonitor;
using control::HealthRecord;

enum class Conduct : uint8_t { serve, refuse, silent, no_neighbour };

struct Report {
  config::BackendId id;
  bool healthy;
  std::string why;
  Duration when;
};

// All tests run in both families; they write addresses as IPv4's.
bool g_ipv6 = false;

wire::IpAddress at(const char* address) { return g_ipv6 ? in_ipv6(ip(address)) : ip(address); }

// Brokers that answer at once. A check is a SYN; `serve` accepts it, speaks the end of a TCP check
// and an MQTT CONNACK.
class Bench {
 public:
  explicit Bench(CheckKind kind, const std::function<void(config::Model&)>& change = {}) {
    model.pools[0].check.kind = kind;
    model.pools[0].check.interval = 1000ms;
    model.pools[0].check.timeout = 300ms;
    if (change) change(model);
    shared->port_macs = {kMacA, kMacB};
    shared->boot_id = 0x123456789abcdef0;
    monitor = std::make_unique<HealthMonitor>(
        *shared, seed, [this](config::PortId port, base::Bytes frame) { sent(port, frame); },
        [this](config::BackendId id, bool healthy, std::string_view why, bool, Instant) {
          reports.push_back({id, healthy, std::string(why), now});
        },
        [this](config::BackendId id, Instant) { cleared.push_back(id); });
    adopt();
  }

  void adopt() {
    auto compiled = config::compile(
        model, snapshots.empty() ? nullptr : snapshots.back().get(),
        {[](config::ListenerId) { return false; }, [](config::BackendId) { return false; },
         [](config::SnatId) { return false; }});
    if (!compiled) fail_msg("%s", compiled.error().message.c_str());
    snapshots.push_back(std::move(*compiled));
    monitor->adopt(*snapshots.back(), Instant(now));
    resolve();
  }
  // The neighbours of all backends but those that have none.
  void resolve() {
    for (const config::BackendEntry& b : snapshots.back()->backends) {
      if (b.retired) continue;
      if (conduct[b.name] == Conduct::no_neighbour) {
        shared->neighbours.clear(b.next_hop);
      } else {
        shared->neighbours.set(b.next_hop, mac_of(b.endpoint.address));
      }
    }
  }
  void run(Duration time) {
    resolve();
    for (const Duration end = now + time; now < end; now += 1ms) {
      // What was sent is answered before the next millisecond.
      pass_replies();
      monitor->advance(Instant(now));
    }
  }
  HealthMonitor::Row row(const std::string& name) const {
    for (const auto& r : monitor->rows(Instant(now))) {
      if (snapshots.back()->backends[r.id].name == name) return r;
    }
    fail_msg("no row of %s", name.c_str());
  }
  std::vector<Duration> starts(const std::string& name) const {
    const auto it = syns.find(name);
    return it == syns.end() ? std::vector<Duration>{} : it->second;
  }
  void forget() {
    syns.clear();
    reports.clear();
    locals.clear();
  }
  // From a broker to a check.
  void reply(const wire::Segment& to, uint8_t flags, Seq32 seq, Seq32 ack,
             base::Bytes payload = {}) {
    wire::Segment s;
    s.link = {mac_of(to.destination.address), kMacB};
    s.source = to.destination;
    s.destination = to.source;
    s.flags = flags;
    s.seq = seq;
    s.ack = ack;
    s.window = 30000;
    s.payload = payload;
    if ((flags & wire::kSyn) != 0) {
      s.options.mss = uint16_t{1400};
      s.options.sack_permitted = true;
    }
    Octets frame(2048);
    frame.resize(wire::build_segment(s, frame));
    replies.push_back(std::move(frame));
  }
  void pass_replies() {
    while (!replies.empty()) {
      Octets frame = std::move(replies.front());
      replies.pop_front();
      monitor->receive(frame, 1, Instant(now));
    }
  }
  static wire::MacAddress mac_of(const wire::IpAddress& address) {
    return {{0x02, 0, 0, 0, 1, static_cast<uint8_t>(address.v4_bits())}};
  }

  const uint64_t seed = 7;
  Duration now = 1000s;
  config::Model model = g_ipv6 ? in_ipv6(sample_model()) : sample_model();
  std::vector<std::unique_ptr<const config::Snapshot>> snapshots;
  std::unique_ptr<engine::Shared> shared = std::make_unique<engine::Shared>();
  std::map<std::string, Conduct> conduct;
  std::map<std::string, std::vector<Duration>> syns;
  std::map<std::string, std::vector<wire::Endpoint>> locals;
  std::map<std::string, int> resets;
  std::vector<std::string> headers;  // first payload of each connection
  std::map<std::pair<wire::Endpoint, wire::Endpoint>, uint32_t> last_iss;
  std::deque<Octets> replies;  // on their way to the monitor
  std::vector<Report> reports;
  std::vector<config::BackendId> cleared;
  std::unique_ptr<HealthMonitor> monitor;

 private:
  void sent(config::PortId port, base::Bytes bytes) {
    assert_int_equal(port, 1);
    Octets frame(bytes.begin(), bytes.end());
    wire::Packet p;
    const wire::ParseRules rules{wire::EthernetView(frame.data()).destination(), 1400};
    assert_false(wire::parse_packet(frame, rules, wire::HardwareChecksum::unknown, p).has_value());
    const wire::TcpView tcp = p.tcp();
    wire::Segment s;
    s.source = {p.source(), tcp.source_port()};
    s.destination = {p.destination(), tcp.destination_port()};
    std::string name = "?";
    for (const auto& snapshot : snapshots) {
      for (const auto& b : snapshot->backends) {
        if (b.endpoint.address == s.destination.address) name = b.name;
      }
    }
    if (tcp.has(wire::kRst)) {
      ++resets[name];
      return;
    }
    const Seq32 end = p.segment_end();
    const bool serves = conduct[name] == Conduct::serve;
    if (tcp.has(wire::kSyn)) {
      syns[name].push_back(now);
      locals[name].push_back(s.source);
      note_iss(s, tcp.seq());
      if (serves) reply(s, wire::kSyn | wire::kAck, Seq32(999), end);
      if (conduct[name] == Conduct::refuse) reply(s, wire::kRst | wire::kAck, Seq32(0), end);
    } else if (serves && tcp.has(wire::kFin)) {
      reply(s, wire::kFin | wire::kAck, tcp.ack(), end);
    } else if (serves && p.payload_length > 0) {
      const bool connect = p.payload()[0] == 0x10;
      if (tcp.seq().raw() == last_iss.at({s.source, s.destination}) + 1) {
        headers.emplace_back(base::as_text(p.payload()));
      }
      const uint8_t connack[] = {0x20, 2, 0, 0};
      reply(s, wire::kAck, tcp.ack(), end, connect ? base::Bytes(connack) : base::Bytes{});
    }
  }
  // A broker in TIME-WAIT would take an ISN that goes back for an old segment.
  void note_iss(const wire::Segment& syn, Seq32 iss) {
    const auto [it, is_new] = last_iss.try_emplace({syn.source, syn.destination}, iss.raw());
    if (is_new) return;
    assert_true(!iss.before(Seq32(it->second)));
    it->second = iss.raw();
  }
};

void test_record(void**) {
  const struct {
    bool initially_up;
    const char* results;  // of checks, + and -
    const char* states;   // after each
  } rows[] = {
      {true, "++--+---", "++++++++"},  // rise 2, fall 4
      {true, "+----", "++++-"},
      {true, "+----++", "++++--+"},
      {true, "+----+-++", "++++----+"},
      {true, "-----++", "+++---+"},
      {false, "+", "+"},  // a first one that passed decides at once
      {false, "-+-++", "----+"},
      {true, "-++", "+++"},
  };
  for (const auto& row : rows) {
    HealthRecord record(row.initially_up);
    bool up = row.initially_up;
    for (size_t i = 0; row.results[i] != 0; ++i) {
      const bool changed = record.note(row.results[i] == '+', 2, 4);
      if (record.up() != (row.states[i] == '+')) fail_msg("%s at %zu", row.results, i);
      assert_int_equal(changed, record.up() != up);
      up = record.up();
    }
    assert_int_equal(record.checks(), strlen(row.results));
  }
}

// From start to start 90 to 100 % of the interval, and the brokers not in step.
void test_intervals(void**) {
  Bench bench(CheckKind::tcp);
  bench.run(60s);
  std::set<int64_t> gaps;
  for (const char* name : {"broker1", "broker2", "far"}) {
    const auto starts = bench.starts(name);
    assert_in_range(starts.size(), 60, 67);
    assert_in_range((starts[0] - 1000s).count(), 0, 1'000'000);
    for (size_t i = 1; i < starts.size(); ++i) {
      const int64_t gap = (starts[i] - starts[i - 1]).count();
      assert_in_range(gap, 900'000, 1'001'000);
      gaps.insert(gap);
    }
    const auto row = bench.row(name);
    assert_int_equal(row.checks, starts.size());
    assert_int_equal(row.failures, 0);
    assert_true(row.up && row.passed);
    assert_string_equal(row.why.c_str(), "connected");
    assert_string_equal(row.options.c_str(), "mss 1400 sack");
  }
  assert_true(gaps.size() > 20);
  // One report at the start, one of the first result.
  assert_int_equal(bench.reports.size(), 6);
  for (const Report& r : bench.reports) assert_true(r.healthy);
  assert_int_equal(bench.resets.size(), 0);
}

// Learnt for listeners: by checks of the broker's own port, not by those of another.
void test_learns_options(void**) {
  for (const CheckKind kind : {CheckKind::tcp, CheckKind::mqtt}) {
    Bench bench(kind);
    bench.run(2s);
    for (config::BackendId id = 0; id < 3; ++id) {
      const engine::LearntOptions learnt = bench.shared->learnt.lookup(id);
      assert_int_equal(learnt.known, kind != CheckKind::http);
      if (!learnt.known) continue;
      assert_int_equal(learnt.mss, 1400);
      assert_true(learnt.sack && !learnt.timestamps);
    }
  }
}

void test_down_and_up(void**) {
  const struct {
    Conduct how;
    const char* why;
    Duration most;  // until it is known
  } rows[] = {
      {Conduct::refuse, "connection refused", 3100ms},
      {Conduct::silent, "timeout: SYN not answered", 3400ms},
      {Conduct::no_neighbour, "unreachable: no neighbour", 3400ms},
  };
  for (const auto& row : rows) {
    Bench bench(CheckKind::tcp);
    bench.run(5s);
    bench.forget();
    bench.conduct["broker1"] = row.how;
    const Duration began = bench.now;
    while (bench.row("broker1").up && bench.now < began + 60s) bench.run(1ms);
    if (bench.now - began > row.most) fail_msg("%s: late", row.why);
    assert_int_equal(bench.row("broker1").failures, 3);
    assert_int_equal(bench.reports.size(), 1);
    assert_false(bench.reports[0].healthy);
    assert_string_equal(bench.reports[0].why.c_str(), row.why);
    bench.run(5s);
    assert_string_equal(bench.row("broker1").why.c_str(), row.why);
    assert_true(bench.row("broker2").up && bench.row("far").up);
    bench.conduct["broker1"] = Conduct::serve;
    const Duration repaired = bench.now;
    while (!bench.row("broker1").up && bench.now < repaired + 60s) bench.run(1ms);
    assert_true(bench.now - repaired < 2400ms);
    assert_int_equal(bench.reports.size(), 2);
    assert_true(bench.reports[1].healthy);
    assert_int_equal(bench.row("broker1").contrary, 0);
    assert_true(bench.row("broker1").since < 2ms);
  }
}

// A check that takes longer than the interval delays the next; there are never two at once.
void test_slow_checks(void**) {
  Bench bench(CheckKind::tcp, [](config::Model& m) {
    m.pools[0].check.interval = 100ms;
    m.pools[0].check.timeout = 5000ms;
  });
  bench.conduct["broker1"] = Conduct::silent;
  bench.run(21s);
  assert_in_range(bench.row("broker1").checks, 3, 4);
  assert_true(bench.row("broker1").took >= 5s && bench.row("broker1").took < 5002ms);
}

void test_initial_state(void**) {
  for (const bool up : {true, false}) {
    for (const bool serves : {true, false}) {
      Bench bench(CheckKind::tcp, [up](config::Model& m) {
        using config::CheckInitial;
        m.pools[0].check.initial = up ? CheckInitial::up : CheckInitial::down;
      });
      bench.conduct["broker1"] = serves ? Conduct::serve : Conduct::refuse;
      assert_int_equal(bench.reports.size(), 3);
      for (const Report& r : bench.reports) {
        assert_int_equal(r.healthy, up);
        assert_string_equal(r.why.c_str(), "not checked yet");
      }
      assert_int_equal(bench.row("broker1").up, up);
      bench.run(1100ms);
      // A first check that fails takes nobody down: the check itself may be wrong.
      assert_int_equal(bench.row("broker1").up, serves || up);
      assert_int_equal(bench.reports.size(), 6);
      bench.run(10s);
      assert_int_equal(bench.row("broker1").up, serves);
    }
  }
}

// Control is held up while answers wait: that says nothing of the brokers.
void test_a_stall_is_not_the_brokers(void**) {
  for (const CheckKind kind : {CheckKind::tcp, CheckKind::mqtt}) {
    Bench bench(kind);
    for (int i = 0; i < 20; ++i) {
      while (bench.replies.empty()) bench.run(1ms);
      bench.now += 30s;
      bench.run(500ms);
    }
    for (const char* name : {"broker1", "broker2", "far"}) {
      assert_true(bench.row(name).checks >= 20);
      assert_int_equal(bench.row(name).failures, 0);
    }
  }
}

// All SNAT addresses and all their check ports, none of them a client's.
void test_local_endpoints(void**) {
  Bench bench(CheckKind::tcp);
  bench.run(60s);
  std::set<wire::Endpoint> used;
  for (const auto& local : bench.locals["broker1"]) {
    assert_in_range(local.port, 65528, 65535);
    assert_true(config::is_check_port(1024, 65535, local.port));
    used.insert(local);
  }
  assert_int_equal(used.size(), 16);
  assert_false(config::is_check_port(1024, 65535, 65527));
}

// With one port for all, checks wait for each other but go on.
void test_one_port(void**) {
  Bench bench(CheckKind::tcp, [](config::Model& m) {
    m.snat_pools[0] = {"outside", {at("198.18.1.100")}, 2000, 2031};
    m.pools[0].check.interval = 100ms;
    m.pools[0].check.timeout = 50ms;
  });
  bench.run(10s);
  for (const char* name : {"broker1", "broker2", "far"}) {
    assert_in_range(bench.row(name).checks, 60, 112);
    assert_int_equal(bench.row(name).failures, 0);
    for (const auto& local : bench.locals[name]) assert_int_equal(local.port, 2031);
  }
}

// PROXY, with the check's own endpoints; HTTP without, at its own port.
void test_proxy_headers(void**) {
  using config::ProxyProtocol;
  for (const ProxyProtocol version : {ProxyProtocol::none, ProxyProtocol::v1, ProxyProtocol::v2}) {
    Bench bench(CheckKind::mqtt, [version](config::Model& m) {
      m.pools[0].proxy_protocol = version;
      m.pools[0].proxy_crc32c = m.pools[0].proxy_unique_id = version == ProxyProtocol::v2;
    });
    bench.run(3s);
    assert_true(bench.headers.size() >= 6);
    std::set<std::string> ids;
    for (const std::string& first : bench.headers) {
      if (version == ProxyProtocol::none) {
        assert_int_equal(first[0], 0x10);
        continue;
      }
      const auto header = proxy_protocol::decode(base::as_bytes(first));
      assert_true(header.has_value());
      assert_int_equal(header->size, first.size());
      assert_int_equal(header->version, version == ProxyProtocol::v1 ? 1 : 2);
      assert_false(header->local);
      assert_true(config::is_check_port(1024, 65535, header->source.port));
      assert_int_equal(header->destination.port, 1883);
      assert_int_equal(header->source.address.is_v4(), !g_ipv6);
      assert_int_equal(header->has_crc32c, version == ProxyProtocol::v2);
      ids.emplace(base::as_text(header->unique_id));
    }
    assert_int_equal(ids.size(), version == ProxyProtocol::v2   ? bench.headers.size()
                                 : version == ProxyProtocol::v1 ? 1
                                                                : 0);
    for (const auto& r : bench.monitor->rows(Instant(bench.now))) {
      assert_string_equal(r.why.c_str(), "CONNACK 0");
    }
  }
  Bench http(CheckKind::http,
             [](config::Model& m) { m.pools[0].proxy_protocol = ProxyProtocol::v2; });
  http.run(1s);
  assert_false(http.headers.empty());
  for (const std::string& first : http.headers) assert_true(first.starts_with("GET /api/v5/"));
  assert_int_equal(http.row("broker1").checked.port, 18083);
}

// Checks under way end with RST when the configuration does not ask for them any more.
void test_changes_end_checks(void**) {
  using Change = std::function<void(config::Model&)>;
  const struct {
    const char* what;
    Change change;
    bool stays;
  } rows[] = {
      {"no check", [](config::Model& m) { m.pools[0].check.kind = CheckKind::none; }, false},
      {"another kind", [](config::Model& m) { m.pools[0].check.kind = CheckKind::tcp; }, true},
      {"removed", [](config::Model& m) { m.pools[0].backends.erase(m.pools[0].backends.begin()); },
       false},
      {"SNAT address gone",
       [](config::Model& m) { m.snat_pools[0].addresses = {at("198.18.1.105")}; }, true},
  };
  for (const auto& row : rows) {
    // HTTP: this broker never answers GET.
    Bench bench(CheckKind::http, [](config::Model& m) { m.pools[0].check.timeout = 60s; });
    bench.run(1100ms);
    assert_true(bench.monitor->busy());
    assert_int_equal(bench.resets["broker1"], 0);
    row.change(bench.model);
    bench.adopt();
    if (bench.resets["broker1"] != 1) fail_msg("%s: not reset", row.what);
    bench.forget();
    bench.run(5s);
    assert_int_equal(!bench.starts("broker1").empty(), row.stays);
    assert_int_equal(bench.cleared.empty(), row.stays);
  }
}

// As the daemon ends: no check begins, those that are answered end in order, the rest is reset.
void test_winding_down(void**) {
  for (const CheckKind kind : {CheckKind::mqtt, CheckKind::http}) {  // GET is never answered
    Bench bench(kind, [](config::Model& m) { m.pools[0].check.timeout = 60s; });
    while (!bench.monitor->busy()) bench.run(1ms);
    bench.monitor->wind_down();
    const size_t begun = bench.syns.size();
    bench.run(5s);
    assert_int_equal(bench.syns.size(), begun);
    assert_int_equal(bench.monitor->busy(), kind == CheckKind::http);
    assert_true(bench.resets.empty());
    bench.monitor->abort();
    assert_false(bench.monitor->busy());
    assert_int_equal(bench.resets.size(), kind == CheckKind::http ? begun : 0);
  }
}

// What is known of a broker survives another way to ask, and nothing else does.
void test_changes_and_history(void**) {
  Bench bench(CheckKind::tcp);
  bench.conduct["broker1"] = Conduct::refuse;
  bench.run(10s);
  assert_false(bench.row("broker1").up);
  const uint64_t checks = bench.row("broker1").checks;
  bench.forget();
  bench.model.pools[0].check.rise = 3;
  bench.adopt();
  assert_false(bench.row("broker1").up);
  assert_int_equal(bench.row("broker1").checks, checks);
  assert_true(bench.reports.empty());
  // A change elsewhere disturbs nothing.
  bench.run(10s);
  const auto before = bench.row("broker2");
  bench.model.pools[0].backends[0].weight = 5;
  bench.adopt();
  assert_int_equal(bench.row("broker2").checks, before.checks);
  // The same id may come to mean another broker.
  bench.model.pools[0].backends[0].endpoint = {at("198.18.1.13"), 1883};
  bench.adopt();
  bench.adopt();
  assert_true(bench.row("broker1").up);
  assert_int_equal(bench.row("broker1").checks, 0);
  // Nobody asks any more.
  bench.model.pools[0].check.kind = CheckKind::none;
  bench.adopt();
  assert_true(bench.monitor->rows(Instant(bench.now)).empty());
  bench.forget();
  bench.run(10s);
  assert_true(bench.syns.empty());
  assert_false(bench.monitor->busy());
}

// Segments of no check: RST as RFC 9293 asks, not for RST, and not without end.
void test_strays(void**) {
  Bench bench(CheckKind::none);
  wire::Segment to;
  to.source = {at("198.18.1.100"), 65530};
  to.destination = {at("198.18.1.11"), 1883};
  bench.reply(to, wire::kAck, Seq32(5), Seq32(7));
  bench.pass_replies();
  assert_int_equal(bench.resets["broker1"], 1);
  bench.reply(to, wire::kRst, Seq32(5), Seq32(7));
  bench.pass_replies();
  assert_int_equal(bench.resets["broker1"], 1);
  for (int i = 0; i < 1000; ++i) bench.reply(to, wire::kSyn, Seq32(5), Seq32(0));
  bench.pass_replies();
  assert_in_range(bench.resets["broker1"], 2, 20);
  Octets arp(60, 0);
  bench.monitor->receive(arp, 1, Instant(bench.now));
  bench.monitor->receive(arp, 200, Instant(bench.now));
  for (size_t n = 0; n < 60; ++n) {
    bench.monitor->receive(base::MutableBytes(arp).first(n), 1, Instant(bench.now));
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_record),
      cmocka_unit_test(test_intervals),
      cmocka_unit_test(test_learns_options),
      cmocka_unit_test(test_down_and_up),
      cmocka_unit_test(test_slow_checks),
      cmocka_unit_test(test_initial_state),
      cmocka_unit_test(test_a_stall_is_not_the_brokers),
      cmocka_unit_test(test_local_endpoints),
      cmocka_unit_test(test_one_port),
      cmocka_unit_test(test_proxy_headers),
      cmocka_unit_test(test_changes_end_checks),
      cmocka_unit_test(test_winding_down),
      cmocka_unit_test(test_changes_and_history),
      cmocka_unit_test(test_strays),
  };
  const int failed = cmocka_run_group_tests_name("IPv4", tests, nullptr, nullptr);
  g_ipv6 = true;
  return failed + cmocka_run_group_tests_name("IPv6", tests, nullptr, nullptr);
}
