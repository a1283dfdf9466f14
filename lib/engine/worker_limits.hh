// Constants of the minimal TCP toward clients.
#pragma once

#include <chrono>
#include <cstdint>

#include "lib/base/time.hh"

namespace mqlb::engine {

// Our window scale toward clients. A constant, since a cookie has no room for it; if a broker's
// differs, windows are shifted. 7 is what Linux brokers choose.
inline constexpr uint8_t kWindowScale = 7;
// Holds the first flight of ten full segments (RFC 6928) twice; never scaled (RFC 7323
// section 2.2).
inline constexpr uint16_t kSynAckWindow = 29200;
// Bytes behind the CONNECT that are held with it when it comes in pieces.
inline constexpr uint32_t kPipelined = 16384;
// How far segments of a client that awaits its broker may lie from its first byte.
inline constexpr int32_t kOldestOffset = 65536;
inline constexpr uint32_t kMaxOffset = 1U << 20;

// How far beyond what was seen a segment of a spliced flow may lie to be believed: windows are
// larger only on paths that no MQTT client is on.
inline constexpr int32_t kPlausible = 1 << 24;
// And how far ahead its bytes may lie to count. Who sends more into the dark counts once the gap is
// filled.
inline constexpr int32_t kFarAhead = 1 << 20;

// How long after our SYN-ACK a listener with limits takes what a client sends: who was turned away
// meanwhile may have given up, and come back by another connection.
inline constexpr base::Duration kStaleHandshake = std::chrono::seconds(5);

// When bytes of an incomplete CONNECT are acknowledged.
inline constexpr base::Duration kAckDelay = std::chrono::milliseconds(20);
inline constexpr uint32_t kAckAtOnce = 8192;

// Frames that a worker holds for all its clients together: what is beyond is copied or dropped, so
// clients of a silent broker cannot empty the buffer pool.
inline constexpr size_t kMaxHeldFrames = 4096;

// Memory for CONNECTs in pieces, of all clients of a worker.
inline constexpr size_t kMaxHeldBytes = size_t{64} << 20;

// Memory for copies of CONNECTs, until brokers answer, of all clients of a proxy.
inline constexpr size_t kMaxKeptBytes = size_t{64} << 20;

// What a worker waits beyond all the tries of its proxy.
inline constexpr base::Duration kTriesMargin = std::chrono::seconds(2);

inline constexpr uint8_t kConnackTries = 4;
inline constexpr base::Duration kConnackInterval = std::chrono::milliseconds(300);
// How long a client that was told may take to close.
inline constexpr base::Duration kRefusedPatience = std::chrono::seconds(3);
// We close first, so TIME-WAIT is ours (RFC 9293 section 3.6): a short one, since clients without a
// broker are many, but long enough for the first repetition of a FIN whose ACK was lost.
inline constexpr base::Duration kRefusedTimeWait = std::chrono::milliseconds(500);

}  // namespace mqlb::engine
