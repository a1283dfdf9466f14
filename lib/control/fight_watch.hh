// Says it when devices begin to fight over a Client ID, and when they end.
//
// Owner: the control thread. Bounded: it knows of so many fights, and says so many lines a second.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lib/admission/client_id_watch.hh"
#include "lib/base/time.hh"
#include "lib/config/snapshot.hh"

namespace mqlb::control {

class FightWatch {
 public:
  using Row = admission::ClientIdWatch::Row;
  using Log = std::function<void(const std::string&)>;

  static constexpr size_t kMostLines = 4;     // of one look, and so of a second
  static constexpr size_t kMostFights = 256;  // that are known; of more it says only that

  // contested: how many connects were part of fights, ever. list: contested IDs of all workers, as
  // ClientIdWatch::merge() leaves them; asked only if that moved, or a fight may have ended.
  FightWatch(std::function<uint64_t()> contested, std::function<std::vector<Row>()> list, Log log)
      : contested_(std::move(contested)), list_(std::move(list)), log_(std::move(log)) {}

  // Looks at most once in a second, and each five where nothing is new.
  void advance(const config::Snapshot& snapshot, base::Instant now);

 private:
  struct Fight {
    std::string what;  // as lines name it
    bool goes_on = true;
  };

  // Lines said.
  size_t look(const config::Snapshot& snapshot);
  void begin(const config::Snapshot& snapshot, const Row& row);
  size_t end_those_over(size_t most);

  std::function<uint64_t()> contested_;
  std::function<std::vector<Row>()> list_;
  Log log_;
  base::Instant next_{};
  uint64_t seen_ = 0;                 // of contested_
  bool more_to_say_ = false;          // than there was room for at the last look
  bool overflowed_ = false;           // and that there are too many fights was said
  std::map<uint64_t, Fight> fights_;  // by Row::id
};

}  // namespace mqlb::control
