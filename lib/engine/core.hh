// One data core: sorts frames by what they are for and runs its roles over them.
//
// The same object serves a NIC, a capture file and a test: frames and messages come in by calls,
// go out through FrameIo and MessageSink, and time is an argument. Not thread-safe: one thread owns
// it, except where noted.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "lib/base/result.hh"
#include "lib/engine/context.hh"
#include "lib/engine/icmp_error.hh"
#include "lib/engine/proxy.hh"
#include "lib/engine/worker.hh"
#include "lib/wire/ndp.hh"

namespace mqlb::engine {

class alignas(base::kCacheLine) Core {
 public:
  // snapshot must outlive its use; see adopt(). others: how other cores and the control thread are
  // reached. Memory for max_flows and max_connecting of the settings is taken here.
  [[nodiscard]] static base::Result<std::unique_ptr<Core>> create(CoreIndex index,
                                                                  config::CoreRole role,
                                                                  Shared& shared, FrameIo& io,
                                                                  MessageSink& others,
                                                                  const config::Snapshot& snapshot);
  ~Core();

  // From here on the previous snapshot is not read any more.
  void adopt(const config::Snapshot& snapshot);
  void set_time(base::Instant now) {
    context_.now = now;
    context_.now_seconds = base::to_seconds(now);
  }
  // Takes the frames; Frame::port says where each came in.
  void receive(std::span<const Frame> frames);
  void receive(const Message& message);
  // Counts a frame that the shell could not even pass on.
  void refuse_frame(base::Drop reason) {
    context_.counters[base::Event::frames_in].add();
    context_.counters[reason].add();
  }
  // Timers and sweeps; call it at least each millisecond while there is traffic.
  void advance();
  // Passes everything collected to the shell.
  void flush() { context_.output.flush(); }
  // Sends a ready frame of the control thread.
  void transmit(config::PortId port, const Frame& frame) { context_.output.transmit(port, frame); }

  // Any thread may read counters.
  [[nodiscard]] const base::CoreCounters& counters() const { return context_.counters; }
  [[nodiscard]] const ObjectCounters& objects() const { return *context_.objects; }
  [[nodiscard]] uint64_t tx_full(config::PortId port) const {
    return context_.output.tx_full(port);
  }
  // TCP frames that a port brought to another core than Shared's steering says. Any thread may ask.
  [[nodiscard]] uint64_t missteered(config::PortId port) const { return missteered_[port].value(); }
  // Null without the role. For reports, on the owning thread.
  [[nodiscard]] Worker* worker() { return worker_.get(); }
  [[nodiscard]] Proxy* proxy() { return proxy_.get(); }
  [[nodiscard]] CoreContext& context() { return context_; }
  // Buffers that wait in the Output for their first use.
  [[nodiscard]] size_t spare_buffers() const { return context_.output.spare(); }

 private:
  // Messages to this core wait in a queue until its present work is done.
  class LocalFirst : public MessageSink {
   public:
    LocalFirst(CoreIndex self, MessageSink& others) : self_(self), others_(others) {}
    bool send(const Message& message) override {
      if (message.to != self_) return others_.send(message);
      queue.push_back(message);
      return true;
    }
    bool hand_over(CoreIndex to, const Frame& frame) override {
      return others_.hand_over(to, frame);
    }
    void to_control(const Frame& frame) override { others_.to_control(frame); }

    std::vector<Message> queue;

   private:
    CoreIndex self_;
    MessageSink& others_;
  };

  struct Batch {
    size_t count = 0;
    std::array<Arrival*, kMaxBurst> arrivals;
  };
  // What of a port's configuration each frame asks for.
  struct PortRules {
    wire::ParseRules parse;
    bool brokers_only = false;
  };

  Core(CoreIndex index, Shared& shared, FrameIo& io, MessageSink& others)
      : local_(index, others), context_(index, shared, io, local_) {}

  void sort(Arrival& arrival);
  void sort_tcp(Arrival& arrival, const wire::IpAddress& source,
                const wire::IpAddress& destination);
  void sort_tcp_v6(Arrival& arrival);
  void sort_to_worker(Arrival& arrival, const wire::IpAddress& source, uint16_t vip);
  void sort_to_proxy(Arrival& arrival, const wire::IpAddress& source, config::SnatId snat);
  void refuse_address(Arrival& arrival, bool ours);
  [[nodiscard]] bool is_own_client(const Arrival& arrival);
  [[nodiscard]] bool is_own_port(const Arrival& arrival);
  void run_batches();
  void deliver_local();
  void deliver(const Message& message);
  // neighbours.cc
  void answer_arp(wire::Packet& packet, const Frame& frame);
  void on_neighbour(wire::Packet& packet, const Frame& frame);
  void answer_solicitation(const wire::Neighbour& asked, wire::Packet& packet, const Frame& frame);
  [[nodiscard]] bool answers_for(const wire::IpAddress& address, config::PortId port) const;
  void hand_over(CoreIndex to, const Frame& frame);
  void check_steering(const flow::Steering& steering, config::PortRole other_side,
                      const Arrival& arrival);
  [[nodiscard]] CoreIndex worker_for(const wire::Endpoint& client,
                                     const wire::Endpoint& listener) const;
  [[nodiscard]] CoreIndex proxy_for(uint16_t snat_port) const;

  // icmp.cc
  void on_icmp(wire::Packet& packet, const Frame& frame);
  void answer_echo(wire::Packet& packet, const Frame& frame);
  void on_icmp_error(wire::Packet& packet, const Frame& frame);
  void error_to_client(wire::Packet& packet, const Frame& frame, config::SnatId snat);
  void error_to_broker(wire::Packet& packet, const Frame& frame, uint16_t vip);
  struct IcmpPath {
    wire::IpAddress source, destination;
    wire::MacAddress link_destination;
  };
  void on_icmpv6(wire::Packet& packet, const Frame& frame);
  void relay_error(wire::Packet& packet, const Frame& frame, const Quote& quote,
                   config::PortId port, const IcmpPath& path);
  [[nodiscard]] bool send_other_family(const IcmpHeader& header, const Quote& quote,
                                       config::PortId port, const IcmpPath& path);
  void send_icmp(wire::Packet& packet, const Frame& frame, config::PortId port,
                 const IcmpPath& path);

  LocalFirst local_;
  CoreContext context_;
  TokenBucket to_control_;  // of what neighbours say: a flood must not crowd out answers to checks
  std::unique_ptr<Worker> worker_;
  std::unique_ptr<Proxy> proxy_;
  std::array<PortRules, config::kMaxPorts> rules_;
  std::array<Arrival, kMaxBurst> arrivals_;
  Batch to_worker_;
  Batch to_proxy_;
  bool sole_worker_ = false;  // no other core has the role
  bool sole_proxy_ = false;
  std::array<base::Counter, config::kMaxPorts> missteered_;
  uint32_t offers_refreshed_ = 0;
};

}  // namespace mqlb::engine
