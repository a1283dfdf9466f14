#include "lib/control/check_run.hh"

#include <utility>

namespace mqlb::control {

using base::Instant;

namespace {

// Of an answer that nobody needs, before the connection is cut off.
constexpr size_t kMostSwallowed = 65536;

}  // namespace

CheckRun::CheckRun(CheckPlan plan, TcpClient::Emit emit, Instant now)
    : plan_(std::move(plan)), tcp_(plan_.tcp, std::move(emit)), started_(now) {}

void CheckRun::receive(const wire::Packet& packet, Instant now) {
  tcp_.receive(packet, now);
  follow(now);
}

void CheckRun::advance(Instant now) {
  tcp_.advance(now);
  follow(now);
}

void CheckRun::follow(Instant now) {
  if (!verdict_) listen(now);
  if (verdict_) leave(now);
}

void CheckRun::listen(Instant now) {
  if (tcp_.end() == TcpEnd::refused) {
    conclude({false, "connection refused"}, now);
    return;
  }
  if (tcp_.end() == TcpEnd::reset) {
    conclude({false, "connection reset"}, now);
    return;
  }
  if (tcp_.end() != TcpEnd::none) return;  // aborted by us
  if (tcp_.established() && !asked_) {
    asked_ = true;
    if (!plan_.header.empty()) tcp_.write_whole(plan_.header, now);
    if (!plan_.dialogue) {
      conclude({true, "connected"}, now);
      return;
    }
    tcp_.write(plan_.dialogue->request(), now);
  }
  if (plan_.dialogue && asked_) {
    const std::vector<uint8_t> bytes = tcp_.take_received();
    if (!bytes.empty()) {
      if (auto verdict = plan_.dialogue->read(bytes)) {
        conclude(std::move(*verdict), now);
        return;
      }
    }
    if (tcp_.peer_closed()) {
      conclude(plan_.dialogue->unanswered("closed"), now);
      return;
    }
  }
  if (now >= started_ + plan_.timeout) conclude(too_late(), now);
}

Verdict CheckRun::too_late() const {
  Verdict verdict{false, "timeout: SYN not answered", false};
  if (plan_.dialogue && asked_) verdict.why = plan_.dialogue->unanswered("timeout").why;
  return verdict;
}

void CheckRun::conclude(Verdict verdict, Instant now) {
  verdict_ = std::move(verdict);
  judged_ = now;
  if (tcp_.end() != TcpEnd::none) return;
  if (!verdict_->orderly) {
    tcp_.abort();
    return;
  }
  if (verdict_->passed && plan_.dialogue) tcp_.write(plan_.dialogue->farewell(), now);
  if (!plan_.dialogue || !plan_.dialogue->peer_closes_first()) tcp_.close(now);
}

// What is still sent is read and forgotten, so that the peer's end can come.
void CheckRun::leave(Instant now) {
  if (tcp_.end() != TcpEnd::none) return;
  swallowed_ += tcp_.take_received().size();
  if (tcp_.peer_closed()) tcp_.close(now);
  if (swallowed_ > kMostSwallowed || now >= judged_ + kLeave) tcp_.abort();
}

}  // namespace mqlb::control
