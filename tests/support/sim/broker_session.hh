// One connection of a Broker.
#pragma once

#include "tests/support/sim/broker.hh"

namespace mqlb::sim {

class BrokerSession final : public StreamApp {
 public:
  BrokerSession(Broker& broker, const BrokerPlan& plan)
      : StreamApp(plan.pace), broker_(broker), plan_(plan) {}

  void on_established(TcpEndpoint& tcp, Instant now) override;
  void on_segment(TcpEndpoint& tcp, uint64_t offset, base::Bytes bytes, Instant now) override;
  void on_end(TcpEndpoint& tcp, Instant now) override;
  void on_closed(TcpEndpoint& tcp, CloseReason reason, Instant now) override;

 private:
  void on_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) override;
  void on_alarm(TcpEndpoint& tcp, Instant now) override;

  void take_header(TcpEndpoint& tcp, base::Bytes segment, Instant now);
  [[nodiscard]] std::string judge_header(const ProxyHeader& header);
  void attach(TcpEndpoint& tcp, std::shared_ptr<Conversation> conversation, Instant now);
  // Where a device would find another broker, it has no part in the conversation.
  [[nodiscard]] bool says_nothing() const {
    return broker_.config().proxy != ProxyExpectation::none &&
           (plan_.conduct == BrokerConduct::reset_on_accept ||
            plan_.conduct == BrokerConduct::end_on_accept || plan_.conduct == BrokerConduct::mute);
  }
  void take_packet(TcpEndpoint& tcp, const Packet& packet, Instant now);
  void take_connect(TcpEndpoint& tcp, const Packet& packet, Instant now);
  void take_publish(TcpEndpoint& tcp, const Packet& packet, Instant now);
  void send_bulk(TcpEndpoint& tcp, Instant now);
  void answer(TcpEndpoint& tcp, const Buffer& packet, Instant now);
  void complain(TcpEndpoint& tcp, Fault kind, Instant now, const std::string& text);

  Broker& broker_;
  BrokerPlan plan_;
  std::shared_ptr<Conversation> conversation_;
  std::shared_ptr<Conversation> met_;  // says_nothing(): one that it has no part in
  Buffer header_;                      // as first received
  bool header_done_ = false;
  bool complained_ = false;
  size_t header_unread_ = 0;
  Buffer early_;       // read before the conversation was known
  uint64_t read_ = 0;  // bytes behind the header
  Level level_ = 0;    // 0: no CONNECT yet
  PacketReader packets_;
};

}  // namespace mqlb::sim
