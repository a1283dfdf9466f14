// A client host and a broker host with a device between them, for the tests of the simulator.
#pragma once

#include <memory>
#include <string>

#include "tests/support/sim/broker.hh"
#include "tests/support/sim/client.hh"
#include "tests/support/sim/dut.hh"
#include "tests/support/sim/host.hh"
#include "tests/support/sim/ledger.hh"
#include "tests/support/sim/world.hh"

namespace mqlb::sim {

inline wire::IpAddress client_address(uint32_t n) { return wire::IpAddress::v4(0xc6120001U + n); }
inline const wire::Endpoint kBrokerEndpoint{wire::IpAddress::v4(0xc6120064U), 1883};

inline HostConfig client_host() {
  HostConfig c{.name = "client", .mac = {{2, 0, 0, 0, 0, 1}}, .addresses = {}, .gateway = {}};
  for (uint32_t i = 0; i < 8; ++i) c.addresses.push_back(client_address(i));
  return c;
}

inline HostConfig broker_host() {
  return {.name = "broker",
          .mac = {{2, 0, 0, 0, 0, 2}},
          .addresses = {kBrokerEndpoint.address},
          .gateway = {}};
}

// Members in order of construction; kept on the heap because a failed assertion jumps over
// destructors.
struct Net {
  Net(uint64_t seed, std::unique_ptr<Dut> device, const LinkConfig& client_link,
      const LinkConfig& broker_link)
      : dut(std::move(device)),
        world({.seed = seed}, *dut),
        clients(world.add_host(0, client_host(), client_link, client_link)),
        brokers(world.add_host(1, broker_host(), broker_link, broker_link)),
        random(world.random().fork()) {}

  void serve(std::function<BrokerPlan(const Segment&)> plan = nullptr) {
    BrokerConfig config;
    config.name = "broker";
    config.address = kBrokerEndpoint;
    config.plan = std::move(plan);
    broker = std::make_unique<Broker>(brokers, ledger, std::move(config));
  }

  // A client of its own address and port, Client ID and plan.
  ClientPlan plan(uint32_t n) {
    ClientPlan p;
    p.local = {client_address(n % 8), static_cast<uint16_t>(1024 + n / 8)};
    p.listener = kBrokerEndpoint;
    p.connect.client_id = "device-" + std::to_string(n);
    return p;
  }
  ClientPlan random_plan(uint32_t n) {
    ClientPlan p = random_client_plan(random, "device-" + std::to_string(n));
    p.local = plan(n).local;
    p.listener = kBrokerEndpoint;
    return p;
  }

  std::unique_ptr<Dut> dut;
  World world;
  Host& clients;
  Host& brokers;
  Random random;
  Ledger ledger;
  std::unique_ptr<Broker> broker;
};

}  // namespace mqlb::sim
