// What one player says: a recorded side, perhaps with another Client ID in its CONNECT, or what a
// stub decides as it goes.
//
// Offsets of a recording move behind a CONNECT that grew:
//
//   recorded   | type, length ... Client ID | rest of CONNECT | ...
//                                        cut^
//   played     | head_, with the longer Client ID | rest      | ...
//                                                ^cut + growth
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/mqtt/connect.hh"
#include "lib/replay/recording.hh"

namespace mqlb::replay {

// Another Client ID for a recorded client.
class Rewrite {
 public:
  Rewrite() = default;
  // Appends `suffix` to the Client ID of the CONNECT that the stream begins with. Nothing changes
  // if there is no complete one, or its Client ID is empty.
  Rewrite(base::Bytes stream, const std::string& suffix);

  // A recorded offset as it is played.
  [[nodiscard]] uint32_t map(uint32_t offset) const {
    return offset < cut_ || head_.empty() ? offset : offset + growth_;
  }
  // Copies played bytes [offset, offset + length), which exist.
  void copy(base::Bytes stream, uint32_t offset, uint32_t length, uint8_t* out) const;
  // How many of `bytes`, which come at this played offset, are as they should be.
  [[nodiscard]] size_t match(base::Bytes stream, uint32_t offset, base::Bytes bytes) const;

 private:
  std::vector<uint8_t> head_;
  uint32_t cut_ = 0;
  uint32_t growth_ = 0;
};

// The Client ID and version of the CONNECT that a stream begins with.
struct Identity {
  bool known = false;
  std::string client_id;
  mqtt::Version version = mqtt::Version::v3_1_1;
};
[[nodiscard]] Identity identify(base::Bytes stream);

// A recorded side as it is played. Borrows the recording and the rewrite.
class Script {
 public:
  // own: the side that is played. The client's offsets are those that the rewrite moves.
  Script(const Recording& recording, bool client, const Rewrite& rewrite)
      : side_(client ? recording.client : recording.server),
        peer_(client ? recording.server : recording.client),
        client_(client),
        rewrite_(rewrite) {}

  [[nodiscard]] size_t size() const { return side_.steps.size(); }
  [[nodiscard]] const Side& side() const { return side_; }
  // Step i with its offsets as they are played.
  [[nodiscard]] Step step(size_t i) const;
  // Bytes of the whole stream as it is played.
  [[nodiscard]] uint32_t stream_size() const {
    return own(static_cast<uint32_t>(side_.stream.size()));
  }
  // The same of the other side.
  [[nodiscard]] uint32_t peer_size() const {
    return peer(static_cast<uint32_t>(peer_.stream.size()));
  }
  [[nodiscard]] bool peer_has_fin() const { return peer_.has_fin; }
  void copy(uint32_t offset, uint32_t length, uint8_t* out) const;
  // The MQTT packet that the stream begins with, as far as it goes.
  [[nodiscard]] std::vector<uint8_t> first_packet() const;
  // How many of `bytes`, which belong at this offset, are as they should be.
  [[nodiscard]] size_t match(uint32_t offset, base::Bytes bytes) const;

 private:
  [[nodiscard]] uint32_t own(uint32_t offset) const {
    return client_ ? rewrite_.map(offset) : offset;
  }
  [[nodiscard]] uint32_t peer(uint32_t offset) const {
    return client_ ? offset : rewrite_.map(offset);
  }

  const Side& side_;
  const Side& peer_;
  bool client_;
  const Rewrite& rewrite_;
};

}  // namespace mqlb::replay
