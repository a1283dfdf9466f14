// Checks the brokers of all pools that ask for it: when, from which SNAT address and port, and what
// the results make of each broker.
//
// Owner: the control thread. Frames go out by `emit`; those that come back to the ports of checks
// (config::is_check_port) are passed on by the data cores. Several brokers may be checked from one
// port at once. What a SYN-ACK says of a broker's TCP options goes to Shared::learnt.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/random.hh"
#include "lib/control/check_run.hh"
#include "lib/control/health_record.hh"
#include "lib/engine/context.hh"

namespace mqlb::control {

class HealthMonitor {
 public:
  // Sends one Ethernet frame out of a port.
  using Emit = std::function<void(config::PortId, base::Bytes)>;
  // A checked backend is up or down from now on, or `why` is new of a failure. said_so: the broker
  // itself says that it takes nobody.
  using Report = std::function<void(config::BackendId, bool healthy, std::string_view why,
                                    bool said_so, base::Instant)>;
  // Nobody checks the backend any more.
  using Clear = std::function<void(config::BackendId, base::Instant)>;

  // random: for intervals, ports and sequence numbers.
  HealthMonitor(engine::Shared& shared, uint64_t random, Emit emit, Report report, Clear clear);
  ~HealthMonitor();

  // The snapshot in force from now on; it must outlive its use, and the previous one this call.
  // Checks that it no longer asks for end with RST.
  void adopt(const config::Snapshot& snapshot, base::Instant now);
  // A frame that a data core passed on; what is no TCP segment is left alone.
  void receive(base::MutableBytes frame, config::PortId port, base::Instant now);
  // Begins checks that are due, and keeps time; call it each 10 ms, and each millisecond if busy().
  void advance(base::Instant now);
  // A broker's answer is awaited.
  [[nodiscard]] bool busy() const { return waiting_ > 0; }
  // From now on no check begins; those under way go on to their end.
  void wind_down() { winding_down_ = true; }
  // Checks under way end with RST.
  void abort();

  struct Row {
    config::BackendId id = 0;
    wire::Endpoint checked;
    bool up = true;
    base::Duration since{};  // in that state
    std::string why;         // of the latest result; empty: none yet
    bool passed = false;     // the latest result
    base::Duration ago{};    // since then
    base::Duration took{};
    uint64_t checks = 0, failures = 0;
    uint32_t contrary = 0;  // results in a row that speak against the state
    std::string options;    // of the broker's latest SYN-ACK
  };
  [[nodiscard]] std::vector<Row> rows(base::Instant now) const;

 private:
  struct Target;
  struct Run;
  using Tuple = std::pair<wire::Endpoint, wire::Endpoint>;  // ours, the broker's
  using Runs = std::map<Tuple, Run>;

  void adopt_backend(config::BackendId id, base::Instant now);
  void drop_runs(config::BackendId id);
  void notice_stall(base::Instant now);
  void begin_if_due(config::BackendId id, base::Instant now);
  void begin(config::BackendId id, const wire::Endpoint& local, base::Instant now);
  [[nodiscard]] std::optional<wire::Endpoint> choose_local(Target& target, base::Instant now);
  [[nodiscard]] CheckPlan make_plan(config::BackendId id, const wire::Endpoint& local,
                                    base::Instant now);
  [[nodiscard]] std::vector<uint8_t> proxy_header(const config::PoolEntry& pool,
                                                  const wire::Endpoint& local,
                                                  const wire::Endpoint& remote);
  [[nodiscard]] base::Seq32 initial_sequence(const Tuple& tuple, base::Instant now) const;
  void schedule(Target& target, base::Instant now);
  void settle(Run& run, base::Instant now);
  void learn(Target& target, config::BackendId id, const CheckRun& check);
  void note(config::BackendId id, const Verdict& verdict, base::Duration took, base::Instant now);
  void send(config::PortId port, config::NextHopId next_hop, const wire::Segment& segment);
  void refuse(const wire::Packet& packet, config::PortId port, base::Instant now);
  void send_frame(config::PortId port, const wire::Segment& segment);

  engine::Shared& shared_;
  base::Random random_;
  uint64_t sequence_key_;
  uint32_t clock_offset_;
  Emit emit_;
  Report report_;
  base::Instant looked_at_{};  // receive() or advance()
  Clear clear_;
  const config::Snapshot* snapshot_ = nullptr;
  std::vector<std::unique_ptr<Target>> targets_;  // by BackendId; null: not checked
  Runs runs_;
  size_t waiting_ = 0;  // runs that are not over
  bool winding_down_ = false;
  uint64_t begun_ = 0;  // for UNIQUE_ID
  engine::TokenBucket resets_;
};

}  // namespace mqlb::control
