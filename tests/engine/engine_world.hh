// A simulated network around the real engine: clients on port 0, brokers on port 1.
//
//   clients 198.18.0.0/24 --links-- [ 198.18.0.10:1883 | engine | 198.18.1.100-101 ] --links--
//   brokers
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/engine/local_engine.hh"
#include "tests/support/sim/broker.hh"
#include "tests/support/sim/client.hh"
#include "tests/support/sim/ledger.hh"
#include "tests/support/sim/world.hh"

namespace mqlb::tests {

// Ports of the engine.
inline constexpr unsigned kClients = 0;
inline constexpr unsigned kBrokers = 1;

inline constexpr wire::MacAddress kPortMacs[]{{{0x02, 0, 0, 0, 0xff, 0}},
                                              {{0x02, 0, 0, 0, 0xff, 1}}};
[[nodiscard]] wire::MacAddress client_mac(unsigned host);
[[nodiscard]] wire::MacAddress broker_mac(unsigned broker);
[[nodiscard]] wire::IpAddress client_address(unsigned host);
[[nodiscard]] wire::Endpoint broker_endpoint(unsigned broker);
[[nodiscard]] wire::Endpoint listener_endpoint();
[[nodiscard]] wire::IpAddress snat_address(unsigned i);
// Whose address it is.
[[nodiscard]] unsigned client_at(const wire::IpAddress& address);
[[nodiscard]] unsigned broker_at(const wire::IpAddress& address);

// What the networks speak: FAMILIES in the environment is ipv4 (the default), ipv6, or the clients'
// and the brokers' family with a hyphen between, as in ipv6-ipv4.
struct Families {
  bool clients_v6 = false;
  bool brokers_v6 = false;
};
[[nodiscard]] const Families& families();

// The EAL without privileges or hugepages; once per process.
bool start_eal();

// Which core a port brings a frame to.
using Spread = std::function<size_t(unsigned port, base::Bytes frame)>;

// The engine as the simulator's device. With several cores each frame goes to a random one, as a
// port whose hash cannot be predicted would have it, unless there is a `spread`.
class EngineDut final : public sim::Dut {
 public:
  EngineDut(const config::Model& model, const engine::LocalEngineOptions& options, uint64_t seed,
            Spread spread = {});

  void receive(unsigned port, base::Bytes frame, base::Instant now, sim::FrameSink& out) override;
  void advance(base::Instant now, sim::FrameSink& out) override;
  [[nodiscard]] bool busy() const override { return flows() > 0; }

  // Takes a changed configuration over.
  void reconfigure(const config::Model& model, base::Instant now);

  [[nodiscard]] engine::LocalEngine& engine() { return *engine_; }
  [[nodiscard]] uint64_t flows() const;
  [[nodiscard]] uint64_t snat_ports_in_use() const;
  // That limits of listeners know of.
  [[nodiscard]] uint64_t counted_connections() const;
  // Places that are taken at backends.
  [[nodiscard]] uint64_t connections_at_backends() const;
  // Frames in, and frames made by the engine, that are neither sent nor dropped nor held: 0.
  [[nodiscard]] int64_t unaccounted_frames() const;

 private:
  sim::FrameSink* out_ = nullptr;
  sim::Random random_;
  Spread spread_;
  std::unique_ptr<engine::LocalEngine> engine_;
};

struct Setup {
  uint64_t seed = 1;
  config::Model model;
  engine::LocalEngineOptions options;
  Spread spread;
  sim::LinkConfig client_link;
  sim::LinkConfig broker_link;
  unsigned client_hosts = 4;
  unsigned brokers = 3;
  std::function<sim::BrokerPlan(unsigned broker, sim::Random&)> broker_plan;
  std::vector<sim::Fault> allowed;  // violations that the test expects
};

// Two client networks' worth of addresses, three brokers, PROXY v2, short timeouts for closing.
Setup default_setup(uint64_t seed);

class EngineWorld {
 public:
  explicit EngineWorld(const Setup& setup);

  // Opens a connection at `when` after now, from a client address and port of its own.
  void client(base::Duration when, sim::ClientPlan plan);
  // The same from plan.local, which is one of the client hosts' addresses.
  void client_at(base::Duration when, sim::ClientPlan plan);
  // Until nothing is left to do.
  void run();

  [[nodiscard]] sim::World& world() { return world_; }
  [[nodiscard]] EngineDut& dut() { return dut_; }
  [[nodiscard]] sim::Random& random() { return random_; }
  [[nodiscard]] const std::vector<std::shared_ptr<sim::Conversation>>& conversations() const {
    return conversations_;
  }
  [[nodiscard]] sim::Broker& broker(size_t i) { return *brokers_[i]; }
  [[nodiscard]] sim::Host& client_host(size_t i) { return *clients_[i]; }
  [[nodiscard]] sim::Host& broker_host(size_t i) { return *broker_hosts_[i]; }
  [[nodiscard]] engine::LocalEngine& engine() { return dut_.engine(); }

 private:
  sim::Random random_;
  EngineDut dut_;
  sim::World world_;
  sim::Ledger ledger_;
  std::vector<sim::Host*> clients_;
  std::vector<sim::Host*> broker_hosts_;
  std::vector<std::unique_ptr<sim::Broker>> brokers_;
  std::vector<std::shared_ptr<sim::Conversation>> conversations_;
  uint32_t next_client_ = 0;
};

}  // namespace mqlb::tests
