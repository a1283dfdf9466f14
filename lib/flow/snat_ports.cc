#include "lib/flow/snat_ports.hh"

namespace mqlb::flow {

SnatPorts::SnatPorts(uint16_t first, uint16_t last, uint16_t residue, uint16_t modulus,
                     uint32_t start, const std::function<bool(uint16_t port)>& preferred,
                     uint16_t reserved, std::pmr::memory_resource* memory)
    : uses_(memory) {
  const unsigned to_residue = (unsigned{residue} + modulus - unsigned{first} % modulus) % modulus;
  const unsigned base = first + to_residue;
  if (base > last) return;
  const uint32_t count = (last - base) / modulus + 1;
  uses_.resize(count);
  slots_.resize(count);
  map_.uses_ = uses_.data();
  map_.base_ = static_cast<uint16_t>(base);
  map_.modulus_ = modulus;
  map_.count_ = static_cast<uint16_t>(count);
  for (uint32_t i = 0; i < count; ++i) {
    const auto slot = static_cast<SlotIndex>((start % count + i) % count);
    if (unsigned{last} - port_of(slot) < reserved) continue;
    ++capacity_;
    slots_[slot].preferred = !preferred || preferred(port_of(slot));
    push_back(slot);
  }
}

void SnatPorts::push_back(SlotIndex slot) {
  Queue& queue = slots_[slot].preferred ? preferred_ : others_;
  slots_[slot].next = kEnd;
  if (!slots_[slot].used) {
    ++queue.rested;
  } else if (queue.resting == kEnd) {
    queue.resting = slot;
  }
  if (queue.tail == kEnd) {
    queue.head = slot;
  } else {
    slots_[queue.tail].next = slot;
  }
  queue.tail = slot;
}

std::optional<uint16_t> SnatPorts::take(FlowIndex flow, uint32_t now, uint32_t quarantine,
                                        Choice choice) {
  Queue* queue = &preferred_;
  if (!ready(*queue, now, quarantine)) {
    if (choice == Choice::preferred || !ready(others_, now, quarantine)) return std::nullopt;
    queue = &others_;
  }
  const SlotIndex i = queue->head;
  if (queue->resting == i) {
    queue->resting = slots_[i].next;
  } else {
    --queue->rested;
  }
  queue->head = slots_[i].next;
  if (queue->head == kEnd) queue->tail = kEnd;
  uses_[i] = Use::by(flow);
  ++in_use_;
  return port_of(i);
}

void SnatPorts::give_back(uint16_t port, base::Seq32 last_seq, uint32_t now) {
  const size_t i = map_.index_of(port);
  uses_[i] = Use::free_since(now);
  slots_[i].last_seq = last_seq.raw();
  slots_[i].used = true;
  --in_use_;
  push_back(static_cast<SlotIndex>(i));
}

std::optional<base::Seq32> SnatPorts::last_seq(uint16_t port) const {
  const size_t i = map_.index_of(port);
  if (i >= slots_.size() || !slots_[i].used) return std::nullopt;
  return base::Seq32(slots_[i].last_seq);
}

uint32_t SnatPorts::quarantined(uint32_t now, uint32_t quarantine) {
  uint32_t n = capacity_ - in_use_;
  for (Queue* queue : {&preferred_, &others_}) {
    while (queue->resting != kEnd && has_rested(queue->resting, now, quarantine)) {
      ++queue->rested;
      queue->resting = slots_[queue->resting].next;
    }
    n -= queue->rested;
  }
  return n;
}

}  // namespace mqlb::flow
