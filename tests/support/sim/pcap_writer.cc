#include "tests/support/sim/pcap_writer.hh"

#include <array>
#include <cstdint>

namespace mqlb::sim {

PcapWriter::PcapWriter(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {
  if (!ok()) return;
  // Magic of microseconds in host order, version 2.4, zone, accuracy, snap length, Ethernet.
  const std::array<uint32_t, 6> header{0xa1b2c3d4, 2U | 4U << 16U, 0, 0, 65535, 1};
  std::fwrite(header.data(), sizeof header, 1, file_.get());
}

void PcapWriter::write(base::Bytes frame, base::Instant at) {
  if (!ok()) return;
  const auto microseconds = static_cast<uint64_t>(at.time_since_epoch().count());
  const auto size = static_cast<uint32_t>(frame.size());
  const std::array<uint32_t, 4> header{static_cast<uint32_t>(microseconds / 1'000'000),
                                       static_cast<uint32_t>(microseconds % 1'000'000), size, size};
  std::fwrite(header.data(), sizeof header, 1, file_.get());
  std::fwrite(frame.data(), 1, frame.size(), file_.get());
}

}  // namespace mqlb::sim
