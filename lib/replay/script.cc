#include "lib/replay/script.hh"

#include <algorithm>
#include <cstring>

#include "lib/replay/mqtt_packets.hh"

namespace mqlb::replay {
namespace {

constexpr size_t kMaxClientId = 65535;
constexpr size_t kMaxRemainingLength = 268'435'455;  // MQTT 5.0 section 1.5.5

size_t length_bytes(base::Bytes connect) {
  size_t n = 1;
  while ((connect[n] & 0x80U) != 0) ++n;
  return n;
}

}  // namespace

Rewrite::Rewrite(base::Bytes stream, const std::string& suffix) {
  const auto result = mqtt::parse_connect(stream);
  const auto* connect = std::get_if<mqtt::Connect>(&result);
  if (connect == nullptr || connect->client_id.empty()) return;
  // A Client ID that has no room for more loses its end instead.
  const size_t kept = std::min(connect->client_id.size(), kMaxClientId - suffix.size());
  const size_t id_size = kept + suffix.size();
  const size_t header = 1 + length_bytes(stream);
  const size_t remaining = connect->size - header + id_size - connect->client_id.size();
  if (remaining > kMaxRemainingLength) return;

  const auto id_at = static_cast<size_t>(connect->client_id.data() - stream.data());
  head_.push_back(stream[0]);
  size_t rest = remaining;
  do {
    const auto digit = static_cast<uint8_t>(rest % 128);
    rest /= 128;
    head_.push_back(rest > 0 ? static_cast<uint8_t>(digit | 0x80U) : digit);
  } while (rest > 0);
  const auto append = [this](base::Bytes bytes) {
    head_.insert(head_.end(), bytes.begin(), bytes.end());
  };
  append(stream.subspan(header, id_at - 2 - header));
  head_.push_back(static_cast<uint8_t>(id_size >> 8));
  head_.push_back(static_cast<uint8_t>(id_size));
  append(stream.subspan(id_at, kept));
  append(base::as_bytes(suffix));
  cut_ = static_cast<uint32_t>(id_at + connect->client_id.size());
  growth_ = static_cast<uint32_t>(head_.size()) - cut_;
}

void Rewrite::copy(base::Bytes stream, uint32_t offset, uint32_t length, uint8_t* out) const {
  const auto head = static_cast<uint32_t>(head_.size());
  const uint32_t from_head = offset < head ? std::min(length, head - offset) : 0;
  if (from_head > 0) std::memcpy(out, head_.data() + offset, from_head);
  if (length == from_head) return;
  const uint32_t recorded = offset + from_head - (head_.empty() ? 0 : growth_);
  std::memcpy(out + from_head, stream.data() + recorded, length - from_head);
}

size_t Rewrite::match(base::Bytes stream, uint32_t offset, base::Bytes bytes) const {
  size_t i = 0;
  for (; i < bytes.size() && offset + i < head_.size(); ++i) {
    if (bytes[i] != head_[offset + i]) return i;
  }
  size_t recorded = offset + i - (head_.empty() ? 0 : growth_);
  for (; i < bytes.size(); ++i, ++recorded) {
    if (recorded >= stream.size() || bytes[i] != stream[recorded]) return i;
  }
  return i;
}

Identity identify(base::Bytes stream) {
  const auto result = mqtt::parse_connect(stream);
  const auto* connect = std::get_if<mqtt::Connect>(&result);
  if (connect == nullptr) return {};
  return {true, std::string(base::as_text(connect->client_id)), connect->version};
}

Step Script::step(size_t i) const {
  Step step = side_.steps[i];
  const uint32_t end = own(step.offset + step.length);
  step.offset = own(step.offset);
  step.length = end - step.offset;
  step.acked = own(step.acked);
  // Without the handshake the scale is not known, and the usual one is offered: the field stays.
  if (!side_.has_syn || !peer_.has_syn) step.window <<= side_.syn.window_scale.value_or(0);
  step.peer_bytes = peer(step.peer_bytes);
  for (size_t b = 0; b < step.sack_blocks; ++b) {
    step.sack[b] = {peer(step.sack[b].left), peer(step.sack[b].right)};
  }
  return step;
}

void Script::copy(uint32_t offset, uint32_t length, uint8_t* out) const {
  if (client_) {
    rewrite_.copy(side_.stream, offset, length, out);
  } else {
    std::memcpy(out, side_.stream.data() + offset, length);
  }
}

std::vector<uint8_t> Script::first_packet() const {
  constexpr uint32_t kFixedHeader = 5;
  std::vector<uint8_t> out(std::min(stream_size(), kFixedHeader));
  if (out.empty()) return out;
  copy(0, static_cast<uint32_t>(out.size()), out.data());
  const size_t size = std::min<size_t>(packet_size(out).value_or(0), stream_size());
  out.resize(std::max(size, out.size()));
  copy(0, static_cast<uint32_t>(out.size()), out.data());
  return out;
}

size_t Script::match(uint32_t offset, base::Bytes bytes) const {
  if (client_) return rewrite_.match(side_.stream, offset, bytes);
  static const Rewrite kNone;
  return kNone.match(side_.stream, offset, bytes);
}

}  // namespace mqlb::replay
