// Captures for tests: pcap files of any kind, packets of any link type, and conversations by
// positions in their streams.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/wire/build.hh"
#include "tests/support/frames.hh"

namespace mqlb::tests {

inline Octets operator+(Octets a, const Octets& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

inline Octets octets(std::string_view text) { return {text.begin(), text.end()}; }

// A pcap file, byte by byte, so that it can be wrong.
struct PcapFormat {
  bool big_endian = false;
  bool nanoseconds = true;
  uint32_t link_type = 1;
  uint32_t snap_length = 262144;
};

class PcapFile {
 public:
  explicit PcapFile(const PcapFormat& format = {}) : format_(format) {
    u32(format.nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4);
    u32(format.big_endian ? 0x00020004 : 0x00040002);  // version 2.4
    u32(0);
    u32(0);
    u32(format.snap_length);
    u32(format.link_type);
  }
  // fraction: in the file's own unit.
  PcapFile& record(uint32_t seconds, uint32_t fraction, const Octets& bytes,
                   std::optional<uint32_t> original_length = {}) {
    return header(seconds, fraction, static_cast<uint32_t>(bytes.size()),
                  original_length.value_or(static_cast<uint32_t>(bytes.size())))
        .raw(bytes);
  }
  PcapFile& header(uint32_t seconds, uint32_t fraction, uint32_t captured, uint32_t original) {
    for (const uint32_t word : {seconds, fraction, captured, original}) u32(word);
    return *this;
  }
  PcapFile& raw(const Octets& bytes) {
    bytes_.append(bytes.begin(), bytes.end());
    return *this;
  }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void u32(uint32_t v) {
    for (int i = 0; i < 4; ++i) {
      const int shift = 8 * (format_.big_endian ? 3 - i : i);
      bytes_.push_back(static_cast<char>(v >> shift));
    }
  }

  PcapFormat format_;
  std::string bytes_;
};

// One segment of a conversation. Positions: 0 is the SYN, 1 the first byte.
struct Line {
  char from = 'C';  // or 'S', the server
  int64_t at = 0;   // microseconds
  const char* flags = "A";
  int64_t seq = 1;
  int64_t ack = 0;
  std::string payload = "";
  uint16_t window = 1000;
  Octets options = {};
};

inline uint8_t parse_flags(const char* text) {
  constexpr std::string_view kLetters = "FSRPAU";
  uint8_t flags = 0;
  for (; *text != '\0'; ++text) {
    flags = static_cast<uint8_t>(flags | 1U << kLetters.find(*text));
  }
  return flags;
}

struct Ends {
  wire::Endpoint client = client_endpoint();
  wire::Endpoint server = listener_endpoint();
  uint32_t client_iss = 1000;
  uint32_t server_iss = 9000;
};

inline Octets frame_of(const Line& line, const Ends& ends = {}) {
  const bool from_client = line.from == 'C';
  const uint32_t own = from_client ? ends.client_iss : ends.server_iss;
  const uint32_t peer = from_client ? ends.server_iss : ends.client_iss;
  Octets rest = line.options;
  rest.resize((rest.size() + 3) / 4 * 4);
  const auto header = static_cast<uint8_t>((wire::kTcpHeader + rest.size()) / 4 << 4);
  rest.insert(rest.end(), line.payload.begin(), line.payload.end());
  wire::Segment segment;
  segment.link = {kMacA, kMacB};
  segment.source = from_client ? ends.client : ends.server;
  segment.destination = from_client ? ends.server : ends.client;
  segment.seq = base::Seq32(own + static_cast<uint32_t>(line.seq));
  segment.ack = base::Seq32(peer + static_cast<uint32_t>(line.ack));
  segment.flags = parse_flags(line.flags);
  segment.window = line.window;
  segment.payload = rest;  // options first: the header's length says so below
  Octets frame(wire::kMaxSegmentHeaders + rest.size());
  frame.resize(wire::build_segment(segment, frame));
  frame[46] = header;
  repair_tcp(frame);
  return frame;
}

inline void add_line(PcapFile& file, const Line& line, const Ends& ends = {}) {
  file.record(static_cast<uint32_t>(1'000'000 + line.at / 1'000'000),
              static_cast<uint32_t>(line.at % 1'000'000 * 1000), frame_of(line, ends));
}

}  // namespace mqlb::tests
