// Which core a port's RSS gives a TCP packet to: the Toeplitz hash of its addresses and ports, and
// the core for each entry of the table that the port looks the hash up in. IPv4 only.
//
// Plain values: made by whoever programs the port, read by every core, never changed after that.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/flow/record.hh"
#include "lib/wire/address.hh"

namespace mqlb::flow {

// As in "Verifying the RSS Hash Calculation" of Microsoft's RSS specification: over source address,
// destination address, source port and destination port.
class Toeplitz {
 public:
  // What of a key reaches the hash: a window of 32 bits at each of the 96 bits of input.
  static constexpr size_t kKeyBytes = 16;

  Toeplitz() = default;
  explicit Toeplitz(std::span<const uint8_t, kKeyBytes> key);

  [[nodiscard]] uint32_t hash(const wire::Endpoint& source,
                              const wire::Endpoint& destination) const {
    return part<4>(0, source.address.v4_bits()) ^ part<4>(4, destination.address.v4_bits()) ^
           part<2>(8, source.port) ^ part<2>(10, destination.port);
  }

 private:
  static constexpr size_t kInputBytes = 12;

  // Of `Bytes` bytes of input, the first of which is at `at`.
  template <size_t Bytes>
  [[nodiscard]] uint32_t part(size_t at, uint32_t value) const {
    uint32_t sum = 0;
    for (size_t i = 0; i < Bytes; ++i) sum ^= tables_[at + i][value >> 8 * (Bytes - 1 - i) & 0xff];
    return sum;
  }

  std::array<std::array<uint32_t, 256>, kInputBytes> tables_{};
};

class Steering {
 public:
  // Not known: whoever asks decides for himself.
  Steering() = default;
  // cores: for each entry of the port's table; their number must be a power of two.
  Steering(const Toeplitz& toeplitz, std::vector<CoreIndex> cores)
      : toeplitz_(toeplitz), cores_(std::move(cores)) {}

  [[nodiscard]] bool known() const { return !cores_.empty(); }
  // For packets from there.
  [[nodiscard]] bool known(const wire::Endpoint& source) const {
    return known() && source.address.is_v4();
  }
  // Only if known.
  [[nodiscard]] CoreIndex core_for(const wire::Endpoint& source,
                                   const wire::Endpoint& destination) const {
    return cores_[toeplitz_.hash(source, destination) & (cores_.size() - 1)];
  }

 private:
  Toeplitz toeplitz_;
  std::vector<CoreIndex> cores_;
};

}  // namespace mqlb::flow
