#include "tests/engine/engine_world.hh"

#include <rte_eal.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/support/models.hh"

namespace mqlb::tests {
namespace {

using wire::IpAddress;
using wire::MacAddress;

constexpr uint32_t kClientNetwork = 0xc6120000;  // 198.18.0.0
constexpr uint32_t kBrokerNetwork = 0xc6120100;  // 198.18.1.0
constexpr uint32_t kFirstClientHost = 20;
constexpr uint32_t kFirstBrokerHost = 11;

template <typename T>
T must(base::Result<T> result) {
  if (!result) {
    std::fprintf(stderr, "%s\n", result.error().message.c_str());
    std::abort();
  }
  return std::move(*result);
}

std::unique_ptr<const config::Snapshot> compile(const config::Model& model,
                                                const config::Snapshot* previous) {
  if (auto valid = config::validate(model); !valid) {
    std::fprintf(stderr, "%s\n", valid.error().message.c_str());
    std::abort();
  }
  return must(config::compile(model, previous, {}));
}

sim::ProxyExpectation expectation(config::ProxyProtocol version) {
  switch (version) {
    case config::ProxyProtocol::none:
      return sim::ProxyExpectation::none;
    case config::ProxyProtocol::v1:
      return sim::ProxyExpectation::v1;
    case config::ProxyProtocol::v2:
      return sim::ProxyExpectation::v2;
  }
  return sim::ProxyExpectation::none;
}

// The same host of another family: what is 198.18.1.11 is 2001:db8:0:1201::b.
IpAddress address_of(uint32_t ipv4, bool v6) {
  return v6 ? in_ipv6(IpAddress::v4(ipv4)) : IpAddress::v4(ipv4);
}
IpAddress of_clients(uint32_t host) {
  return address_of(kClientNetwork + host, families().clients_v6);
}
IpAddress of_brokers(uint32_t host) {
  return address_of(kBrokerNetwork + host, families().brokers_v6);
}
uint8_t last_octet(const IpAddress& address) { return address.octets()[15]; }
wire::Prefix network_of(const IpAddress& address) {
  return {address, static_cast<uint8_t>(address.is_v4() ? 24 : 64)};
}

}  // namespace

MacAddress client_mac(unsigned host) { return {{0x02, 0, 0, 0, 1, static_cast<uint8_t>(host)}}; }
MacAddress broker_mac(unsigned broker) {
  return {{0x02, 0, 0, 0, 2, static_cast<uint8_t>(broker)}};
}
IpAddress client_address(unsigned host) { return of_clients(kFirstClientHost + host); }
wire::Endpoint broker_endpoint(unsigned broker) {
  return {of_brokers(kFirstBrokerHost + broker), 1883};
}
wire::Endpoint listener_endpoint() { return {of_clients(10), 1883}; }
IpAddress snat_address(unsigned i) { return of_brokers(100 + i); }
unsigned client_at(const IpAddress& address) { return last_octet(address) - kFirstClientHost; }
unsigned broker_at(const IpAddress& address) { return last_octet(address) - kFirstBrokerHost; }

const Families& families() {
  static const Families asked = [] {
    const char* set = std::getenv("FAMILIES");
    const std::string text = set == nullptr ? "ipv4" : set;
    const size_t hyphen = text.find('-');
    return Families{text.substr(0, hyphen) == "ipv6",
                    text.substr(hyphen == std::string::npos ? 0 : hyphen + 1) == "ipv6"};
  }();
  return asked;
}

bool start_eal() {
  static const bool started = [] {
    const char* arguments[] = {
        "test", "--no-huge", "--no-shconf", "--no-pci",       "-m",
        "256",  "-l",        "0",           "--no-telemetry", "--log-level=error"};
    return rte_eal_init(static_cast<int>(std::size(arguments)), const_cast<char**>(arguments)) >= 0;
  }();
  return started;
}

EngineDut::EngineDut(const config::Model& model, const engine::LocalEngineOptions& options,
                     uint64_t seed, Spread spread)
    : random_(seed), spread_(std::move(spread)) {
  engine_ = must(engine::LocalEngine::create(
      compile(model, nullptr), {kPortMacs[0], kPortMacs[1]}, options,
      [this](config::PortId port, base::Bytes frame) { out_->transmit(port, frame); },
      base::Instant(std::chrono::seconds(1))));
}

void EngineDut::receive(unsigned port, base::Bytes frame, base::Instant now, sim::FrameSink& out) {
  out_ = &out;
  const size_t core = spread_ ? spread_(port, frame) : random_.below(engine_->core_count());
  engine_->receive(static_cast<config::PortId>(port), frame, now, core);
}

void EngineDut::advance(base::Instant now, sim::FrameSink& out) {
  out_ = &out;
  engine_->advance(now);
}

void EngineDut::reconfigure(const config::Model& model, base::Instant now) {
  if (!engine_->adopt(compile(model, &engine_->snapshot()), now)) std::abort();
}

uint64_t EngineDut::flows() const {
  uint64_t n = 0;
  for (size_t i = 0; i < engine_->core_count(); ++i) {
    engine::Core& core = engine_->core(i);
    if (core.worker() != nullptr) n += core.worker()->flows().size();
    if (core.proxy() != nullptr) n += core.proxy()->flows().size();
  }
  return n;
}

uint64_t EngineDut::snat_ports_in_use() const {
  uint64_t n = 0;
  for (size_t i = 0; i < engine_->core_count(); ++i) {
    if (engine_->core(i).proxy() == nullptr) continue;
    for (const auto& use : engine_->core(i).proxy()->port_use()) n += use.in_use;
  }
  return n;
}

uint64_t EngineDut::connections_at_backends() const {
  uint64_t n = 0;
  for (config::BackendId id = 0; id < engine_->snapshot().backends.size(); ++id) {
    n += engine_->shared().loads.lookup(id);
  }
  return n;
}

uint64_t EngineDut::counted_connections() const {
  uint64_t n = 0;
  for (config::ListenerId id = 0; id < config::kMaxListeners; ++id) {
    n += engine_->shared().gates[id].connections.load();
  }
  return n;
}

int64_t EngineDut::unaccounted_frames() const {
  using base::Event;
  int64_t n = 0;
  for (size_t i = 0; i < engine_->core_count(); ++i) {
    const base::CoreCounters& c = engine_->core(i).counters();
    const auto event = [&c](Event e) {
      return static_cast<int64_t>(c.events[static_cast<size_t>(e)].value());
    };
    n += event(Event::frames_in) + event(Event::frames_built);
    n -= event(Event::frames_out) + event(Event::frames_handed_over);
    for (const base::Counter& drop : c.drops) n -= static_cast<int64_t>(drop.value());
  }
  return n;
}

Setup default_setup(uint64_t seed) {
  Setup s;
  if (const char* other = std::getenv("SEED"))
    seed += 1'000'000 * std::strtoull(other, nullptr, 10);
  s.seed = seed;
  config::Model& m = s.model;
  m.ports = {{"clients", "c", config::PortRole::client, 1500, {}},
             {"brokers", "b", config::PortRole::backend, 1500, {}}};
  m.ports[0].addresses = {network_of(of_clients(1))};
  m.ports[1].addresses = {network_of(of_brokers(1))};
  m.snat_pools = {{"outside", {snat_address(0), snat_address(1)}, 1024, 65535}};
  config::Pool pool;
  pool.name = "emqx";
  pool.snat = "outside";
  pool.proxy_protocol = config::ProxyProtocol::v2;
  for (unsigned i = 0; i < s.brokers; ++i) {
    pool.backends.push_back({"broker" + std::to_string(i + 1), broker_endpoint(i), 1});
  }
  m.pools = {pool};
  config::Listener listener;
  listener.name = "mqtt";
  listener.endpoint = listener_endpoint();
  listener.pool = "emqx";
  listener.admission.source_v6_bits = 128;  // clients have a network in common
  m.listeners = {listener};
  m.settings.max_flows = 20000;
  m.settings.max_connecting = 4096;
  s.options.buffers = 16384;
  s.options.secret[0] = static_cast<uint8_t>(seed);
  s.options.random = static_cast<uint32_t>(seed * 2654435761U + 1);
  return s;
}

EngineWorld::EngineWorld(const Setup& setup)
    : random_(setup.seed ^ 0x5eed),
      dut_(setup.model, setup.options, setup.seed, setup.spread),
      world_({.seed = setup.seed, .max_frames_per_event = 24}, dut_) {
  for (unsigned i = 0; i < setup.client_hosts; ++i) {
    sim::HostConfig host;
    host.name = "client" + std::to_string(i);
    host.mac = client_mac(i);
    host.addresses = {client_address(i)};
    clients_.push_back(&world_.add_host(0, host, setup.client_link, setup.client_link));
  }
  const config::Pool& pool = setup.model.pools[0];
  for (unsigned i = 0; i < setup.brokers; ++i) {
    sim::HostConfig host;
    host.name = "broker" + std::to_string(i + 1);
    host.mac = broker_mac(i);
    host.addresses = {broker_endpoint(i).address};
    sim::Host& h = world_.add_host(1, host, setup.broker_link, setup.broker_link);
    broker_hosts_.push_back(&h);
    sim::BrokerConfig config;
    config.name = host.name;
    config.address = broker_endpoint(i);
    config.proxy = expectation(pool.proxy_protocol);
    config.proxy_crc32c = pool.proxy_crc32c;
    config.proxy_unique_id = pool.proxy_unique_id;
    if (setup.broker_plan) {
      config.plan = [this, i, plan = setup.broker_plan](const sim::Segment&) {
        return plan(i, random_);
      };
    }
    brokers_.push_back(std::make_unique<sim::Broker>(h, ledger_, config));
  }
  for (const sim::Fault fault : setup.allowed) world_.violations().allow(fault);
  world_.rules().device_may_acknowledge = 70'000;
  world_.rules().device_window = 29200;
}

void EngineWorld::client(base::Duration when, sim::ClientPlan plan) {
  const uint32_t n = next_client_++;
  const auto hosts = static_cast<uint32_t>(clients_.size());
  plan.local = {client_address(n % hosts), static_cast<uint16_t>(1024 + n / hosts % 60000)};
  client_at(when, plan);
}

void EngineWorld::client_at(base::Duration when, sim::ClientPlan plan) {
  plan.listener = listener_endpoint();
  const unsigned host = tests::client_at(plan.local.address);
  world_.after(when, [this, host, plan] {
    conversations_.push_back(sim::open_client(*clients_[host], ledger_, plan));
  });
}

void EngineWorld::run() { world_.run(); }

}  // namespace mqlb::tests
