#include "app/mqlbctl/terminal.hh"

#include <poll.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "lib/cli/protocol.hh"

namespace mqlb::mqlbctl {
namespace {

// Raw while it lives: every key goes to the daemon, Ctrl-C too.
class RawTerminal {
 public:
  RawTerminal() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    termios raw = before_;
    cfmakeraw(&raw);
    is_raw_ = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
  }
  ~RawTerminal() {
    if (is_raw_) tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool is_raw_ = false;
};

// Signals that end programs, as a descriptor for poll().
cli::UniqueFd signal_descriptor() {
  sigset_t set;
  sigemptyset(&set);
  for (const int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) sigaddset(&set, s);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return cli::UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
}

bool write_all(int fd, const char* bytes, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) {
      bytes += n;
      size -= static_cast<size_t>(n);
    }
  }
  return true;
}

// One read passed on; false at the end of either side.
bool pass(int from, int to) {
  char bytes[4096];
  const ssize_t n = read(from, bytes, sizeof bytes);
  if (n < 0) return errno == EINTR;
  return n > 0 && write_all(to, bytes, static_cast<size_t>(n));
}

// Returns the signal that ended the session, or 0.
int pump(Client& client, int signals) {
  pollfd fds[] = {{STDIN_FILENO, POLLIN, 0}, {client.fd(), POLLIN, 0}, {signals, POLLIN, 0}};
  for (;;) {
    if (poll(fds, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return 0;
    }
    if (fds[2].revents != 0) {
      signalfd_siginfo info{};
      if (read(signals, &info, sizeof info) == sizeof info) return static_cast<int>(info.ssi_signo);
    }
    if (fds[1].revents != 0 && !pass(client.fd(), STDOUT_FILENO)) return 0;
    if (fds[0].revents != 0 && !pass(STDIN_FILENO, client.fd())) return 0;
  }
}

}  // namespace

int run_interactive(Client& client) {
  std::signal(SIGPIPE, SIG_IGN);
  if (!client.send(std::string(cli::kInteractive) + "\n")) return 2;
  const cli::UniqueFd signals = signal_descriptor();
  int ended_by = 0;
  {
    const RawTerminal raw;
    ended_by = pump(client, signals.get());
  }
  std::puts("");
  return ended_by == 0 ? 0 : 128 + ended_by;
}

}  // namespace mqlb::mqlbctl
