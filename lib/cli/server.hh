// The Unix socket on which the daemon takes commands (protocol.hh).
//
// Part of the control thread's poll() loop: add_poll_fds() before poll(), handle() after it. The
// socket has mode 0600; its file is removed at the end.
#pragma once

#include <poll.h>
#include <sys/stat.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/cli/interpreter.hh"
#include "lib/cli/session.hh"

namespace mqlb::cli {

class Server {
 public:
  // With so many clients, a new one takes the place of the one that was silent longest.
  static constexpr size_t kMaxClients = 32;

  // Replaces a socket file that nobody listens on. `runtime` outlives the server.
  [[nodiscard]] static base::Result<std::unique_ptr<Server>> listen(const std::string& path,
                                                                    Runtime& runtime);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void add_poll_fds(std::vector<pollfd>& fds) const;
  // Descriptors of others are passed over.
  void handle(std::span<const pollfd> fds);
  [[nodiscard]] size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    std::unique_ptr<Session> session;
    uint64_t last_turn = 0;
  };

  Server(UniqueFd fd, std::string path, const struct stat& file, Runtime& runtime)
      : fd_(std::move(fd)), path_(std::move(path)), file_(file), interpreter_(runtime) {}
  void accept_one();
  void evict_one();

  UniqueFd fd_;
  std::string path_;
  struct stat file_;
  Interpreter interpreter_;
  std::vector<Client> clients_;
  uint64_t turn_ = 0;  // counts handle()
};

}  // namespace mqlb::cli
