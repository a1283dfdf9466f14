// One health check: connects, has the dialogue, judges, and takes leave.
//
// Owner: the control thread. The verdict is there before the connection is over: an orderly end
// may take a round trip more, for which nobody waits.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "lib/control/dialogue.hh"
#include "lib/control/tcp_client.hh"

namespace mqlb::control {

struct CheckPlan {
  TcpSetup tcp;
  std::vector<uint8_t> header;         // PROXY protocol, sent before anything else; may be empty
  std::unique_ptr<Dialogue> dialogue;  // null: to connect is enough
  base::Duration timeout{};            // until the verdict
};

class CheckRun {
 public:
  // How long a peer may take for its end of an orderly close.
  static constexpr base::Duration kLeave = std::chrono::seconds(2);

  CheckRun(CheckPlan plan, TcpClient::Emit emit, base::Instant now);

  void start(base::Instant now) { tcp_.connect(now); }
  void receive(const wire::Packet& packet, base::Instant now);
  void advance(base::Instant now);
  // So much time passed in which nobody looked at what came: it is not the broker's.
  void postpone(base::Duration by) {
    if (!verdict_) started_ += by;
  }
  // Ends at once; there will be no verdict if there is none yet.
  void abort() { tcp_.abort(); }

  [[nodiscard]] const std::optional<Verdict>& verdict() const { return verdict_; }
  // From the SYN to the verdict, or so far.
  [[nodiscard]] base::Duration duration(base::Instant now) const {
    return (verdict_ ? judged_ : now) - started_;
  }
  // Nothing is left to send or to be waited for: TIME-WAIT may go on.
  [[nodiscard]] bool is_over() const { return tcp_.end() != TcpEnd::none; }
  [[nodiscard]] const TcpClient& tcp() const { return tcp_; }

 private:
  void follow(base::Instant now);
  void listen(base::Instant now);
  void conclude(Verdict verdict, base::Instant now);
  void leave(base::Instant now);
  [[nodiscard]] Verdict too_late() const;

  CheckPlan plan_;
  TcpClient tcp_;
  base::Instant started_;
  bool asked_ = false;
  std::optional<Verdict> verdict_;
  base::Instant judged_{};
  size_t swallowed_ = 0;  // bytes after the verdict
};

}  // namespace mqlb::control
