#include "app/mqlbctl/client.hh"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "lib/cli/protocol.hh"

namespace mqlb::mqlbctl {
namespace {

constexpr size_t kMaxAnswer = 64 * 1024 * 1024;

}  // namespace

base::Result<Client> Client::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return base::fail("'" + path + "' can not be the path of a socket");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  cli::UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return base::fail("no daemon at " + path + ": " + std::strerror(errno));
  }
  return Client(std::move(fd));
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n < 0 && errno != EINTR) return false;
    if (n > 0) bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool Client::receive_more() {
  char bytes[16 * 1024];
  const ssize_t n = recv(fd_.get(), bytes, sizeof bytes, 0);
  if (n < 0) return errno == EINTR;
  input_.append(bytes, static_cast<size_t>(n));
  return n > 0;
}

std::optional<Client::Answer> Client::receive_answer() {
  size_t end = 0;
  while ((end = input_.find('\n')) == std::string::npos) {
    if (!receive_more()) return std::nullopt;
  }
  const std::string_view head = std::string_view(input_).substr(0, end);
  const std::string_view verdict = head.substr(0, head.find(' '));
  if (verdict.size() == head.size() || (verdict != cli::kOk && verdict != cli::kError)) {
    return std::nullopt;
  }
  size_t size = 0;
  const auto [stop, error] =
      std::from_chars(head.data() + verdict.size() + 1, head.data() + head.size(), size);
  if (error != std::errc{} || stop != head.data() + head.size() || size > kMaxAnswer) {
    return std::nullopt;
  }
  Answer answer{verdict == cli::kOk, {}};
  while (input_.size() < end + 1 + size) {
    if (!receive_more()) return std::nullopt;
  }
  answer.text = input_.substr(end + 1, size);
  input_.erase(0, end + 1 + size);
  return answer;
}

}  // namespace mqlb::mqlbctl
