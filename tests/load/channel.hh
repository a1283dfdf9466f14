// A connected TCP socket that never blocks, and the epoll that says when it has something.
//
// One thread. A channel is watched from its making (edge-triggered, both directions), so receive()
// takes all there is, and what the socket has no room for waits in the channel.
#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <span>

#include "lib/cli/unique_fd.hh"
#include "lib/wire/address.hh"
#include "tests/load/packets.hh"

namespace mqlb::load {

using cli::UniqueFd;

// Soft limit of open files to the hard one; returns it.
size_t raise_file_limit();

[[nodiscard]] base::Result<UniqueFd> listen_on(const wire::Endpoint& local);
// Connects from any port of `local`; the socket is writable, or in error, once that is decided.
[[nodiscard]] base::Result<UniqueFd> connect_from(const wire::IpAddress& local,
                                                  const wire::Endpoint& remote);

class Poller {
 public:
  Poller();
  // False: the kernel refused.
  [[nodiscard]] bool watch(int fd, uint32_t events, void* owner);
  // Waits at most so long; nullopt: until something happens.
  [[nodiscard]] std::span<const epoll_event> wait(std::optional<std::chrono::nanoseconds> time);

 private:
  UniqueFd fd_;
  std::array<epoll_event, 256> events_{};
};

class Channel {
 public:
  static constexpr uint32_t kEvents = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

  explicit Channel(UniqueFd fd) : fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const { return fd_.get(); }
  // Both: false when the connection is broken.
  [[nodiscard]] bool send(base::Bytes bytes);
  [[nodiscard]] bool flush();

  // Hands bytes to take(bytes), which returns how many it used, or nullopt to break off; the rest
  // comes again in front of the next. False: broken off, closed by the peer, or broken.
  template <typename Take>
  [[nodiscard]] bool receive(uint32_t events, Take take) {
    static std::array<uint8_t, 65536> room;
    for (;;) {
      const ssize_t n = recv(fd_.get(), room.data(), room.size(), 0);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) return false;
      const auto got = static_cast<size_t>(n);
      if (!digest(base::Bytes(room).first(got), take)) return false;
      if (got < room.size() && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) == 0) return true;
    }
  }

 private:
  template <typename Take>
  [[nodiscard]] bool digest(base::Bytes bytes, Take& take) {
    if (!received_.empty()) {
      received_.insert(received_.end(), bytes.begin(), bytes.end());
      bytes = received_;
    }
    const std::optional<size_t> used = take(bytes);
    if (!used) return false;
    const base::Bytes rest = bytes.subspan(*used);
    received_ = Octets(rest.begin(), rest.end());
    return true;
  }

  UniqueFd fd_;
  Octets received_;  // the beginning of a packet
  Octets unsent_;
};

}  // namespace mqlb::load
