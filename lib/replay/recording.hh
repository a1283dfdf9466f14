// The connections of captures, as a player needs them: what each side said, in which pieces, when,
// and what it knew of the other side by then.
//
// Offsets count the bytes of one direction from 0, the first behind its SYN:
//
//   client   SYN | CONNECT ......... PUBLISH ... | FIN
//                0 ^offset   ^length             stream.size()
//
// Immutable after load(); players share it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/base/time.hh"
#include "lib/pcap/segment.hh"

namespace mqlb::replay {

// One captured segment of one side.
struct Step {
  base::Duration at{};      // since the connection's first segment
  uint8_t flags = 0;        // wire::TcpFlag, as captured; but a FIN only where the stream ends
  uint32_t offset = 0;      // of its first byte; a SYN has 0. A keepalive probe lies below what was
                            // sent before it, if anything was.
  uint32_t length = 0;      // bytes of payload; none behind a server_gap
  uint32_t peer_bytes = 0;  // of the other side's, that this side had acknowledged up to here
  bool peer_fin = false;    // it had acknowledged the other side's FIN too
  uint32_t acked = 0;       // bytes of this side's, that it can have known to be acknowledged
  uint32_t window = 0;      // bytes, scaled as the handshake agreed; as on the wire without one
  std::optional<uint32_t> tsval;
  // Offsets in the other side's stream.
  struct Block {
    uint32_t left = 0;
    uint32_t right = 0;
  };
  std::array<Block, wire::kMaxSackBlocks> sack{};
  uint8_t sack_blocks = 0;
};

// One side of a connection. What a SYN offered, or, when the capture begins behind it, what the
// other segments show: timestamps if they are carried, and the usual of the rest.
// A segment is a step each time that it was captured; the stream has its bytes once.
struct Side {
  wire::Endpoint endpoint;
  base::Seq32 iss;
  wire::TcpOptions syn;
  bool has_syn = false;
  bool has_fin = false;
  std::vector<uint8_t> stream;
  std::vector<Step> steps;  // in captured order
};

struct Recording {
  std::string file;
  uint64_t record = 0;      // number of its first record in the file
  base::Duration begins{};  // since the first record of all captures
  Side client;
  Side server;
  // What the capture lacks of the server's bytes, from this offset on; the client's are complete.
  std::optional<uint32_t> server_gap;
};

// What of the captures is not played.
struct Skipped {
  std::string file;
  uint64_t record = 0;  // the first of its kind or connection
  uint64_t records = 0;
  std::string what;  // "198.18.0.2:4000 > 198.18.0.10:1883" or the kind of record
  std::string why;   // see load(); for kinds of records, a word of pcap::Unusable
};

// A record that belongs to no connection that is played, kept when asked for; Ethernet only, and
// only if it was captured whole and does not come from the servers' side: frames to the client of a
// played connection are left out, and those from endpoints that were seen to be a server's.
struct LooseFrame {
  base::Duration at{};  // since the first record of all captures
  std::vector<uint8_t> bytes;
};

struct LoadOptions {
  std::vector<uint16_t> ports;  // of servers; empty: all that begin with a SYN or a CONNECT
  bool keep_loose = false;
};

struct Capture {
  std::vector<Recording> recordings;  // by the time of their first segment
  std::vector<Skipped> skipped;
  std::vector<LooseFrame> loose;
  uint64_t records = 0;
};

// Reads all files, each for itself: connections do not reach from one file into another. Files keep
// their distance in time, but a pause from the end of one to the next is at most a second.
//
// The client is who sent the SYN or, when the capture begins behind it, whose first payload is a
// CONNECT. A new SYN with another sequence number on the same addresses begins another connection;
// the one before goes on if segments still fit it. Skipped, with the reason:
//   midstream        begins with neither a SYN nor a CONNECT
//   other-port       not to one of the ports asked for
//   snapped          a payload was cut by the snapshot length
//   client-gap       client's bytes that the server acknowledged, or that lie before others, are
//                    not in the capture
//   unanswered       a SYN alone, or no payload of the client (nothing to play)
//   inconsistent     a byte was sent again as another one
//   too-large        over kMaxStream bytes in one direction
//   foreign          segments of a connection's endpoints with numbers that it cannot have: far
//                    outside its streams, beyond all that was sent or below all of it
//   same-endpoints   segments from an endpoint to itself
//   bad-flags        segments with control bits that no RFC knows together
// A file that cannot be read to its end is an error.
inline constexpr uint32_t kMaxStream = 1U << 30;
[[nodiscard]] base::Result<Capture> load(const std::vector<std::string>& files,
                                         const LoadOptions& options);

}  // namespace mqlb::replay
