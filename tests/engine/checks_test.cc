// Health checks through the whole engine: brokers of the simulator behind links that lose, repeat
// and reorder, checks that share SNAT addresses with clients' flows, ports that cores pass on.
#include <algorithm>
#include <map>

#include "lib/control/health_monitor.hh"
#include "tests/engine/engine_test.hh"
#include "tests/support/sim/proxy_header.hh"

namespace mqlb::tests {
namespace {

using base::Drop;
using config::CheckKind;
using config::CoreRole;
using config::ProxyProtocol;
using control::HealthMonitor;

constexpr unsigned kBrokersHere = 3;

// What the brokers saw.
struct Account {
  uint64_t accepted = 0, good_headers = 0, connects = 0, requests = 0;
  std::map<sim::CloseReason, uint64_t> ends;
  std::string complaint;
};

// A broker that has one conversation with a check; offset 0 must be the whole PROXY header.
class Session final : public sim::StreamApp {
 public:
  Session(Account& account, ProxyProtocol version) : StreamApp({}), account_(account) {
    version_ = version;
    ++account_.accepted;
  }

  void on_segment(sim::TcpEndpoint& tcp, uint64_t offset, base::Bytes bytes,
                  base::Instant) override {
    if (version_ == ProxyProtocol::none || offset > 0 || header_ > 0) return;
    const sim::ProxyHeader header = sim::parse_proxy_header(bytes);
    const bool good = header.status == sim::ProxyHeader::Status::good &&
                      header.version == (version_ == ProxyProtocol::v1 ? 1U : 2U) &&
                      header.source == tcp.remote() && header.destination == tcp.local();
    if (!good || header.size != bytes.size()) {
      account_.complaint = "PROXY header: " + header.why;
      return;
    }
    ++account_.good_headers;
    header_ = skip_ = header.size;
  }
  void on_end(sim::TcpEndpoint& tcp, base::Instant now) override { tcp.close(now); }
  void on_closed(sim::TcpEndpoint&, sim::CloseReason reason, base::Instant) override {
    ++account_.ends[reason];
  }

 private:
  void on_bytes(sim::TcpEndpoint& tcp, base::Bytes bytes, base::Instant now) override {
    const size_t skip = std::min(skip_, bytes.size());
    skip_ -= skip;
    bytes = bytes.subspan(skip);
    if (bytes.empty()) return;
    text_ += base::as_text(bytes);
    if (text_.ends_with("\r\n\r\n")) {
      ++account_.requests;
      const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n";
      tcp.write(base::as_bytes(answer + std::string(3000, 'x')), now);
      tcp.close(now);
      return;
    }
    packets_.feed(bytes);
    while (const auto packet = packets_.next()) {
      if (packet->type == sim::kConnect) {
        ++account_.connects;
        const auto fields = sim::parse_connect(*packet);
        if (!fields) account_.complaint = "CONNECT";
        tcp.write(sim::encode_connack(fields ? fields->level : sim::Level{4}, 0), now);
      }
    }
  }

  Account& account_;
  ProxyProtocol version_ = ProxyProtocol::none;
  size_t header_ = 0;
  size_t skip_ = 0;
  std::string text_;
  sim::PacketReader packets_;
};

// The engine and the monitor, as the daemon puts them together.
class CheckedDut final : public sim::Dut {
 public:
  CheckedDut(const config::Model& model, std::vector<CoreRole> cores) : random_(3) {
    auto snapshot = config::compile(model, nullptr, {});
    if (!snapshot) fail_msg("%s", snapshot.error().message.c_str());
    engine::LocalEngineOptions options;
    options.cores = std::move(cores);
    options.buffers = 4096;
    const auto emit = [this](config::PortId port, base::Bytes frame) {
      out_->transmit(port, frame);
    };
    options.control = [this](config::PortId port, base::MutableBytes frame, base::Instant now) {
      monitor_->receive(frame, port, now);
    };
    const base::Instant start{1s};
    auto engine = engine::LocalEngine::create(std::move(*snapshot), {kPortMacs[0], kPortMacs[1]},
                                              options, emit, start);
    if (!engine) fail_msg("%s", engine.error().message.c_str());
    engine_ = std::move(*engine);
    monitor_ = std::make_unique<HealthMonitor>(engine_->shared(), 5, emit, nullptr, nullptr);
    monitor_->adopt(engine_->snapshot(), start);
  }
  void receive(unsigned port, base::Bytes frame, base::Instant now, sim::FrameSink& out) override {
    out_ = &out;
    engine_->receive(static_cast<config::PortId>(port), frame, now,
                     random_.below(engine_->core_count()));
  }
  void advance(base::Instant now, sim::FrameSink& out) override {
    out_ = &out;
    engine_->advance(now);
    monitor_->advance(now);
  }
  [[nodiscard]] engine::LocalEngine& engine() { return *engine_; }
  [[nodiscard]] HealthMonitor& monitor() { return *monitor_; }

