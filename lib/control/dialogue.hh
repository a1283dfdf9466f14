// What a health check says to a broker, and how it judges the answer.
//
// Bytes come in any pieces, and a peer may send anything: whatever it is, the verdict names it.
// Neither sockets nor time here; check_run.hh brings the bytes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/bytes.hh"
#include "lib/config/check.hh"
#include "lib/wire/address.hh"

namespace mqlb::control {

struct Verdict {
  bool passed = false;
  std::string why;       // also when it passed: what was seen
  bool orderly = true;   // the peer keeps to the protocol, so the end may be orderly, too
  bool said_so = false;  // not passed, by the peer's own word: it lives, but takes nobody
};

class Dialogue {
 public:
  virtual ~Dialogue() = default;

  [[nodiscard]] virtual std::vector<uint8_t> request() const = 0;
  // What came next. The verdict comes once, with the byte that decides it.
  [[nodiscard]] std::optional<Verdict> read(base::Bytes bytes);
  // The peer ended before the verdict, or time did; `how` says which.
  [[nodiscard]] Verdict unanswered(std::string_view how) const;
  // To be sent behind a verdict of "passed".
  [[nodiscard]] virtual std::vector<uint8_t> farewell() const { return {}; }
  // Who closes first: an HTTP server may take a closed connection for a withdrawn request.
  [[nodiscard]] virtual bool peer_closes_first() const { return false; }

 protected:
  // The verdict on all bytes so far, or nothing: more are needed.
  [[nodiscard]] virtual std::optional<Verdict> judge(base::Bytes bytes) const = 0;
  // What is waited for: "CONNACK".
  [[nodiscard]] virtual std::string_view awaited() const = 0;

 private:
  std::vector<uint8_t> received_;
};

// Null for a check that only connects. client_id: of an MQTT check. remote: whom it asks.
[[nodiscard]] std::unique_ptr<Dialogue> make_dialogue(const config::Check& check,
                                                      const std::string& client_id,
                                                      const wire::Endpoint& remote);

}  // namespace mqlb::control
