// The simulated world: virtual time, hosts, links, and one device under test between them.
//
//   Host --Link--> port 0 [ Dut ] port 1 --Link--> Host
//        <-Link---                       <-Link---
//
// Everything is decided by the seed: two runs of one test are the same to the byte. Not thread
// safe. Frames that a host sends go to the device only; frames that the device sends go to the
// host of the destination MAC on that port, or to all for a group address.
//
//   MyDut dut;                                            // a Dut
//   World world({.seed = 7}, dut);
//   Host& clients = world.add_host(0, {...}, link, link); // addresses, MAC
//   Host& brokers = world.add_host(1, {...}, link, link);
//   Ledger ledger;
//   Broker broker(brokers, ledger, {.name = "b1", .address = ..., .proxy = ProxyExpectation::v2});
//   auto conversation = open_client(clients, ledger, plan);
//   world.run();
//   // then: world.violations().total(), conversation->complete(), world.dut_counters()
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/pcap/writer.hh"
#include "tests/support/sim/checks.hh"
#include "tests/support/sim/dut.hh"
#include "tests/support/sim/link.hh"
#include "tests/support/sim/random.hh"
#include "tests/support/sim/violations.hh"

namespace mqlb::sim {

class Host;
struct HostConfig;

struct WorldConfig {
  uint64_t seed = 1;
  Duration tick{1'000};
  // How long the device may keep a segment that it passes on.
  Duration device_delay{5'000};
  // More frames than these from the device in answer to one frame, or at one tick, are a storm.
  uint64_t max_frames_per_event = 16;
  uint64_t max_frames_per_tick = 100'000;
  // run() gives up after so many storms: they feed each other.
  size_t max_storms = 1'000;
};

struct DutCounters {
  uint64_t frames_in = 0;
  uint64_t frames_out = 0;
  uint64_t ticks = 0;
  uint64_t most_per_event = 0;  // frames out for one frame in
  uint64_t most_per_tick = 0;

  [[nodiscard]] double ratio() const {
    return frames_in == 0 ? 0 : static_cast<double>(frames_out) / static_cast<double>(frames_in);
  }
};

class World final : public FrameSink {
 public:
  World(const WorldConfig& config, Dut& dut);
  ~World() override;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // The world owns the host. Its links widen max_reorder and max_transit of rules().
  Host& add_host(unsigned port, const HostConfig& config, const LinkConfig& to_dut,
                 const LinkConfig& from_dut);
  // Changes a host's links from now on.
  void set_links(const Host& host, const LinkConfig& to_dut, const LinkConfig& from_dut);
  [[nodiscard]] const LinkCounters& to_dut_counters(const Host& host) const;
  [[nodiscard]] const LinkCounters& from_dut_counters(const Host& host) const;
  // Puts a frame of the test's own making on a port of the device, now.
  void inject(unsigned port, base::Bytes frame);
  // Records what passes the device's two ports from now on, for looking at a failed run.
  [[nodiscard]] bool capture(const std::string& path);

  void at(Instant when, std::function<void()> action);
  // As at(), but for something that matters only as long as somebody else keeps the world going.
  void maybe_at(Instant when, std::function<void()> action);
  void after(Duration delay, std::function<void()> action) { at(now_ + delay, std::move(action)); }
  // Runs until nothing is left to do (no frame on its way, no connection open, the device not
  // busy), the time is over, or storms rage. True if nothing is left.
  bool run(Duration limit = Duration{3'600'000'000});

  [[nodiscard]] Instant now() const { return now_; }
  [[nodiscard]] Violations& violations() { return violations_; }
  [[nodiscard]] CheckRules& rules() { return rules_; }
  [[nodiscard]] Random& random() { return random_; }
  [[nodiscard]] const DutCounters& dut_counters() const { return counters_; }
  [[nodiscard]] uint64_t events() const { return events_run_; }

  // For Host: an open connection keeps the world going, and the frames it sends.
  void connection_opened() { ++connections_; }
  void connection_closed() { --connections_; }
  void send(const Host& from, std::vector<uint8_t> frame);
  // For the device.
  void transmit(unsigned port, base::Bytes frame) override;

 private:
  struct Attachment {
    unsigned port;
    std::unique_ptr<Host> host;
    Link to_dut;
    Link from_dut;
  };
  struct Event {
    Instant at;
    uint64_t order;
    bool counts;  // keeps the world going
    std::function<void()> action;
  };

  void push(Instant when, bool counts, std::function<void()> action);
  [[nodiscard]] bool idle() const;
  void run_event();
  void into_dut(unsigned port, base::Bytes frame);
  void record(unsigned port, pcap::Direction direction, base::Bytes frame);
  void widen_rules();
  [[nodiscard]] Attachment& attachment(const Host& host) const;
  void out_of_dut(Attachment& to, base::Bytes frame);
  void tick();

  WorldConfig config_;
  Dut& dut_;
  Random random_;
  Instant now_{Duration{1'000'000}};
  Instant next_tick_;
  uint64_t next_order_ = 0;
  uint64_t events_run_ = 0;
  uint64_t counting_events_ = 0;
  uint64_t connections_ = 0;
  std::vector<Event> events_;  // a heap, earliest on top
  std::vector<std::unique_ptr<Attachment>> attachments_;
  Violations violations_;
  CheckRules rules_;
  DutCounters counters_;
  std::optional<pcap::Writer> capture_;
};

}  // namespace mqlb::sim
