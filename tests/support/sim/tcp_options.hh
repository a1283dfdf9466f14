// How an endpoint behaves. The defaults are those of an ordinary host; tests draw others.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/seq32.hh"
#include "tests/support/sim/packet.hh"
#include "tests/support/sim/random.hh"
#include "tests/support/sim/violations.hh"

namespace mqlb::sim {

// How a zero window is probed: one byte of data beyond it, or no data one below snd_una.
enum class ProbeStyle : uint8_t { data_byte, old_sequence };

struct TcpOptions {
  // Sequence number of the SYN and the offset of the millisecond timestamp clock: near 2^32 they
  // make the numbers wrap within the connection.
  base::Seq32 iss{1};
  uint32_t timestamp_offset = 0;

  uint16_t mss = 1460;
  bool announce_mss = true;                 // else `mss` must be 536 (RFC 9293 section 3.7.1)
  std::optional<uint8_t> window_scale = 7;  // none: not offered, not accepted
  bool sack = true;
  bool timestamps = true;
  OptionLayout layout = OptionLayout::aligned;

  uint32_t receive_buffer = 65536;
  ProbeStyle probe = ProbeStyle::old_sequence;
  bool nagle = false;
  // An ACK waits for a second segment or this long; zero acknowledges each segment at once.
  Duration delayed_ack{40'000};
  // Retransmissions run over the boundaries of the writes that made the segments.
  bool coalesce_retransmits = false;

  unsigned initial_window = 10;  // segments
  Duration initial_rto{1'000'000};
  Duration min_rto{200'000};
  Duration max_rto{8'000'000};
  unsigned max_retries = 15;
  unsigned max_syn_retries = 8;
  Duration time_wait{60'000'000};
  std::optional<Duration> keepalive;  // idle time before and between probes
  unsigned keepalive_probes = 5;
};

// An option set drawn from everything that a peer may do; numbers wrap in one of four.
[[nodiscard]] TcpOptions random_tcp_options(Random& random);

}  // namespace mqlb::sim
