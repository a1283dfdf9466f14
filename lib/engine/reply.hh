// Answers that need no flow: made from the segment that provoked them.
#pragma once

#include "lib/engine/context.hh"
#include "lib/wire/build.hh"

namespace mqlb::engine {

// Sends a segment of our own out of `port`; false if there was no buffer.
bool send_segment(CoreContext& context, config::PortId port, const wire::Segment& segment);

// The RST that RFC 9293 section 3.10.7.1 asks for, back where the segment came from; rate-limited.
// False if there is none: for a RST, or above the rate. The frame stays the caller's.
bool send_reset(CoreContext& context, const wire::Packet& packet, const Frame& frame,
                base::Event event);

// The same. Takes the frame and counts it under `reason`, or as unknown_flow_quiet without a RST.
void reset_unknown(CoreContext& context, const wire::Packet& packet, const Frame& frame,
                   base::Drop reason, base::Event event);

}  // namespace mqlb::engine
