#include "lib/dpdk/bell.hh"

#include <poll.h>
#include <rte_errno.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace mqlb::dpdk {

base::Result<std::unique_ptr<Bell>> Bell::create() {
  const int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) return base::fail(std::string("no eventfd: ") + rte_strerror(errno));
  return std::unique_ptr<Bell>(new Bell(event));
}

Bell::Bell(int event) : fds_{{event, POLLIN, 0}} {}

Bell::~Bell() { close(fds_[0].fd); }

void Bell::watch(int socket) { fds_.push_back({socket, POLLIN, 0}); }

// The fence, and that of announce(), make one of two true: the ringer sees the announcement, or the
// sleeper's last look sees what the ringer has put there.
void Bell::ring() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (announced()) eventfd_write(fds_[0].fd, 1);
}

void Bell::announce() {
  asleep_.store(true, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

void Bell::withdraw() { asleep_.store(false, std::memory_order_relaxed); }

bool Bell::wait(std::chrono::nanoseconds most) {
  const timespec timeout{0, most.count()};
  if (ppoll(fds_.data(), fds_.size(), &timeout, nullptr) <= 0) return true;
  eventfd_t rung = 0;
  if (fds_[0].revents != 0) eventfd_read(fds_[0].fd, &rung);
  bool good = true;
  for (size_t i = 1; i < fds_.size(); ++i) {
    if ((fds_[i].revents & ~POLLIN) == 0) continue;
    // Such as an interface that was taken down: told once if it is asked for.
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fds_[i].fd, SOL_SOCKET, SO_ERROR, &error, &length);
    good = false;
  }
  return good;
}

}  // namespace mqlb::dpdk
