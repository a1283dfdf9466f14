// MQTT clients, many in one thread: opens them, hands their packets to whoever measures.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/load/channel.hh"
#include "tests/load/options.hh"

namespace mqlb::load {

using SteadyClock = std::chrono::steady_clock;

// A message of QoS 1 whose PUBACK is to come.
struct Awaited {
  uint16_t id = 0;
  SteadyClock::time_point due;
};

struct Client {
  Client(uint32_t n, UniqueFd fd) : number(n), channel(std::move(fd)) {}

  uint32_t number;
  Channel channel;
  bool asked = false;  // CONNECT is sent
  bool open = false;   // and answered
  uint32_t credit = 0;
  uint32_t sent = 0;
  std::deque<Awaited> awaited;
};

class Fleet {
 public:
  // Who measures.
  class Observer {
   public:
    virtual ~Observer() = default;
    // False, both: the fleet sends DISCONNECT and closes the client.
    [[nodiscard]] virtual bool opened(Client& /*client*/) { return true; }
    [[nodiscard]] virtual bool received(Client& /*client*/, const Packet& /*packet*/) {
      return true;
    }
  };

  explicit Fleet(const Options& options) : options_(options) {}

  void observe(Observer& observer) { observer_ = &observer; }
  // Begins to open the next client.
  void dial();
  // Opens all, a window at a time. False: some could not be.
  [[nodiscard]] bool open_all();
  void close_all();
  // Handles what happens within this time. False: nothing did.
  bool poll(std::chrono::nanoseconds time);
  void fail(Client& client, const char* why);

  [[nodiscard]] uint32_t dialled() const { return static_cast<uint32_t>(clients_.size()); }
  [[nodiscard]] uint32_t opening() const { return opening_; }
  [[nodiscard]] uint32_t opened() const { return opened_; }
  [[nodiscard]] uint32_t failed() const { return failed_; }
  // By number; null for one that is closed.
  [[nodiscard]] std::vector<std::unique_ptr<Client>>& clients() { return clients_; }

 private:
  [[nodiscard]] std::string client_id(uint32_t number) const;
  [[nodiscard]] bool ask(Client& client);
  [[nodiscard]] bool handle(Client& client, uint32_t events);
  [[nodiscard]] std::optional<size_t> take(Client& client, base::Bytes bytes);
  [[nodiscard]] bool take_packet(Client& client, const Packet& packet);

  const Options& options_;
  Observer* observer_ = nullptr;
  Poller poller_;
  std::vector<std::unique_ptr<Client>> clients_;
  uint32_t opening_ = 0;
  uint32_t opened_ = 0;
  uint32_t failed_ = 0;
};

}  // namespace mqlb::load
