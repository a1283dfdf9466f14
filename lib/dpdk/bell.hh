// What an idle data core sleeps by: it wakes when a socket of its ports has a frame, when another
// thread rings, or when time is over.
//
// One sleeper, many ringers. Nothing that a ringer did before ring() is missed: the sleeper
// announces itself, looks at all its queues once more, and only then waits.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "lib/base/result.hh"

struct pollfd;

namespace mqlb::dpdk {

class Bell {
 public:
  [[nodiscard]] static base::Result<std::unique_ptr<Bell>> create();
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;
  ~Bell();

  // Before it is first slept by. socket: somebody else's, open as long as the bell is used.
  void watch(int socket);

  // Any thread, after it has put something where the sleeper looks.
  void ring();

  // The sleeper: from announce() until withdraw(), ringing costs a system call.
  void announce();
  void withdraw();
  [[nodiscard]] bool announced() const { return asleep_.load(std::memory_order_relaxed); }
  // False if a socket has an error, which might be there again at once.
  bool wait(std::chrono::nanoseconds most);

 private:
  explicit Bell(int event);

  std::atomic<bool> asleep_{false};
  std::vector<pollfd> fds_;  // the event is the first
};

}  // namespace mqlb::dpdk
