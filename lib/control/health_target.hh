// What HealthMonitor keeps of a broker that it checks, and of a check under way.
#pragma once

#include <optional>
#include <string>

#include "lib/control/health_monitor.hh"

namespace mqlb::control {

struct HealthMonitor::Target {
  // Identity: if one of these differs, the id means another broker.
  std::string name, pool;
  wire::Endpoint backend;
  // How it is asked.
  config::Check check;
  config::ProxyProtocol proxy_protocol = config::ProxyProtocol::none;
  bool crc32c = false, unique_id = false;
  config::PortId port = 0;
  config::NextHopId next_hop = 0;
  std::vector<std::pair<wire::IpAddress, uint16_t>> locals;  // address, first port of checks
  uint16_t ports_each = 0;
  wire::Endpoint remote;

  uint32_t turn = 0;  // which local endpoint is next
  base::Instant next{};
  std::optional<base::Instant> waits_for_neighbour;  // since then
  bool asking = false;                               // a verdict is to come

  HealthRecord record;
  base::Instant since{};
  std::string why;
  bool passed = false;
  base::Instant judged{};
  base::Duration took{};
  std::string options;

  static Target make(const config::Snapshot& snapshot, config::BackendId id);

  [[nodiscard]] bool is_same_broker(const Target& o) const {
    return name == o.name && pool == o.pool && backend == o.backend;
  }
  [[nodiscard]] bool is_same_check(const Target& o) const {
    return check == o.check && proxy_protocol == o.proxy_protocol && crc32c == o.crc32c &&
           unique_id == o.unique_id && port == o.port && next_hop == o.next_hop &&
           locals == o.locals && ports_each == o.ports_each;
  }
  void take_history(const Target& o) {
    record = o.record;
    record.restart();
    since = o.since;
    why = o.why;
    passed = o.passed;
    judged = o.judged;
    took = o.took;
    options = o.options;
  }
};

struct HealthMonitor::Run {
  Run(config::BackendId backend, CheckPlan plan, TcpClient::Emit emit, base::Instant now)
      : id(backend), check(std::move(plan), std::move(emit), now) {}

  config::BackendId id;
  CheckRun check;
  bool learnt = false;
  bool noted = false;
  std::optional<base::Instant> over_since;
};

}  // namespace mqlb::control
