// The Unix socket: answers, interactive sessions, hostile and dead clients. Daemon and clients are
// one thread: each step polls until what it waits for is there.
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "lib/cli/protocol.hh"
#include "lib/cli/server.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/fake_runtime.hh"
#include "tests/support/temporary_directory.hh"

using mqlb::cli::Server;
using mqlb::cli::Session;
using mqlb::cli::UniqueFd;
using mqlb::tests::FakeRuntime;

namespace {

struct Client {
  UniqueFd fd;
  std::string received;
  bool ended = false;

  // What there is room for.
  size_t write(const std::string& bytes) const {
    const ssize_t n = send(fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return n < 0 ? 0 : static_cast<size_t>(n);
  }
  void read() {
    char bytes[65536];
    for (;;) {
      const ssize_t n = recv(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
      if (n > 0) received.append(bytes, static_cast<size_t>(n));
      if (n == 0 || (n < 0 && errno != EAGAIN)) ended = true;
      if (n <= 0) return;
    }
  }
};

struct Daemon {
  mqlb::tests::TemporaryDirectory directory;
  std::string path = directory.file("mqlb.sock");
  FakeRuntime runtime;
  std::unique_ptr<Server> server;
  std::vector<std::unique_ptr<Client>> clients;

  Client& connect() {
    auto c = std::make_unique<Client>();
    c->fd = UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::connect(c->fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      fail_msg("connect: %s", std::strerror(errno));
    }
    clients.push_back(std::move(c));
    return *clients.back();
  }
  // One round of the daemon's loop; false when nothing happened for `timeout` milliseconds.
  bool turn(int timeout) {
    std::vector<pollfd> fds;
    server->add_poll_fds(fds);
    const int n = poll(fds.data(), fds.size(), timeout);
    server->handle(fds);
    return n > 0;
  }
  void run_until(Client& c, const std::function<bool()>& done) {
    for (c.read(); !done(); c.read()) {
      if (!turn(3000)) fail_msg("nothing more happens; received: %s", c.received.c_str());
    }
  }
  void expect(Client& c, const std::string& text) {
    run_until(c, [&] { return c.received.find(text) != std::string::npos || c.ended; });
    const size_t at = c.received.find(text);
    if (at == std::string::npos) fail_msg("closed; received: %s", c.received.c_str());
    c.received.erase(0, at + text.size());
  }
  void expect_end(Client& c) {
    run_until(c, [&] { return c.ended; });
  }
  // Until the daemon waits for something.
  void settle() {
    for (int i = 0; turn(0); ++i) {
      if (i == 100000) fail_msg("the daemon does not come to rest");
    }
  }
};

int start(void** state) {
  auto* d = new Daemon;
  *state = d;
  auto server = Server::listen(d->path, d->runtime);
  if (!server) return -1;
  d->server = std::move(*server);
  return 0;
}

int stop(void** state) {
  delete static_cast<Daemon*>(*state);
  return 0;
}

Daemon& daemon_of(void** state) { return *static_cast<Daemon*>(*state); }

void commands_are_answered(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  c.write("commands\nbackend set emqx broker1 weight 5\n");
  d.expect(c, "ok 0\n");
  assert_int_equal(d.runtime.current.pools[0].backends[0].weight, 5);
  c.write("backend ad emqx\n");
  d.expect(c, "error 47\nunknown word 'ad', expected add, remove or set\n");
  c.write("show neighbours\nshow route client-id x\n");
  d.expect(c, "resolving");
  d.expect(c, "<x>");
  c.write("quit\nshutdown\n");
  d.expect(c, "ok 0\n");
  d.expect_end(c);
  assert_false(d.runtime.stopped);
  d.settle();
  assert_int_equal(d.server->clients(), 0);
}

void lines_may_arrive_in_pieces(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  for (const char byte : std::string("commands\nshow neighbours\n")) {
    c.write(std::string(1, byte));
    d.settle();
  }
  d.expect(c, "resolving");
}

void clients_do_not_disturb_each_other(void** state) {
  Daemon& d = daemon_of(state);
  Client& a = d.connect();
  Client& b = d.connect();
  a.write("commands\nshow neigh");
  b.write("commands\nshow version\n");
  d.expect(b, "mqlb");
  a.write("bours\n");
  d.expect(a, "resolving");
}

void interactive_session(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  c.write("interactive\n");
  d.expect(c, "mqlb> ");
  c.write("show neighb\t");
  d.expect(c, "ours ");
  c.write("\n");
  d.expect(c, "AGE-SECONDS\r\n");
  d.expect(c, "resolving");
  d.expect(c, "mqlb> ");
  c.write("backend remove emqx broker\t");
  d.expect(c, "broker1");
  d.expect(c, "broker2");
  c.write("\x03");  // Ctrl-C gives the line up
  d.expect(c, "mqlb> ");
  c.write("set ?");
  d.expect(c, "idle-floor");
  c.write("\x03");
  d.expect(c, "mqlb> ");
  c.write("wrong\r");
  d.expect(c, "unknown word 'wrong'");
  c.write("\x1b[A");  // the line before
  d.expect(c, "wrong");
  c.write("\x03set poll busy\n");
  d.expect(c, "set poll busy");
  d.expect(c, "mqlb> ");
  assert_true(d.runtime.current.settings.poll == mqlb::config::PollMode::busy);
  c.write("show route client-id " + std::string(600, 'x') + "\n");
  d.expect(c, "too long here");
  c.write("quit\n");
  d.expect_end(c);
}

void end_of_input_ends_the_shell(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  c.write("interactive\n");
  d.expect(c, "mqlb> ");
  c.write("\x04");
  d.expect_end(c);
}

void half_a_command_is_not_executed(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  c.write("commands\nset poll busy\nshutdown");
  shutdown(c.fd.get(), SHUT_WR);
  d.expect(c, "ok 0\n");
  d.expect_end(c);
  assert_false(d.runtime.stopped);
  Client& gone = d.connect();
  gone.write("commands\nshutdown");
  gone.fd = UniqueFd();
  d.clients.clear();
  d.settle();
  assert_false(d.runtime.stopped);
  assert_int_equal(d.server->clients(), 0);
}

void garbage_is_survived(void** state) {
  Daemon& d = daemon_of(state);
  Client& first = d.connect();
  first.write("GET / HTTP/1.1\n");
  d.expect(first, "neither commands nor interactive");
  d.expect_end(first);
  std::string noise;
  uint32_t x = 1;
  for (int i = 0; i < 20000; ++i) {
    x = x * 1664525 + 1013904223;
    noise.push_back(static_cast<char>(x >> 24));
  }
  for (const char* mode : {"commands\n", "interactive\n", ""}) {
    Client& c = d.connect();
    c.write(mode);
    for (size_t sent = 0; sent < noise.size() && !c.ended;) {
      sent += c.write(noise.substr(sent, 4096));
      d.turn(100);
      c.read();
    }
    c.fd = UniqueFd();
    d.settle();
  }
  Client& last = d.connect();
  last.write("commands\nshow version\n");
  d.expect(last, "mqlb");
  assert_false(d.runtime.stopped);
}

void overlong_line_ends_the_session(void** state) {
  Daemon& d = daemon_of(state);
  Client& c = d.connect();
  c.write("commands\n");
  const std::string endless(10000, 'x');
  for (int i = 0; i < 10; ++i) {
    c.write(endless);
    d.settle();
  }
  d.expect(c, "the line is longer than");
  d.expect_end(c);
}

// Somebody who asks and never reads costs a bounded amount of memory and no waiting.
void dead_reader_does_not_block(void** state) {
  Daemon& d = daemon_of(state);
  d.runtime.flow_count = 100;
  Client& dead = d.connect();
  Client& keys = d.connect();
  dead.write("commands\n");
  keys.write("interactive\n");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "show flows\n";
  size_t refused = 0;
  for (int i = 0; i < 300; ++i) {
    if (dead.write(many) < many.size()) ++refused;
    keys.write(std::string(1000, '?'));
    d.turn(0);
  }
  assert_true(refused > 0);  // the daemon stopped reading
  const size_t asked = d.runtime.asked.size();
  d.settle();
  assert_int_equal(d.runtime.asked.size(), asked);
  Client& other = d.connect();
  other.write("commands\nshow version\n");
  d.expect(other, "mqlb");
  // It wakes up and is served on.
  d.run_until(dead, [&] { return d.runtime.asked.size() > asked; });
}

void oversized_answer_closes(void** state) {
  Daemon& d = daemon_of(state);
  d.runtime.flow_count = 60000;
  Client& c = d.connect();
  c.write("commands\nshow flows\n");
  d.settle();
  d.expect_end(c);
  assert_int_equal(d.server->clients(), 0);
}

void silent_clients_make_room(void** state) {
  Daemon& d = daemon_of(state);
  Client& active = d.connect();
  active.write("commands\n");
  for (size_t i = 0; i < Server::kMaxClients + 5; ++i) {
    d.connect();
    active.write("show version\n");
    d.settle();
    active.read();
  }
  assert_int_equal(d.server->clients(), Server::kMaxClients);
  assert_false(active.ended);
  active.received.clear();
  active.write("show version\n");
  d.expect(active, "mqlb");
}

void socket_file(void** state) {
  Daemon& d = daemon_of(state);
  struct stat file {};
  assert_int_equal(stat(d.path.c_str(), &file), 0);
  assert_int_equal(file.st_mode & 0777, 0600);
  const auto second = Server::listen(d.path, d.runtime);
  assert_false(second.has_value());
  assert_non_null(strstr(second.error().message.c_str(), "another daemon listens"));
  // One that a daemon left behind is replaced.
  const std::string stale = d.directory.file("stale.sock");
  {
    const UniqueFd left(socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, stale.c_str(), sizeof address.sun_path - 1);
    assert_int_equal(bind(left.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  assert_true(Server::listen(stale, d.runtime).has_value());
  assert_int_equal(access(stale.c_str(), F_OK), -1);
  const std::string plain = d.directory.write("plain", "precious");
  assert_false(Server::listen(plain, d.runtime).has_value());
  assert_int_equal(access(plain.c_str(), F_OK), 0);
  assert_false(Server::listen(std::string(200, 'x'), d.runtime).has_value());
  assert_false(Server::listen(d.directory.file("no/such/place"), d.runtime).has_value());
  // Gone at the end, unless it is somebody else's by then.
  d.server.reset();
  assert_int_equal(access(d.path.c_str(), F_OK), -1);
}

}  // namespace

#define WITH_DAEMON(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main() {
  const CMUnitTest tests[] = {
      WITH_DAEMON(commands_are_answered),
      WITH_DAEMON(lines_may_arrive_in_pieces),
      WITH_DAEMON(clients_do_not_disturb_each_other),
      WITH_DAEMON(interactive_session),
      WITH_DAEMON(end_of_input_ends_the_shell),
      WITH_DAEMON(half_a_command_is_not_executed),
      WITH_DAEMON(garbage_is_survived),
      WITH_DAEMON(overlong_line_ends_the_session),
      WITH_DAEMON(dead_reader_does_not_block),
      WITH_DAEMON(oversized_answer_closes),
      WITH_DAEMON(silent_clients_make_room),
      WITH_DAEMON(socket_file),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
