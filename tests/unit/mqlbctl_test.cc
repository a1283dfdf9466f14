// The program mqlbctl (its path is the argument) against a daemon in a child process: exit status,
// standard streams, and a session on a pseudo-terminal.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "lib/cli/server.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/fake_runtime.hh"
#include "tests/support/temporary_directory.hh"

namespace {

const char* program;

struct World {
  mqlb::tests::TemporaryDirectory directory;
  std::string socket = directory.file("mqlb.sock");
  mqlb::tests::FakeRuntime runtime;
  std::unique_ptr<mqlb::cli::Server> server;  // the child serves; the parent removes the file
  pid_t daemon = -1;
};

[[noreturn]] void serve(mqlb::cli::Server& server) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (;;) {
    std::vector<pollfd> fds;
    server.add_poll_fds(fds);
    poll(fds.data(), fds.size(), -1);
    server.handle(fds);
  }
}

int start(void** state) {
  auto* w = new World;
  *state = w;
  // The socket listens before the fork: clients need not wait for the child.
  auto server = mqlb::cli::Server::listen(w->socket, w->runtime);
  if (!server) return -1;
  w->server = std::move(*server);
  w->daemon = fork();
  if (w->daemon == 0) serve(*w->server);
  return w->daemon > 0 ? 0 : -1;
}

int stop(void** state) {
  auto* w = static_cast<World*>(*state);
  if (w->daemon > 0) {
    kill(w->daemon, SIGKILL);
    waitpid(w->daemon, nullptr, 0);
  }
  delete w;
  return 0;
}

std::string contents(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

int exit_status(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

[[noreturn]] void execute(std::vector<std::string> arguments) {
  std::vector<char*> argv{const_cast<char*>(program)};
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  execv(program, argv.data());
  _exit(126);
}

int run(const World& w, const std::vector<std::string>& arguments, const std::string& input) {
  const std::string in = w.directory.write("in", input);
  const pid_t child = fork();
  if (child == 0) {
    dup2(open(in.c_str(), O_RDONLY), STDIN_FILENO);
    dup2(creat(w.directory.file("out").c_str(), 0600), STDOUT_FILENO);
    dup2(creat(w.directory.file("err").c_str(), 0600), STDERR_FILENO);
    execute(arguments);
  }
  return exit_status(child);
}

void streams_and_status(void** state) {
  const World& w = *static_cast<World*>(*state);
  const std::string here = w.socket;
  const struct {
    std::vector<std::string> arguments;
    const char* input;
    int status;
    const char* out;
    const char* error;
  } rows[] = {
      {{"--socket", here, "show", "neighbours"}, "", 0, "resolving", ""},
      {{"--socket", here, "show route client-id a  b"}, "", 0, "<a  b>", ""},
      {{"--socket", here, "backend", "ad"}, "", 1, "", "unknown word 'ad'"},
      {{"--socket", here}, "show version\nset poll busy\nshow config\n", 0, "set poll busy", ""},
      {{"--socket", here}, "wrong\nshow version\n", 1, "mqlb", "line 1: unknown word 'wrong'"},
      {{"--socket", here}, "quit\nwrong\n", 0, "", ""},
      {{"--socket", here}, "", 0, "", ""},
      {{"--socket", here + "x", "show", "version"}, "", 2, "", "no daemon at"},
      {{"--socket"}, "", 2, "", "usage: mqlbctl"},
      {{"--frobnicate"}, "", 2, "", "usage: mqlbctl"},
      {{"--socket", here, "show\nversion"}, "", 2, "", "usage: mqlbctl"},
      {{"--help"}, "", 0, "usage: mqlbctl", ""},
  };
  for (const auto& row : rows) {
    const int status = run(w, row.arguments, row.input);
    const std::string out = contents(w.directory.file("out"));
    const std::string error = contents(w.directory.file("err"));
    if (status != row.status || out.find(row.out) == std::string::npos ||
        error.find(row.error) == std::string::npos || (*row.error == '\0' && !error.empty())) {
      fail_msg("%s: status %d\n%s%s", row.arguments.back().c_str(), status, out.c_str(),
               error.c_str());
    }
  }
}

// A pseudo-terminal with mqlbctl on it.
struct Terminal {
  int fd = -1;
  pid_t child = -1;
  termios before{};

  explicit Terminal(const World& w) {
    int slave = -1;
    if (openpty(&fd, &slave, nullptr, nullptr, nullptr) != 0) fail_msg("openpty");
    tcgetattr(slave, &before);
    child = fork();
    if (child == 0) {
      // Not as its controlling terminal, which its end would hang up and reset.
      for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(slave, standard);
      execute({"--socket", w.socket});
    }
    slave_ = slave;  // kept open, to look at its settings
  }
  ~Terminal() {
    close(fd);
    close(slave_);
  }
  void type(const std::string& keys) const {
    assert_int_equal(write(fd, keys.data(), keys.size()), keys.size());
  }
  void expect(const std::string& text) {
    while (screen.find(text) == std::string::npos) {
      pollfd p{fd, POLLIN, 0};
      char bytes[4096];
      if (poll(&p, 1, 5000) <= 0)
        fail_msg("not on the screen: %s\n%s", text.c_str(), screen.c_str());
      const ssize_t n = read(fd, bytes, sizeof bytes);
      if (n <= 0) fail_msg("ended; screen: %s", screen.c_str());
      screen.append(bytes, static_cast<size_t>(n));
    }
    screen.erase(0, screen.find(text) + text.size());
  }
  [[nodiscard]] bool is_raw() const {
    termios now{};
    tcgetattr(slave_, &now);
    return (now.c_lflag & ICANON) == 0;
  }
  [[nodiscard]] bool is_as_before() const {
    termios now{};
    tcgetattr(slave_, &now);
    return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag &&
           now.c_oflag == before.c_oflag;
  }

  std::string screen;

 private:
  int slave_ = -1;
};

void terminal_session(void** state) {
  Terminal t(*static_cast<World*>(*state));
  t.expect("mqlb> ");
  assert_true(t.is_raw());
  t.type("show neigh\t");
  t.expect("ours ");
  t.type("\r");
  t.expect("AGE-SECONDS\r\n");
  t.expect("mqlb> ");
  t.type("\x03quit\r");
  assert_int_equal(exit_status(t.child), 0);
  assert_true(t.is_as_before());
}

void signal_restores_the_terminal(void** state) {
  Terminal t(*static_cast<World*>(*state));
  t.expect("mqlb> ");
  assert_true(t.is_raw());
  kill(t.child, SIGTERM);
  assert_int_equal(exit_status(t.child), 128 + SIGTERM);
  assert_true(t.is_as_before());
}

void dead_daemon_ends_the_session(void** state) {
  World& w = *static_cast<World*>(*state);
  Terminal t(w);
  t.expect("mqlb> ");
  kill(w.daemon, SIGKILL);
  waitpid(w.daemon, nullptr, 0);
  w.daemon = -1;
  assert_int_equal(exit_status(t.child), 0);
  assert_true(t.is_as_before());
}

}  // namespace

#define WITH_WORLD(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  program = argv[1];
  const CMUnitTest tests[] = {
      WITH_WORLD(streams_and_status),
      WITH_WORLD(terminal_session),
      WITH_WORLD(signal_restores_the_terminal),
      WITH_WORLD(dead_daemon_ends_the_session),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