 private:
  sim::FrameSink* out_ = nullptr;
  sim::Random random_;
  std::unique_ptr<engine::LocalEngine> engine_;
  std::unique_ptr<HealthMonitor> monitor_;
};

struct CheckWorld {
  CheckWorld(const config::Model& model, std::vector<CoreRole> cores, const sim::LinkConfig& link,
             uint64_t seed)
      : dut(model, std::move(cores)), world({.seed = seed, .max_frames_per_event = 24}, dut) {
    const ProxyProtocol version = model.pools[0].proxy_protocol;
    sim::HostConfig client;
    client.name = "client";
    client.mac = client_mac(0);
    client.addresses = {client_address(0)};
    world.add_host(0, client, {}, {});
    for (unsigned i = 0; i < kBrokersHere; ++i) {
      sim::HostConfig config;
      config.name = "broker" + std::to_string(i);
      config.mac = broker_mac(i);
      config.addresses = {broker_endpoint(i).address};
      sim::Host& host = world.add_host(1, config, link, link);
      hosts.push_back(&host);
      for (const uint16_t port : {broker_endpoint(i).port, model.pools[0].check.http_port}) {
        const bool is_http = port == model.pools[0].check.http_port;
        const wire::Endpoint local{broker_endpoint(i).address, port};
        host.listen(local, [this, i, version, is_http](const sim::Segment&) {
          sim::SynVerdict verdict;
          verdict.options.iss = base::Seq32(world.random().u32());
          verdict.options.time_wait = 60s;
          verdict.options.initial_rto = 300ms;
          verdict.app =
              std::make_unique<Session>(accounts[i], is_http ? ProxyProtocol::none : version);
          return verdict;
        });
      }
    }
  }
  void run(base::Duration time) {
    world.after(time, [] {});
    (void)world.run(time);
  }

  Account accounts[kBrokersHere];
  CheckedDut dut;
  sim::World world;
  std::vector<sim::Host*> hosts;
};

std::unique_ptr<CheckWorld> g_world;

int drop_check_world(void**) {
  g_world.reset();
  return 0;
}

config::Model checked_model(CheckKind kind, ProxyProtocol version) {
  config::Model model = default_setup(1).model;
  model.pools[0].proxy_protocol = version;
  model.pools[0].proxy_crc32c = model.pools[0].proxy_unique_id = version == ProxyProtocol::v2;
  model.pools[0].check.kind = kind;
  model.pools[0].check.interval = 500ms;
  model.pools[0].check.timeout = 8000ms;
  return model;
}

// Nothing is left, and nobody was treated badly.
void expect_in_order(CheckWorld& w, CheckKind kind, ProxyProtocol version, bool lossless) {
  if (w.world.violations().total() > 0) fail_msg("%s", w.world.violations().summary().c_str());
  const auto rows = w.dut.monitor().rows(w.world.now());
  assert_int_equal(rows.size(), kBrokersHere);
  for (const HealthMonitor::Row& row : rows) {
    if (!row.up || row.failures > 0) fail_msg("failed: %s", row.why.c_str());
    assert_in_range(row.checks, lossless ? 58 : 20, 68);
    assert_int_equal(w.dut.engine().shared().learnt.lookup(row.id).known, kind != CheckKind::http);
  }
  for (const Account& account : w.accounts) {
    if (!account.complaint.empty()) fail_msg("%s", account.complaint.c_str());
    assert_true(account.accepted >= (lossless ? 58 : 20));
    const uint64_t spoke = kind == CheckKind::http ? account.requests : account.connects;
    if (kind != CheckKind::tcp) assert_true(spoke + 1 >= account.accepted);
    const bool headed = kind != CheckKind::http && version != ProxyProtocol::none;
    if (headed) assert_true(account.good_headers + 1 >= account.accepted);
    // Orderly at the broker: no reset, which some of them log.
    for (const auto& [reason, count] : account.ends) {
      if (reason != sim::CloseReason::normal)
        fail_msg("%s", std::string(to_string(reason)).c_str());
    }
  }
  engine::LocalEngine& engine = w.dut.engine();
  assert_int_equal(engine.buffers_in_use(), 0);
  assert_true(engine.count(Drop::check_consumed) > 100);
  assert_int_equal(engine.count(Drop::unknown_flow), 0);
}

void test_checks(void**) {
  uint64_t seed = 900;
  for (const CheckKind kind : {CheckKind::tcp, CheckKind::mqtt, CheckKind::http}) {
    for (const ProxyProtocol version :
         {ProxyProtocol::none, ProxyProtocol::v1, ProxyProtocol::v2}) {
      for (const double loss : {0.0, 0.03}) {
        for (const bool split : {false, true}) {
          const std::vector<CoreRole> cores =
              split ? std::vector{CoreRole::worker, CoreRole::proxy, CoreRole::proxy}
                    : std::vector{CoreRole::both};
          g_world = std::make_unique<CheckWorld>(checked_model(kind, version), cores, lossy(loss),
                                                 ++seed);
          g_world->run(30s);
          expect_in_order(*g_world, kind, version, loss == 0);
        }
      }
    }
  }
}

// A broker whose host is off, and one that refuses: named, and known in time.
void test_brokers_die(void**) {
  config::Model model = checked_model(CheckKind::mqtt, ProxyProtocol::v2);
  model.pools[0].check.timeout = 400ms;
  g_world = std::make_unique<CheckWorld>(model, std::vector{CoreRole::both}, lossy(0), 950);
  g_world->run(5s);
  sim::LinkConfig cut;
  cut.loss = 1;
  g_world->world.set_links(*g_world->hosts[0], cut, cut);
  g_world->hosts[1]->listen(broker_endpoint(1), [](const sim::Segment&) {
    sim::SynVerdict verdict;
    verdict.action = sim::SynVerdict::Action::refuse;
    return verdict;
  });
  g_world->run(2s);
  const auto rows = g_world->dut.monitor().rows(g_world->world.now());
  assert_false(rows[0].up);
  assert_false(rows[1].up);
  assert_true(rows[2].up);
  assert_string_equal(rows[0].why.c_str(), "timeout: SYN not answered");
  assert_string_equal(rows[1].why.c_str(), "connection refused");
}

}  // namespace
}  // namespace mqlb::tests

int main() {
  using namespace mqlb::tests;
  if (!start_eal()) return 1;
  const CMUnitTest tests[] = {
      cmocka_unit_test_teardown(test_checks, drop_check_world),
      cmocka_unit_test_teardown(test_brokers_die, drop_check_world),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
