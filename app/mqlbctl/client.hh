// The shell's end of the daemon's socket (lib/cli/protocol.hh).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "lib/base/result.hh"
#include "lib/cli/unique_fd.hh"

namespace mqlb::mqlbctl {

class Client {
 public:
  struct Answer {
    bool ok = false;
    std::string text;
  };

  [[nodiscard]] static base::Result<Client> connect(const std::string& path);

  [[nodiscard]] int fd() const { return fd_.get(); }
  // False when the daemon is gone.
  [[nodiscard]] bool send(std::string_view bytes);
  // The answer to a command; nothing when the daemon is gone or talks nonsense.
  [[nodiscard]] std::optional<Answer> receive_answer();

 private:
  explicit Client(cli::UniqueFd fd) : fd_(std::move(fd)) {}
  bool receive_more();

  cli::UniqueFd fd_;
  std::string input_;
};

}  // namespace mqlb::mqlbctl
