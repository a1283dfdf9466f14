#include "lib/cli/server.hh"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mqlb::cli {
namespace {

using base::fail;
using base::Result;

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail("socket path '" + path + "': it has 1 to " +
                std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

tl::unexpected<base::Error> system_error(const std::string& path) {
  return fail("socket " + path + ": " + std::strerror(errno));
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Removes a socket file that a daemon left behind; anything else in its place is an error.
Result<void> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat file {};
  if (lstat(path.c_str(), &file) != 0) {
    if (errno == ENOENT) return {};
    return system_error(path);
  }
  if (!S_ISSOCK(file.st_mode))
    return fail("socket " + path + ": there is a file that is no socket");
  const UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return system_error(path);
  if (connect(probe.get(), generic(address), sizeof address) == 0 || errno == EAGAIN) {
    return fail("socket " + path + ": another daemon listens there");
  }
  if (errno != ECONNREFUSED) return system_error(path);
  if (unlink(path.c_str()) != 0) return system_error(path);
  return {};
}

}  // namespace

Result<std::unique_ptr<Server>> Server::listen(const std::string& path, Runtime& runtime) {
  const auto address = socket_address(path);
  if (!address) return tl::unexpected(address.error());
  if (auto r = remove_stale(path, *address); !r) return tl::unexpected(r.error());
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return system_error(path);
  // The file takes the socket's mode: there is no moment at which others could connect.
  struct stat file {};
  if (fchmod(fd.get(), 0600) != 0 || bind(fd.get(), generic(*address), sizeof *address) != 0 ||
      lstat(path.c_str(), &file) != 0 || ::listen(fd.get(), 16) != 0) {
    return system_error(path);
  }
  return std::unique_ptr<Server>(new Server(std::move(fd), path, file, runtime));
}

// The file may be another daemon's by now.
Server::~Server() {
  struct stat now {};
  if (lstat(path_.c_str(), &now) == 0 && now.st_dev == file_.st_dev && now.st_ino == file_.st_ino) {
    unlink(path_.c_str());
  }
}

void Server::add_poll_fds(std::vector<pollfd>& fds) const {
  fds.push_back({fd_.get(), POLLIN, 0});
  for (const Client& c : clients_) fds.push_back({c.session->fd(), c.session->events(), 0});
}

void Server::handle(std::span<const pollfd> fds) {
  ++turn_;
  bool knocking = false;
  for (const pollfd& p : fds) {
    if (p.revents == 0) continue;
    if (p.fd == fd_.get()) knocking = true;
    const auto client = std::find_if(clients_.begin(), clients_.end(),
                                     [&](const Client& c) { return c.session->fd() == p.fd; });
    if (client == clients_.end()) continue;
    client->last_turn = turn_;
    client->session->handle(p.revents);
  }
  std::erase_if(clients_, [](const Client& c) { return c.session->is_over(); });
  // Last, so that a new client's descriptor is not taken for one of `fds`.
  if (knocking) accept_one();
}

void Server::accept_one() {
  UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd) {
    if (errno == EMFILE || errno == ENFILE) evict_one();
    return;
  }
  if (clients_.size() >= kMaxClients) evict_one();
  clients_.push_back({std::make_unique<Session>(std::move(fd), interpreter_), turn_});
}

void Server::evict_one() {
  const auto silent =
      std::min_element(clients_.begin(), clients_.end(),
                       [](const Client& a, const Client& b) { return a.last_turn < b.last_turn; });
  if (silent != clients_.end()) clients_.erase(silent);
}

}  // namespace mqlb::cli
