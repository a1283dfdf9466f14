// mqtt-sink --listen ADDRESS:PORT...
//
// A broker for measurements: answers CONNECT, SUBSCRIBE, PUBLISH (QoS 0 and 1) and PINGREQ, takes a
// PROXY header or none, keeps nothing. Prints "ready", and what it counted as JSON on SIGTERM.
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <list>
#include <memory>
#include <string>
#include <string_view>

#include "tests/load/channel.hh"
#include "tests/load/json.hh"
#include "tests/load/session.hh"

namespace mqlb::load {
namespace {

// What an epoll event belongs to.
struct Source {
  virtual ~Source() = default;
  // False: remove it.
  [[nodiscard]] virtual bool handle(uint32_t events) = 0;
};

class Connection final : public Source {
 public:
  Connection(UniqueFd fd, Tally& tally) : channel_(std::move(fd)), session_(tally) {}

  [[nodiscard]] bool handle(uint32_t events) override {
    if (!channel_.flush()) return false;
    out_.clear();
    const bool open =
        channel_.receive(events, [this](base::Bytes bytes) { return session_.take(bytes, out_); });
    return (out_.empty() || channel_.send(out_)) && open;
  }

 private:
  Channel channel_;
  Session session_;
  static inline Octets out_;
};

class Listener final : public Source {
 public:
  Listener(Poller& poller, const wire::Endpoint& local, UniqueFd fd)
      : poller_(poller), local_(local), fd_(std::move(fd)) {}

  [[nodiscard]] int fd() const { return fd_.get(); }

  // Without a file to spare, clients wait in the backlog until one is closed.
  [[nodiscard]] bool handle(uint32_t /*events*/) override {
    for (;;) {
      UniqueFd fd(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) return true;
      const int number = fd.get();
      auto connection = std::make_unique<Connection>(std::move(fd), tally_);
      // Owned by its registration until handle() says that it is over.
      if (poller_.watch(number, Channel::kEvents, connection.get())) connection.release();
    }
  }

  [[nodiscard]] std::string report() const;

 private:
  Poller& poller_;
  wire::Endpoint local_;
  UniqueFd fd_;
  Tally tally_;
};

std::string Listener::report() const {
  JsonObject clients;
  for (const auto& [id, count] : tally_.clients) {
    clients.raw(
        id,
        JsonObject().add("connections", count.connections).add("messages", count.messages).text());
  }
  return JsonObject()
      .raw("listen", quoted(to_string(local_)))
      .add("connections", tally_.connections)
      .add("proxied", tally_.proxied)
      .add("messages_qos0", tally_.messages_qos0)
      .add("messages_qos1", tally_.messages_qos1)
      .add("pings", tally_.pings)
      .add("subscriptions", tally_.subscriptions)
      .add("disconnects", tally_.disconnects)
      .add("malformed", tally_.malformed)
      .raw("clients", clients.text())
      .text();
}

UniqueFd open_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  return UniqueFd(signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
}

void serve(Poller& poller) {
  for (;;) {
    for (const epoll_event& event : poller.wait(std::nullopt)) {
      if (event.data.ptr == nullptr) return;  // a signal
      auto* source = static_cast<Source*>(event.data.ptr);
      if (!source->handle(event.events)) delete source;
    }
  }
}

int fail(const std::string& message) {
  std::fprintf(stderr, "mqtt-sink: %s\n", message.c_str());
  return 1;
}

int run(int argc, char** argv) {
  raise_file_limit();
  Poller poller;
  std::list<Listener> listeners;
  for (int i = 1; i < argc; i += 2) {
    if (std::string_view(argv[i]) != "--listen" || i + 1 == argc) {
      std::fputs("usage: mqtt-sink --listen ADDRESS:PORT [--listen ADDRESS:PORT]...\n", stderr);
      return 2;
    }
    const auto local = wire::Endpoint::parse(argv[i + 1]);
    if (!local) return fail(local.error().message);
    auto fd = listen_on(*local);
    if (!fd) return fail(fd.error().message);
    listeners.emplace_back(poller, *local, std::move(*fd));
    if (!poller.watch(listeners.back().fd(), EPOLLIN, &listeners.back())) return fail("epoll");
  }
  const UniqueFd signals = open_signals();
  if (!poller.watch(signals.get(), EPOLLIN, nullptr)) return fail("epoll");
  std::puts("ready");
  std::fflush(stdout);
  serve(poller);
  std::string reports;
  for (const Listener& listener : listeners) {
    reports += (reports.empty() ? "" : ", ") + listener.report();
  }
  std::printf("[%s]\n", reports.c_str());
  return 0;
}

}  // namespace
}  // namespace mqlb::load

int main(int argc, char** argv) { return mqlb::load::run(argc, argv); }
