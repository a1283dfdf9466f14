#include "lib/engine/reply.hh"

namespace mqlb::engine {

bool send_segment(CoreContext& context, config::PortId port, const wire::Segment& segment) {
  Frame frame;
  if (!context.output.allocate(frame)) return false;
  frame.length = static_cast<uint16_t>(wire::build_segment(segment, {frame.data, frame.capacity}));
  if (frame.length == 0) {
    context.output.drop(frame, base::Drop::no_buffer);
    return false;
  }
  context.output.transmit(port, frame);
  return true;
}

bool send_reset(CoreContext& context, const wire::Packet& packet, const Frame& frame,
                base::Event event) {
  const wire::TcpView tcp = packet.tcp();
  if (tcp.has(wire::kRst) || !context.rst_bucket.take(context.now)) return false;
  wire::Segment rst;
  rst.link = {context.shared.port_macs[frame.port], packet.ethernet().source()};
  rst.source = {packet.destination(), tcp.destination_port()};
  rst.destination = {packet.source(), tcp.source_port()};
  if (tcp.has(wire::kAck)) {
    rst.flags = wire::kRst;
    rst.seq = tcp.ack();
  } else {
    rst.flags = wire::kRst | wire::kAck;
    rst.ack = packet.segment_end();
  }
  if (send_segment(context, frame.port, rst)) context.counters[event].add();
  return true;
}

void reset_unknown(CoreContext& context, const wire::Packet& packet, const Frame& frame,
                   base::Drop reason, base::Event event) {
  const bool answered = send_reset(context, packet, frame, event);
  context.output.drop(frame, answered ? reason : base::Drop::unknown_flow_quiet);
}

}  // namespace mqlb::engine
