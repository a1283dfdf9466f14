// Conversations for tests, and recordings as text that is compared as a whole.
#pragma once

#include <string>
#include <vector>

#include "lib/replay/recording.hh"
#include "tests/support/captures.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/temporary_directory.hh"

namespace mqlb::tests {

inline const std::string kConnect("\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id", 16);
inline const std::string kConnack("\x20\x02\0\0", 4);
inline const std::string kPing("\xc0\0", 2);

inline std::string flags_text(uint8_t flags) {
  std::string text;
  for (size_t i = 0; i < 6; ++i) {
    if ((flags >> i & 1) != 0) text += "FSRPAU"[i];
  }
  return text;
}

// "C 63 PA 0+16 has 4 knew 0": at 63 us the client sent 16 bytes from offset 0, had acknowledged 4
// (4F: and the FIN), and knew that 0 were acknowledged.
inline std::string text_of(char from, const replay::Step& s) {
  return std::string(1, from) + " " + std::to_string(s.at.count()) + " " + flags_text(s.flags) +
         " " + std::to_string(s.offset) + "+" + std::to_string(s.length) + " has " +
         std::to_string(s.peer_bytes) + (s.peer_fin ? "F" : "") + " knew " +
         std::to_string(s.acked) + "\n";
}

inline std::string text_of(const replay::Recording& r) {
  std::string text = "client " + std::to_string(r.client.stream.size()) +
                     (r.client.has_fin ? "F" : "") + " server " +
                     std::to_string(r.server.stream.size()) + (r.server.has_fin ? "F" : "");
  if (r.server_gap) text += " gap " + std::to_string(*r.server_gap);
  text += "\n";
  for (const auto& step : r.client.steps) text += text_of('C', step);
  for (const auto& step : r.server.steps) text += text_of('S', step);
  return text;
}

// Recordings, and "skipped RECORDxRECORDS WHAT: WHY".
inline std::string text_of(const replay::Capture& capture) {
  std::string text;
  for (const auto& r : capture.recordings) text += text_of(r);
  for (const auto& s : capture.skipped) {
    text += "skipped " + std::to_string(s.record) + "x" + std::to_string(s.records) + " " + s.what +
            ": " + s.why + "\n";
  }
  return text;
}

inline replay::Capture load_files(const std::vector<std::string>& files,
                                  const replay::LoadOptions& options = {}) {
  auto capture = replay::load(files, options);
  if (!capture) fail_msg("%s", capture.error().message.c_str());
  return std::move(*capture);
}

using Lines = std::vector<Line>;

inline replay::Capture load_lines(const Lines& lines, const Ends& ends = {},
                                  const replay::LoadOptions& options = {}) {
  const TemporaryDirectory directory;
  PcapFile file;
  for (const Line& line : lines) add_line(file, line, ends);
  return load_files({directory.write("f.pcap", file.bytes())}, options);
}

inline Lines operator+(Lines a, const Lines& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Captured at the client: 100 us to the server and back, 10 us to the client's stack.
inline const Lines kHandshake{{'C', 0, "S", 0, 0}, {'S', 100, "SA", 0, 1}, {'C', 110, "A", 1, 1}};
inline const Lines kConnected = kHandshake + Lines{{'C', 200, "PA", 1, 1, kConnect},
                                                   {'S', 300, "A", 1, 17},
                                                   {'S', 400, "PA", 1, 17, kConnack},
                                                   {'C', 410, "A", 17, 5}};
inline const std::string kConnectedClient =
    "C 0 S 0+0 has 0 knew 0\n"
    "C 110 A 0+0 has 0 knew 0\n"
    "C 200 PA 0+16 has 0 knew 0\n"
    "C 410 A 16+0 has 4 knew 16\n";
inline const std::string kConnectedServer =
    "S 100 SA 0+0 has 0 knew 0\n"
    "S 300 A 0+0 has 16 knew 0\n"
    "S 400 PA 0+4 has 16 knew 0\n";
inline const std::string kFlow = "198.18.0.7:40000 > 198.18.0.10:1883";

inline Lines shifted(Lines lines, int64_t time, int64_t client, int64_t server) {
  for (Line& line : lines) {
    const bool from_client = line.from == 'C';
    line.at += time;
    line.seq += from_client ? client : server;
    line.ack += from_client ? server : client;
  }
  return lines;
}

}  // namespace mqlb::tests
