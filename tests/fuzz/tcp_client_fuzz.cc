// Any segments at any time to control's TCP: it answers few, stays within its own numbers, and
// takes no byte twice.
//
// The input is a list of steps of 8 bytes: kind, flags, sequence and acknowledgement numbers
// relative to the right ones, window, payload length.
#include <memory>

#include "lib/control/tcp_client.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb;
using base::Instant;
using base::Seq32;
using control::TcpClient;
using control::TcpEnd;
using control::TcpState;
using fuzz::check;

constexpr uint32_t kIss = 0xfffffff0;
constexpr uint32_t kIrs = 0xffffff00;
constexpr size_t kMostPerEvent = 24;
constexpr size_t kStep = 8;
const wire::MacAddress kMac{{2, 0, 0, 0, 0, 1}};

struct Play {
  Play() {
    const control::TcpSetup setup{{wire::IpAddress::v4(0xc6120164), 65535},
                                  {wire::IpAddress::v4(0xc612010b), 1883},
                                  1500,
                                  Seq32(kIss),
                                  9};
    client = std::make_unique<TcpClient>(setup, [this](const wire::Segment& s) { sent(s); });
    client->connect(now);
  }

  void sent(const wire::Segment& s) {
    ++emitted;
    // A RST answers with the number that it was asked about.
    if ((s.flags & wire::kRst) != 0) return;
    const uint32_t end = s.seq.raw() - kIss + static_cast<uint32_t>(s.payload.size());
    check(end <= written + 2, "it stays within what was written");
  }

  void segment(const uint8_t* p) {
    wire::Segment s;
    s.link = {kMac, kMac};
    s.source = client->setup().remote;
    s.destination = client->setup().local;
    s.flags = static_cast<uint8_t>(p[1] & 0x1f);
    s.seq = Seq32(kIrs + 1 + received + offset(p[2]));
    s.ack = Seq32(kIss + 1 + written + offset(p[3]));
    if ((s.flags & wire::kSyn) != 0) s.seq = Seq32(kIrs + offset(p[2]));
    s.window = static_cast<uint16_t>(p[4] << 6);
    if ((p[5] & 1) != 0) s.options.timestamps = wire::Timestamps{p[5], p[6]};
    if ((s.flags & wire::kSyn) != 0) s.options.mss = static_cast<uint16_t>(p[6]);
    const std::vector<uint8_t> payload(p[7], 'x');
    s.payload = payload;
    uint8_t frame[2048];
    const size_t size = wire::build_segment(s, frame);
    wire::Packet packet;
    if (wire::parse_packet(base::MutableBytes(frame, size), {kMac, 1500},
                           wire::HardwareChecksum::good, packet)) {
      return;
    }
    client->receive(packet, now);
  }
  // Small differences often, large ones sometimes.
  static uint32_t offset(uint8_t b) {
    const auto n = static_cast<uint32_t>(static_cast<int8_t>(b));
    return b % 7 == 6 ? n << 24 : n;
  }

  void step(const uint8_t* p) {
    const bool was_closed = client->state() == TcpState::closed;
    emitted = 0;
    switch (p[0] % 8) {
      case 0:
        now += std::chrono::milliseconds(p[1] * 4);
        client->advance(now);
        break;
      case 1:
        if (client->established() && written < 5000 && !closing) {
          written += p[1];
          client->write(std::vector<uint8_t>(p[1], 'w'), now);
        }
        break;
      case 2:
        closing = closing || client->established();
        client->close(now);
        break;
      case 3:
        if (p[1] == 0xff) client->abort();
        break;
      default:
        segment(p);
    }
    check(emitted <= kMostPerEvent, "few answers to one event");
    check(!was_closed || emitted == 0, "nothing is sent by a closed connection");
    received += static_cast<uint32_t>(client->take_received().size());
  }

  Instant now{std::chrono::seconds(1000)};
  std::unique_ptr<TcpClient> client;
  size_t emitted = 0;
  uint32_t written = 0;
  uint32_t received = 0;
  bool closing = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 4096) return 0;
  Play play;
  for (; size >= kStep; data += kStep, size -= kStep) play.step(data);
  const TcpState state = play.client->state();
  const bool ended = play.client->end() != TcpEnd::none;
  check(ended == (state == TcpState::closed || state == TcpState::time_wait), "an end is named");
  return 0;
}
