#include "lib/dpdk/ports.hh"

#include <rte_ethdev.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstring>

namespace mqlb::dpdk {
namespace {

constexpr uint16_t kDescriptors = 1024;
constexpr unsigned kCache = 256;
constexpr unsigned kHeldFrames = 8192;  // room for what workers hold (kMaxHeldFrames) and bursts

bool takes_part(config::PortRole port, config::CoreRole core) {
  if (port == config::PortRole::both || core == config::CoreRole::both) return true;
  return (port == config::PortRole::client) == (core == config::CoreRole::worker);
}

// Of all cores, by index, those that poll a port with this role.
std::vector<size_t> pollers_of(config::PortRole port, std::span<const config::CoreRole> cores) {
  std::vector<size_t> pollers;
  for (size_t core = 0; core < cores.size(); ++core) {
    if (takes_part(port, cores[core])) pollers.push_back(core);
  }
  return pollers;
}

// RSS does not tell clients' packets from brokers': where both come by one port, cores must take
// both.
bool owners_poll(config::PortRole port, std::span<const config::CoreRole> cores) {
  return port != config::PortRole::both ||
         std::all_of(cores.begin(), cores.end(),
                     [](config::CoreRole core) { return core == config::CoreRole::both; });
}

std::string error_text(const config::Port& port, const char* what, int code) {
  return "port " + port.name + " (" + port.device + "): " + what + ": " + rte_strerror(-code);
}

// Sockets in a fan-out group get packets whether they are polled or not, so all must be.
bool queues_are_fixed(const rte_eth_dev_info& info) {
  return std::strstr(info.driver_name, "af_packet") != nullptr ||
         std::strstr(info.driver_name, "af_xdp") != nullptr ||
         std::strstr(info.driver_name, "ring") != nullptr ||
         std::strstr(info.driver_name, "pcap") != nullptr;
}

}  // namespace

void MempoolDeleter::operator()(rte_mempool* pool) const { rte_mempool_free(pool); }

Ports::Ports(Ports&& other) noexcept
    : pool_(std::move(other.pool_)),
      ports_(std::exchange(other.ports_, {})),
      core_queues_(std::move(other.core_queues_)),
      rss_period_(other.rss_period_),
      from_clients_(std::move(other.from_clients_)),
      from_brokers_(std::move(other.from_brokers_)) {}

Ports::~Ports() {
  for (const Port& port : ports_) {
    if (port.started) rte_eth_dev_stop(port.dpdk_port);
    rte_eth_dev_close(port.dpdk_port);
  }
}

base::Result<Ports> Ports::start(std::span<const config::Port> ports,
                                 std::span<const config::CoreRole> cores, const RssKey* key) {
  Ports out;
  out.core_queues_.resize(cores.size());
  for (const config::Port& port : ports) {
    if (auto done = out.configure(port, cores, key); !done) return tl::unexpected(done.error());
  }
  unsigned buffers = kHeldFrames;
  uint16_t room = RTE_MBUF_DEFAULT_BUF_SIZE;
  for (size_t i = 0; i < ports.size(); ++i) {
    buffers +=
        unsigned{kDescriptors} * (unsigned{out.ports_[i].rx_queues} + out.ports_[i].tx_queues);
    const unsigned needed = ports[i].mtu + RTE_PKTMBUF_HEADROOM + 64U;
    room = static_cast<uint16_t>(std::max<unsigned>(room, needed));
  }
  buffers += kCache * 2 * static_cast<unsigned>(cores.size());
  out.pool_.reset(rte_pktmbuf_pool_create("mqlb_frames", buffers, kCache, 0, room,
                                          static_cast<int>(rte_socket_id())));
  if (!out.pool_) {
    return base::fail("no memory for " + std::to_string(buffers) + " packet buffers: " +
                      rte_strerror(rte_errno) + " (more DPDK memory: -m, or hugepages)");
  }
  PortSockets sockets;
  for (size_t i = 0; i < ports.size(); ++i) {
    const auto id = static_cast<config::PortId>(i);
    if (auto done = out.start_port(id, ports[i], sockets); !done) {
      return tl::unexpected(done.error());
    }
    out.share_out(id, ports[i], cores);
  }
  if (key != nullptr) out.program_rss(ports, cores, *key);
  return out;
}

base::Result<void> Ports::configure(const config::Port& config,
                                    std::span<const config::CoreRole> cores, const RssKey* key) {
  Port port;
  if (const int code = rte_eth_dev_get_port_by_name(config.device.c_str(), &port.dpdk_port);
      code != 0) {
    return base::fail("port " + config.name + ": DPDK has no device '" + config.device +
                      "'; see the EAL arguments (--vdev, -a)");
  }
  rte_eth_dev_info info{};
  if (const int code = rte_eth_dev_info_get(port.dpdk_port, &info); code != 0) {
    return base::fail(error_text(config, "no device information", code));
  }
  const auto pollers = static_cast<uint16_t>(pollers_of(config.role, cores).size());
  if (pollers == 0) {
    return base::fail("port " + config.name + ": no core has a role that serves it");
  }
  port.rx_queues =
      queues_are_fixed(info) ? info.max_rx_queues : std::min(pollers, info.max_rx_queues);
  port.tx_queues = std::min<uint16_t>(static_cast<uint16_t>(cores.size()), info.max_tx_queues);
  if (queues_are_fixed(info)) port.tx_queues = info.max_tx_queues;
  rte_eth_conf eth{};
  if (port.rx_queues > 1 && info.flow_type_rss_offloads != 0) {
    eth.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    eth.rx_adv_conf.rss_conf.rss_hf = rss_ability(info).functions;
  }
  port.rss = rss_ability(info);
  if (pollers == 1) {
    port.spread = Spread::one_core;
  } else if (port.rx_queues == 1) {
    port.spread = Spread::one_queue;
  } else if (key != nullptr && port.rx_queues == pollers && port.rss.foretells() &&
             owners_poll(config.role, cores)) {
    port.spread = Spread::rss;  // to be verified once it runs
    eth.rx_adv_conf.rss_conf.rss_key = const_cast<uint8_t*>(key->data());
    eth.rx_adv_conf.rss_conf.rss_key_len = static_cast<uint8_t>(port.rss.key_bytes);
  }
  eth.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
  eth.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
  if (const int code = rte_eth_dev_configure(port.dpdk_port, port.rx_queues, port.tx_queues, &eth);
      code != 0) {
    return base::fail(error_text(config, "cannot be configured", code));
  }
  rte_ether_addr mac{};
  if (const int code = rte_eth_macaddr_get(port.dpdk_port, &mac); code != 0) {
    return base::fail(error_text(config, "no link address", code));
  }
  port.mac = wire::MacAddress::load(mac.addr_bytes);
  ports_.push_back(std::move(port));
  return {};
}

base::Result<void> Ports::start_port(config::PortId id, const config::Port& config,
                                     PortSockets& sockets) {
  Port& port = ports_[id];
  uint16_t rx_descriptors = kDescriptors;
  uint16_t tx_descriptors = kDescriptors;
  int code = rte_eth_dev_adjust_nb_rx_tx_desc(port.dpdk_port, &rx_descriptors, &tx_descriptors);
  rte_eth_dev_info info{};
  if (code == 0) code = rte_eth_dev_info_get(port.dpdk_port, &info);
  const int socket = rte_eth_dev_socket_id(port.dpdk_port);
  const auto node = static_cast<unsigned>(socket);
  for (uint16_t q = 0; code == 0 && q < port.rx_queues; ++q) {
    code = rte_eth_rx_queue_setup(port.dpdk_port, q, rx_descriptors, node, nullptr, pool_.get());
    port.sockets.push_back(sockets.claim(info.driver_name, info.if_index));
  }
  for (uint16_t q = 0; code == 0 && q < port.tx_queues; ++q) {
    code = rte_eth_tx_queue_setup(port.dpdk_port, q, tx_descriptors, node, nullptr);
  }
  if (code != 0) return base::fail(error_text(config, "a queue cannot be set up", code));
  // Devices that cannot are left at what they have.
  rte_eth_dev_set_mtu(port.dpdk_port, config.mtu);
  code = rte_eth_dev_start(port.dpdk_port);
  if (code != 0) return base::fail(error_text(config, "cannot be started", code));
  port.started = true;
  rte_eth_promiscuous_disable(port.dpdk_port);
  port.multicast = AllMulticast(port.dpdk_port, info.if_index);
  return {};
}

void Ports::share_out(config::PortId id, const config::Port& config,
                      std::span<const config::CoreRole> cores) {
  const std::vector<size_t> pollers = pollers_of(config.role, cores);
  for (uint16_t q = 0; q < ports_[id].rx_queues; ++q) {
    core_queues_[pollers[q % pollers.size()]].push_back(
        {id, ports_[id].dpdk_port, q, ports_[id].sockets[q]});
  }
}

// Queue q is polled by the q-th of the cores that the port's role needs: see share_out().
void Ports::program_rss(std::span<const config::Port> ports,
                        std::span<const config::CoreRole> cores, const RssKey& key) {
  rss_period_ = SIZE_MAX;
  for (const Port& port : ports_) {
    if (port.spread == Spread::rss) rss_period_ = std::min(rss_period_, port.rss.entries);
  }
  for (Port& port : ports_) {
    if (port.spread != Spread::rss) continue;
    EthRssDevice device(port.dpdk_port);
    port.spread = dpdk::program_rss(device, port.rss, std::span(key).first(port.rss.key_bytes),
                                    rss_table(port.rss.entries, rss_period_, port.rx_queues));
  }
  from_clients_ = steering(ports, cores, key, config::PortRole::client);
  from_brokers_ = steering(ports, cores, key, config::PortRole::backend);
}

flow::Steering Ports::steering(std::span<const config::Port> ports,
                               std::span<const config::CoreRole> cores, const RssKey& key,
                               config::PortRole side) const {
  bool known = false;
  for (size_t i = 0; i < ports.size(); ++i) {
    const bool serves = ports[i].role == side || ports[i].role == config::PortRole::both;
    known = known || (serves && ports_[i].spread == Spread::rss);
  }
  if (!known) return {};
  const std::vector<size_t> owners = pollers_of(side, cores);
  std::vector<flow::CoreIndex> table;
  for (const uint16_t q :
       rss_table(rss_period_, rss_period_, static_cast<uint16_t>(owners.size()))) {
    table.push_back(static_cast<flow::CoreIndex>(owners[q]));
  }
  return {flow::Toeplitz(std::span(key).first<flow::Toeplitz::kKeyBytes>()), std::move(table)};
}

PortStatistics Ports::statistics(config::PortId id) const {
  const Port& port = ports_[id];
  rte_eth_stats stats{};
  rte_eth_link link{};
  PortStatistics out;
  if (rte_eth_stats_get(port.dpdk_port, &stats) == 0) {
    out.rx_packets = stats.ipackets;
    out.rx_bytes = stats.ibytes;
    out.rx_missed = stats.imissed;
    out.rx_errors = stats.ierrors + stats.rx_nombuf;
    out.tx_packets = stats.opackets;
    out.tx_bytes = stats.obytes;
  }
  if (rte_eth_link_get_nowait(port.dpdk_port, &link) == 0) {
    out.link_up = link.link_status == RTE_ETH_LINK_UP;
  }
  return out;
}

}  // namespace mqlb::dpdk
