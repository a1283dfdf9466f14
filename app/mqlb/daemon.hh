// The running balancer: ports, data cores, and the control thread that looks after them.
//
// Everything here belongs to the control thread (the main lcore); data cores run CoreLoop objects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "app/mqlb/object_sums.hh"
#include "lib/base/result.hh"
#include "lib/cli/runtime.hh"
#include "lib/control/backend_states.hh"
#include "lib/control/fight_watch.hh"
#include "lib/control/health_monitor.hh"
#include "lib/control/snat_watch.hh"
#include "lib/dpdk/clock.hh"
#include "lib/dpdk/core_loop.hh"
#include "lib/dpdk/fabric.hh"
#include "lib/dpdk/ports.hh"
#include "lib/engine/neighbour_resolver.hh"

namespace mqlb::app {

class Daemon : public cli::Runtime {
 public:
  // model: valid. EAL is initialised. Ports are started and memory is taken; no core runs yet.
  [[nodiscard]] static base::Result<std::unique_ptr<Daemon>> create(const config::Model& model);
  // Stops the cores and waits for them.
  ~Daemon() override;

  // Starts the data cores.
  [[nodiscard]] base::Result<void> start();
  // Neighbours and their link addresses, health checks, the states of backends; call it at least
  // each 10 ms, and each millisecond if busy().
  void advance();
  [[nodiscard]] bool busy() const { return health_->busy(); }
  // Nothing is left half open at brokers: a check under way comes to its end, within half a second,
  // or is reset. The data path goes on meanwhile. The last call before the end.
  void finish_checks();
  [[nodiscard]] bool stop_requested() const { return stop_requested_; }

  // cli::Runtime
  const config::Model& model() const override { return model_; }
  base::Result<void> apply(const config::Model& model) override;
  std::vector<cli::CounterRow> counters() override;
  std::vector<cli::PortRow> ports() override;
  std::vector<cli::CoreRow> cores() override;
  std::vector<cli::BufferRow> buffers() override;
  std::vector<cli::NeighbourRow> neighbours() override;
  std::vector<cli::BackendRow> backends() override;
  std::vector<cli::HealthRow> health() override;
  std::vector<cli::ListenerRow> listeners() override;
  std::vector<cli::ClientIdRow> client_ids() override;
  std::vector<cli::SourceRow> sources() override;
  std::vector<cli::SnatRow> snats() override;
  std::vector<cli::FlowRow> flows(const cli::FlowFilter& filter) override;
  base::Result<cli::RouteAnswer> route(const cli::RouteQuery& query) override;
  void request_stop() override { stop_requested_ = true; }

 private:
  struct DataCore {
    unsigned lcore = 0;
    config::CoreRole role = config::CoreRole::both;
    std::unique_ptr<dpdk::CoreLoop> loop;
    bool launched = false;
    flow::FlowIndex close_next = 0;  // where the next search for flows to close begins
  };
  struct RcuDeleter {
    void operator()(rte_rcu_qsbr* rcu) const;
  };

  explicit Daemon(const config::Model& model);

  base::Result<void> choose_cores();
  base::Result<void> build();
  base::Result<void> make_rcu();
  void make_health();
  base::Result<void> adopt_limits(const config::Snapshot& snapshot);
  void send(config::PortId port, base::Bytes frame);
  [[nodiscard]] config::IdUse id_use() const;
  void choose(const config::PoolEntry& pool, cli::RouteAnswer& answer);
  void watch_failures(base::Instant now);
  void forget_removed();
  [[nodiscard]] std::vector<control::SnatWatch::Use> port_uses();
  uint32_t close_flows(config::BackendId id, uint32_t most);
  // Of all workers, as ClientIdWatch::merge() leaves them.
  std::vector<admission::ClientIdWatch::Row> watched_client_ids(
      admission::ClientIdWatch::Which which);

  config::Model model_;
  dpdk::Clock clock_;
  engine::Shared shared_;
  dpdk::Board board_;
  std::unique_ptr<rte_rcu_qsbr, RcuDeleter> rcu_;
  std::unique_ptr<const config::Snapshot> snapshot_;
  std::unique_ptr<dpdk::Ports> ports_;
  std::unique_ptr<dpdk::Fabric> fabric_;
  std::unique_ptr<engine::NeighbourResolver> resolver_;
  std::unique_ptr<control::BackendStates> states_;
  std::unique_ptr<control::HealthMonitor> health_;
  std::unique_ptr<control::SnatWatch> snat_watch_;
  std::unique_ptr<control::FightWatch> fight_watch_;
  std::array<uint64_t, config::kMaxBackends> faults_{};  // by backend, as seen last
  std::vector<DataCore> cores_;
  ObjectSums sums_;  // of cores_
  base::Instant last_second_{};
  bool stop_requested_ = false;
};

}  // namespace mqlb::app
