// A port's RSS: programmed so that it can be foretold which queue a packet comes to, and read back,
// since only what the device confirms is relied on.
//
// Control thread only, while ports are started.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

struct rte_eth_dev_info;

namespace mqlb::dpdk {

// How what a port receives gets to the cores that own it.
enum class Spread : uint8_t {
  one_core,      // only one core polls the port, and it owns all
  one_queue,     // all comes to one core, which hands over what others own
  hand_over,     // queues are chosen in a way that is not known; frames are handed over to owners
  rss,           // the queue is the owner's, by hash and table
  rss_mismatch,  // RSS is not what it was asked to be: as hand_over
};
[[nodiscard]] const char* to_string(Spread spread);

// What a running port's `rss` comes to when so many of its frames came to another core than
// foretold.
[[nodiscard]] Spread judge(Spread spread, uint64_t missteered);

// As many bytes as any device takes; each takes the first so and so many. Random, so that nobody
// can aim at one core; and not symmetric, since the two directions of a connection have different
// addresses here, and a symmetric key only makes the hash weaker.
using RssKey = std::array<uint8_t, 64>;

// What a device takes.
struct RssAbility {
  uint64_t functions = 0;
  size_t key_bytes = 0;
  size_t entries = 0;

  // Whether a TCP packet's queue can be foretold: the functions and sizes allow it.
  [[nodiscard]] bool foretells() const;
};
[[nodiscard]] RssAbility rss_ability(const rte_eth_dev_info& info);

// The calls of a device, for tests to stand in for. False: the device cannot.
class RssDevice {
 public:
  virtual ~RssDevice() = default;
  virtual bool write_hash(uint64_t functions, std::span<const uint8_t> key) = 0;
  virtual bool read_hash(uint64_t& functions, std::span<uint8_t> key) = 0;
  virtual bool write_table(std::span<const uint16_t> queues) = 0;
  virtual bool read_table(std::span<uint16_t> queues) = 0;
};

class EthRssDevice : public RssDevice {
 public:
  explicit EthRssDevice(uint16_t dpdk_port) : port_(dpdk_port) {}
  bool write_hash(uint64_t functions, std::span<const uint8_t> key) override;
  bool read_hash(uint64_t& functions, std::span<uint8_t> key) override;
  bool write_table(std::span<const uint16_t> queues) override;
  bool read_table(std::span<uint16_t> queues) override;

 private:
  uint16_t port_;
};

// The queue of each entry of a port's table, when `period` entries name each queue in turn and the
// rest repeats them: so ports with tables of different sizes agree.
[[nodiscard]] std::vector<uint16_t> rss_table(size_t entries, size_t period, uint16_t queues);

// Writes and reads back: `rss`, or what it is instead.
[[nodiscard]] Spread program_rss(RssDevice& device, const RssAbility& ability,
                                 std::span<const uint8_t> key, std::span<const uint16_t> table);

}  // namespace mqlb::dpdk
