// The engine frame by frame: a test sends one, sees what comes out, and moves the clock.
//
// For what hosts with a real TCP would not do, and for states that must be held. Brokers' link
// addresses are answered for; everything else is the test's.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/engine/engine_world.hh"
#include "tests/support/sim/mqtt_packets.hh"
#include "tests/support/sim/packet.hh"
#include "tests/support/sim/resolution.hh"

namespace mqlb::tests {

// A frame that the engine sent; parsed if it is TCP.
struct Sent {
  unsigned port = 0;
  std::vector<uint8_t> bytes;
  bool tcp = false;
  sim::Segment segment;  // its payload is a view into bytes
};
using SentFrames = std::vector<Sent>;

// One end of a connection, played by hand.
struct RawEnd {
  unsigned port = kClients;
  wire::MacAddress mac;
  wire::Endpoint local;
  wire::Endpoint remote;
  base::Seq32 nxt{1000};  // next sequence number to send
  base::Seq32 peer;       // next expected
  bool timestamps = false;
  uint32_t tsval = 1;
  uint32_t tsecr = 0;

  [[nodiscard]] sim::Segment segment(uint8_t flags, base::Bytes payload = {}) const;
};

[[nodiscard]] RawEnd raw_client(uint16_t port, unsigned host = 0);

class Bench final : public sim::FrameSink {
 public:
  explicit Bench(const Setup& setup);

  // What the engine sends in answer, without its own questions for link addresses.
  SentFrames frame(unsigned port, base::Bytes bytes);
  SentFrames send(const RawEnd& from, const sim::Segment& segment);
  // Moves the clock by milliseconds; what the engine sends meanwhile.
  SentFrames pass(base::Duration time);

  // Sends the SYN and the ACK. False if the SYN was not answered.
  [[nodiscard]] bool handshake(RawEnd& client);
  // Sends a CONNECT; the broker that is asked, with the SYN that it got. port is kClients if none.
  [[nodiscard]] RawEnd ask_broker(RawEnd& client, const std::string& client_id,
                                  uint16_t keep_alive = 60);
  // The same, when the engine asks by itself.
  [[nodiscard]] static RawEnd asked_broker(const Sent& syn);
  // Takes the SYN; both ends stand behind the PROXY header and the CONNECT.
  [[nodiscard]] bool accept(RawEnd& broker, RawEnd& client);
  // The broker's first bytes, a CONNACK, which the client acknowledges: it stays with the broker.
  [[nodiscard]] bool answer(RawEnd& broker, RawEnd& client);
  // All but that: a spliced flow.
  [[nodiscard]] bool splice(RawEnd& client, RawEnd& broker, const std::string& client_id,
                            uint16_t keep_alive = 60);

  void transmit(unsigned port, base::Bytes frame) override;

  [[nodiscard]] EngineDut& dut() { return dut_; }
  [[nodiscard]] engine::LocalEngine& engine() { return dut_.engine(); }
  [[nodiscard]] base::Instant now() const { return now_; }
  template <typename Reason>
  [[nodiscard]] uint64_t count(Reason reason) {
    return dut_.engine().count(reason);
  }
  // The names of the drop counters that moved since the last call, one entry a frame.
  std::vector<std::string> new_drops();

 private:
  SentFrames take();
  void answer_questions();

  EngineDut dut_;
  base::Instant now_{base::Duration(1'000'000)};
  SentFrames sent_;
  std::vector<sim::Resolution> questions_;  // for brokers' link addresses
  std::vector<uint64_t> drops_seen_;
};

// One at a time, as new_world().
Bench& new_bench(const Setup& setup);
int drop_bench(void** state);

}  // namespace mqlb::tests

#define BENCH_TEST(f) cmocka_unit_test_teardown(f, drop_bench)
