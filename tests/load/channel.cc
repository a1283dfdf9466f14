#include "tests/load/channel.hh"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>

namespace mqlb::load {
namespace {

constexpr int kBacklog = 16384;

sockaddr_in to_sockaddr(const wire::Endpoint& endpoint) {
  sockaddr_in out{};
  out.sin_family = AF_INET;
  out.sin_port = htons(endpoint.port);
  out.sin_addr.s_addr = htonl(endpoint.address.v4_bits());
  return out;
}

const sockaddr* generic(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

void set_option(int fd, int level, int name) {
  const int on = 1;
  setsockopt(fd, level, name, &on, sizeof on);
}

base::Result<UniqueFd> error(const char* what, const wire::Endpoint& endpoint) {
  return base::fail(std::string(what) + " " + to_string(endpoint) + ": " + std::strerror(errno));
}

}  // namespace

size_t raise_file_limit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

base::Result<UniqueFd> listen_on(const wire::Endpoint& local) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in address = to_sockaddr(local);
  set_option(fd.get(), SOL_SOCKET, SO_REUSEADDR);
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY);  // accepted sockets inherit it
  if (!fd || bind(fd.get(), generic(address), sizeof address) != 0 ||
      listen(fd.get(), kBacklog) != 0) {
    return error("listen on", local);
  }
  return fd;
}

base::Result<UniqueFd> connect_from(const wire::IpAddress& local, const wire::Endpoint& remote) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_in from = to_sockaddr({local, 0});
  const sockaddr_in to = to_sockaddr(remote);
  set_option(fd.get(), IPPROTO_TCP, TCP_NODELAY);
  // The port is chosen by connect(), which knows which are free toward this destination.
  set_option(fd.get(), IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  if (!fd || bind(fd.get(), generic(from), sizeof from) != 0 ||
      (connect(fd.get(), generic(to), sizeof to) != 0 && errno != EINPROGRESS)) {
    return error("connect to", remote);
  }
  return fd;
}

Poller::Poller() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
  if (!fd_) {
    std::perror("epoll");
    std::exit(1);
  }
}

bool Poller::watch(int fd, uint32_t events, void* owner) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = owner;
  return epoll_ctl(fd_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

std::span<const epoll_event> Poller::wait(std::optional<std::chrono::nanoseconds> time) {
  timespec limit{};
  if (time) {
    limit.tv_sec = time->count() / 1'000'000'000;
    limit.tv_nsec = time->count() % 1'000'000'000;
  }
  const int n = epoll_pwait2(fd_.get(), events_.data(), static_cast<int>(events_.size()),
                             time ? &limit : nullptr, nullptr);
  return std::span(events_).first(n > 0 ? static_cast<size_t>(n) : 0);
}

bool Channel::send(base::Bytes bytes) {
  if (!unsent_.empty()) {
    unsent_.insert(unsent_.end(), bytes.begin(), bytes.end());
    return flush();
  }
  const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n < 0 && errno != EAGAIN && errno != EINTR) return false;
  const base::Bytes rest = bytes.subspan(n > 0 ? static_cast<size_t>(n) : 0);
  unsent_.assign(rest.begin(), rest.end());
  return true;
}

bool Channel::flush() {
  if (unsent_.empty()) return true;
  const Octets bytes = std::exchange(unsent_, {});
  return send(bytes);
}

}  // namespace mqlb::load
