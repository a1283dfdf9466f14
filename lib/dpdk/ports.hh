// DPDK ports: found by device name, given queues, started, and stopped at the end.
//
// Owner: the control thread; data cores use only the queue numbers they were given.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/config/snapshot.hh"
#include "lib/dpdk/multicast.hh"
#include "lib/dpdk/port_sockets.hh"
#include "lib/dpdk/rss.hh"
#include "lib/flow/steering.hh"
#include "lib/wire/address.hh"

struct rte_mempool;

namespace mqlb::dpdk {

struct MempoolDeleter {
  void operator()(rte_mempool* pool) const;
};
using Mempool = std::unique_ptr<rte_mempool, MempoolDeleter>;

// One receive queue that a core polls.
struct RxQueue {
  config::PortId port = 0;
  uint16_t dpdk_port = 0;
  uint16_t queue = 0;
  int socket = PortSockets::kNone;  // readable when a frame arrives
};

struct PortStatistics {
  uint64_t rx_packets = 0, rx_bytes = 0, rx_missed = 0, rx_errors = 0;
  uint64_t tx_packets = 0, tx_bytes = 0;
  bool link_up = false;
};

class Ports {
 public:
  // cores: the role of each data core, by index. A port's receive queues are shared out among the
  // cores that its role needs. key: programs RSS with it where a port has that, so that it is known
  // which core a packet comes to; null: ports are left to do as they do.
  [[nodiscard]] static base::Result<Ports> start(std::span<const config::Port> ports,
                                                 std::span<const config::CoreRole> cores,
                                                 const RssKey* key = nullptr);
  ~Ports();
  Ports(Ports&&) noexcept;
  Ports& operator=(Ports&&) = delete;

  [[nodiscard]] size_t size() const { return ports_.size(); }
  [[nodiscard]] const wire::MacAddress& mac(config::PortId port) const { return ports_[port].mac; }
  [[nodiscard]] uint16_t dpdk_port(config::PortId port) const { return ports_[port].dpdk_port; }
  [[nodiscard]] const std::vector<RxQueue>& queues_of(size_t core) const {
    return core_queues_[core];
  }
  // The queue that a core sends by, or kNoQueue: the port has fewer than there are cores, and the
  // core passes frames to the first core.
  static constexpr uint16_t kNoQueue = 0xffff;
  [[nodiscard]] uint16_t tx_queue(config::PortId port, size_t core) const {
    return core < ports_[port].tx_queues ? static_cast<uint16_t>(core) : kNoQueue;
  }
  [[nodiscard]] Spread spread(config::PortId port) const { return ports_[port].spread; }
  // The core that what clients, and what brokers, send comes to; not known if no port of that side
  // foretells it.
  [[nodiscard]] const flow::Steering& from_clients() const { return from_clients_; }
  [[nodiscard]] const flow::Steering& from_brokers() const { return from_brokers_; }
  [[nodiscard]] rte_mempool* mempool() const { return pool_.get(); }
  [[nodiscard]] PortStatistics statistics(config::PortId port) const;

 private:
  struct Port {
    uint16_t dpdk_port = 0;
    uint16_t rx_queues = 0;
    uint16_t tx_queues = 0;
    std::vector<int> sockets;  // of the receive queues
    AllMulticast multicast;
    wire::MacAddress mac;
    bool started = false;
    Spread spread = Spread::hand_over;
    RssAbility rss;
  };
  Ports() = default;

  base::Result<void> configure(const config::Port& config, std::span<const config::CoreRole> cores,
                               const RssKey* key);
  base::Result<void> start_port(config::PortId id, const config::Port& config,
                                PortSockets& sockets);
  void share_out(config::PortId id, const config::Port& config,
                 std::span<const config::CoreRole> cores);

  void program_rss(std::span<const config::Port> ports, std::span<const config::CoreRole> cores,
                   const RssKey& key);
  [[nodiscard]] flow::Steering steering(std::span<const config::Port> ports,
                                        std::span<const config::CoreRole> cores, const RssKey& key,
                                        config::PortRole side) const;

  Mempool pool_;
  std::vector<Port> ports_;
  std::vector<std::vector<RxQueue>> core_queues_;
  size_t rss_period_ = 0;  // entries after which tables repeat, in all ports that have RSS
  flow::Steering from_clients_;
  flow::Steering from_brokers_;
};

}  // namespace mqlb::dpdk
