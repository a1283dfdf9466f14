#include "lib/control/fight_watch.hh"

#include <utility>

namespace mqlb::control {

namespace {

constexpr base::Duration kEach = std::chrono::seconds(1);
constexpr base::Duration kQuiet = std::chrono::seconds(5);

}  // namespace

void FightWatch::advance(const config::Snapshot& snapshot, base::Instant now) {
  if (now < next_) return;
  next_ = now + kEach;
  const uint64_t contested = contested_();
  const bool moved = std::exchange(seen_, contested) != contested;
  if (!moved && !more_to_say_ && fights_.empty()) return;
  if (look(snapshot) == 0) next_ = now + kQuiet;
}

size_t FightWatch::look(const config::Snapshot& snapshot) {
  for (auto& [id, fight] : fights_) fight.goes_on = false;
  size_t lines = 0;
  size_t unknown = 0;
  more_to_say_ = false;
  for (const Row& row : list_()) {
    if (!row.is_fight()) break;  // fights come first
    if (const auto known = fights_.find(row.id); known != fights_.end()) {
      known->second.goes_on = true;
    } else if (fights_.size() == kMostFights) {
      ++unknown;
    } else if (lines == kMostLines) {
      more_to_say_ = true;
    } else {
      begin(snapshot, row);
      ++lines;
    }
  }
  if (unknown == 0) {
    overflowed_ = false;
  } else if (!overflowed_ && lines == kMostLines) {
    more_to_say_ = true;
  } else if (!overflowed_) {
    log_("clients fight over more than " + std::to_string(kMostFights) +
         " Client IDs: see show client-ids");
    overflowed_ = true;
    ++lines;
  }
  return lines + end_those_over(kMostLines - lines);
}

void FightWatch::begin(const config::Snapshot& snapshot, const Row& row) {
  const std::string what =
      "Client ID \"" + row.printable() + "\" of listener " + snapshot.listeners[row.listener].name;
  std::string who = to_string(row.sources[0]);
  if (row.sources.size() > 1) who += " and " + to_string(row.sources[1]);
  log_("clients fight over " + what + ": " + who);
  fights_.emplace(row.id, Fight{what, true});
}

size_t FightWatch::end_those_over(size_t most) {
  size_t lines = 0;
  for (auto it = fights_.begin(); it != fights_.end();) {
    if (it->second.goes_on) {
      ++it;
    } else if (lines == most) {
      more_to_say_ = true;
      break;
    } else {
      log_("the fight over " + it->second.what + " is over");
      it = fights_.erase(it);
      ++lines;
    }
  }
  return lines;
}

}  // namespace mqlb::control
