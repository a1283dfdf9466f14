#include "tests/support/sim/tcp_options.hh"

namespace mqlb::sim {

TcpOptions random_tcp_options(Random& random) {
  TcpOptions o;
  const bool wraps = random.chance(0.25);
  o.iss = base::Seq32(wraps ? 0U - static_cast<uint32_t>(random.below(3000)) : random.u32());
  o.timestamp_offset = wraps ? 0U - static_cast<uint32_t>(random.below(20'000)) : random.u32();
  constexpr uint16_t kMss[] = {536, 1220, 1400, 1448, 1460};
  o.mss = kMss[random.below(5)];
  o.window_scale.reset();
  if (random.chance(0.8)) o.window_scale = static_cast<uint8_t>(random.below(12));
  o.sack = random.chance(0.75);
  o.timestamps = random.chance(0.75);
  o.layout = random.chance(0.2) ? OptionLayout::odd : OptionLayout::aligned;
  constexpr uint32_t kBuffers[] = {4096, 16384, 65536, 262144};
  o.receive_buffer = kBuffers[random.below(4)];
  // A window of few units shrinks visibly whenever it is rounded down.
  while (o.window_scale && o.receive_buffer >> *o.window_scale < 8) --*o.window_scale;
  o.probe = random.chance(0.5) ? ProbeStyle::data_byte : ProbeStyle::old_sequence;
  o.nagle = random.chance(0.3);
  if (random.chance(0.3)) o.delayed_ack = Duration{0};
  o.coalesce_retransmits = random.chance(0.5);
  o.initial_window = static_cast<unsigned>(random.between(1, 10));
  return o;
}

}  // namespace mqlb::sim
