#include "lib/flow/snat_ports.hh"

namespace mqlb::flow {

SnatPorts::SnatPorts(uint16_t first, uint16_t last, uint16_t residue, uint16_t modulus,
                     uint32_t start)
    : modulus_(modulus) {
  const unsigned to_residue = (unsigned{residue} + modulus - unsigned{first} % modulus) % modulus;
  base_ = first + to_residue;
  if (base_ > last) return;
  slots_.resize((last - base_) / modulus + 1);
  count_ = slots_.size();
  const auto count = static_cast<uint32_t>(count_);
  for (uint32_t i = 0; i < count; ++i)
    push_back(static_cast<SlotIndex>((start % count + i) % count));
}

void SnatPorts::push_back(SlotIndex slot) {
  slots_[slot].next = kEnd;
  if (tail_ == kEnd) {
    head_ = slot;
  } else {
    slots_[tail_].next = slot;
  }
  tail_ = slot;
}

std::optional<uint16_t> SnatPorts::take(FlowIndex flow, uint32_t now, uint32_t quarantine) {
  if (head_ == kEnd) return std::nullopt;
  const SlotIndex i = head_;
  Slot& slot = slots_[i];
  if (slot.used && now - slot.flow < quarantine) return std::nullopt;
  head_ = slot.next;
  if (head_ == kEnd) tail_ = kEnd;
  slot.flow = flow;
  slot.taken = true;
  ++in_use_;
  return static_cast<uint16_t>(base_ + i * modulus_);
}

void SnatPorts::give_back(uint16_t port, base::Seq32 last_seq, uint32_t now) {
  const size_t i = index_of(port);
  Slot& slot = slots_[i];
  slot.flow = now;
  slot.last_seq = last_seq.raw();
  slot.taken = false;
  slot.used = true;
  --in_use_;
  push_back(static_cast<SlotIndex>(i));
}

std::optional<base::Seq32> SnatPorts::last_seq(uint16_t port) const {
  const size_t i = index_of(port);
  if (i >= slots_.size() || !slots_[i].used) return std::nullopt;
  return base::Seq32(slots_[i].last_seq);
}

uint32_t SnatPorts::quarantined(uint32_t now, uint32_t quarantine) const {
  uint32_t n = 0;
  for (SlotIndex i = head_; i != kEnd; i = slots_[i].next) {
    if (slots_[i].used && now - slots_[i].flow < quarantine) ++n;
  }
  return n;
}

}  // namespace mqlb::flow
