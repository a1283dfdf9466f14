#include "lib/engine/frame.hh"

namespace mqlb::engine {

Output::~Output() {
  flush();
  io_.release(std::span(fresh_.frames).first(fresh_.count));
}

bool Output::allocate(Frame& frame) {
  if (fresh_.count == 0) {
    fresh_.count = io_.allocate(fresh_.frames);
    if (fresh_.count == 0) {
      counters_[base::Drop::no_buffer].add();
      return false;
    }
  }
  frame = fresh_.frames[--fresh_.count];
  counters_[base::Event::frames_built].add();
  return true;
}

void Output::flush() {
  for (config::PortId port = 0; port < ports_.size(); ++port) {
    if (ports_[port].count > 0) flush_port(port);
  }
  if (released_.count > 0) flush_released();
}

void Output::flush_port(config::PortId port) {
  Batch& batch = ports_[port];
  const size_t refused = io_.transmit(port, std::span(batch.frames).first(batch.count));
  counters_[base::Event::frames_out].add(batch.count - refused);
  counters_[base::Drop::tx_full].add(refused);
  tx_full_[port].add(refused);
  batch.count = 0;
}

void Output::flush_released() {
  io_.release(std::span(released_.frames).first(released_.count));
  released_.count = 0;
}

}  // namespace mqlb::engine
