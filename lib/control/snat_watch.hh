// Warns before the SNAT ports toward a broker run out: at 100 percent its clients are refused.
//
// Owner: the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>

#include "lib/base/time.hh"
#include "lib/config/snapshot.hh"

namespace mqlb::control {

class SnatWatch {
 public:
  using Log = std::function<void(const std::string&)>;
  // What one proxy core has of one SNAT address toward one broker.
  struct Use {
    unsigned core = 0;
    config::SnatId snat = 0;
    wire::Endpoint broker;
    uint64_t used = 0;  // in quarantine, too: no client can have those
    uint64_t ports = 0;
    uint64_t in_use = 0;  // of those used
  };

  explicit SnatWatch(Log log) : log_(std::move(log)) {}

  // Says a line when the use of the ports that a pool has toward a broker reaches 80 percent, and
  // when it is below 70 again. Each core has ports of its own, so the fullest one counts. Call it
  // about once in a second.
  void look(const config::Snapshot& snapshot, std::span<const Use> uses);

 private:
  struct Sum {
    uint64_t used = 0, ports = 0;
    [[nodiscard]] uint64_t percent() const { return ports == 0 ? 0 : used * 100 / ports; }
  };
  // Pools with the same SNAT addresses share their ports.
  using Key = std::pair<config::SnatId, wire::Endpoint>;

  void judge(const Key& key, const Sum& fullest, bool of_several);

  Log log_;
  std::map<Key, bool> warned_;
};

}  // namespace mqlb::control
