// One direction of a connection as its writer made it: every byte since the beginning.
//
// The writer's endpoint sends from it and the peer's checks compare with it, so it is shared and
// only grows. A test's streams are small; nothing is trimmed.
#pragma once

#include <cstdint>
#include <vector>

#include "lib/base/bytes.hh"

namespace mqlb::sim {

class Stream {
 public:
  void append(base::Bytes bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
  void close() { closed_ = true; }

  [[nodiscard]] uint64_t size() const { return bytes_.size(); }
  [[nodiscard]] bool closed() const { return closed_; }
  // Requires offset + length <= size().
  [[nodiscard]] base::Bytes view(uint64_t offset, uint64_t length) const {
    return base::Bytes(bytes_).subspan(offset, length);
  }

 private:
  std::vector<uint8_t> bytes_;
  bool closed_ = false;
};

}  // namespace mqlb::sim
