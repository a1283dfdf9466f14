// Clients and brokers of many flows, as far as a bench needs them: who they are, and what each end
// would send next.
//
// Flow i belongs to one client address and port, so a frame tells its flow without a table.
#pragma once

#include <string>
#include <vector>

#include "app/mqlb-bench/rig.hh"
#include "lib/wire/build.hh"

namespace mqlb::bench {

struct Flow {
  wire::Endpoint broker;      // whom the balancer chose
  wire::Endpoint snat;        // as whom it connects
  uint32_t client_next = 0;   // client space
  uint32_t client_acked = 0;  // of the broker's bytes, client space
  uint32_t client_echo = 0;   // the latest timestamp that the client got
  uint32_t broker_next = 0;   // broker space
  uint32_t seq_delta = 0;     // client space to broker space
};

struct FleetOptions {
  uint32_t flows = 1024;
  bool timestamps = true;
  size_t client_id = 16;  // bytes
  // Flow i has the number first + i: fleets on one rig must not overlap.
  uint32_t first = 0;
};

class Fleet {
 public:
  Fleet(Balancer& rig, const FleetOptions& options);

  // Opens flows [from, to), each to the spliced state. Returns the cycles that the cores took.
  Cycles open(uint32_t from, uint32_t to);
  // Opens all, past what is checked for young flows only. failure() tells if that did not work.
  void settle();
  // CONNACK, a PUBLISH, DISCONNECT, both FINs and their acknowledgements.
  Cycles talk_and_close(uint32_t from, uint32_t to);
  // A data segment of a flow's client, or of its broker, that continues what was sent.
  [[nodiscard]] engine::Frame client_segment(uint32_t flow, size_t frame_size);
  [[nodiscard]] engine::Frame broker_segment(uint32_t flow, size_t frame_size);

  [[nodiscard]] uint32_t size() const { return options_.flows; }
  [[nodiscard]] const Flow& operator[](uint32_t i) const { return flows_[i]; }
  [[nodiscard]] wire::Endpoint client(uint32_t i) const;
  // A frame with this segment, filled in as the port would deliver it.
  [[nodiscard]] engine::Frame encode(config::PortId port, wire::Segment segment);
  [[nodiscard]] const std::string& failure() const { return failure_; }

 private:
  void keep_sent(bool keep);
  void look_at_sent();
  void look_at(config::PortId port, base::MutableBytes frame);
  [[nodiscard]] uint32_t flow_of(const wire::Endpoint& client) const;
  [[nodiscard]] wire::Segment from_client(uint32_t i, uint8_t flags, base::Bytes payload);
  [[nodiscard]] wire::Segment from_broker(uint32_t i, uint8_t flags, base::Bytes payload);
  Cycles open_some(uint32_t from, uint32_t to);
  template <typename Make>
  Cycles each(uint32_t from, uint32_t to, config::PortId port, const Make& make);
  [[nodiscard]] std::vector<uint8_t> connect_of(uint32_t i) const;

  Balancer& rig_;
  FleetOptions options_;
  std::vector<Flow> flows_;
  uint32_t next_opened_ = 0;  // the flow whose SYN to a broker comes next
  uint32_t timestamp_ = 1000;
  std::string failure_;
};

}  // namespace mqlb::bench
