// mqlb EAL-ARGS -- --config FILE [--socket PATH] [--check]
#include <getopt.h>
#include <poll.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <sodium.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "app/mqlb/daemon.hh"
#include "lib/cli/interpreter.hh"
#include "lib/cli/server.hh"

namespace mqlb::app {
namespace {

constexpr int kPollMilliseconds = 5;
constexpr int kBusyMilliseconds = 1;  // a check's answers do not wake control

struct Arguments {
  std::string config;
  std::string socket = "/run/mqlb.sock";
  bool check = false;
};

void print_usage() {
  std::fputs(
      "usage: mqlb EAL-ARGS -- --config FILE [--socket PATH] [--check]\n"
      "  --config FILE  start-up file: commands as mqlbctl takes them\n"
      "  --socket PATH  where mqlbctl connects (default /run/mqlb.sock)\n"
      "  --check        read and validate the file, start nothing\n"
      "EAL-ARGS name the cores (-l), memory and devices: see dpdk-config/.\n",
      stderr);
}

bool parse_arguments(int argc, char** argv, Arguments& out) {
  const option options[] = {{"config", required_argument, nullptr, 'c'},
                            {"socket", required_argument, nullptr, 's'},
                            {"check", no_argument, nullptr, 'k'},
                            {nullptr, 0, nullptr, 0}};
  optind = 1;
  int choice = 0;
  while ((choice = getopt_long(argc, argv, "", options, nullptr)) != -1) {
    switch (choice) {
      case 'c':
        out.config = optarg;
        break;
      case 's':
        out.socket = optarg;
        break;
      case 'k':
        out.check = true;
        break;
      default:
        return false;
    }
  }
  return !out.config.empty() && optind == argc;
}

int fail(const std::string& message) {
  std::fprintf(stderr, "mqlb: %s\n", message.c_str());
  return 1;
}

// Signals come as events of the control loop. Blocked before the EAL makes threads, so that no data
// core ever takes one.
int open_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  sigdelset(&signals, SIGPIPE);
  return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

void control_loop(Daemon& daemon, cli::Server& server, int signals) {
  std::vector<pollfd> fds;
  while (!daemon.stop_requested()) {
    fds.clear();
    fds.push_back({signals, POLLIN, 0});
    server.add_poll_fds(fds);
    poll(fds.data(), fds.size(), daemon.busy() ? kBusyMilliseconds : kPollMilliseconds);
    if ((fds[0].revents & POLLIN) != 0) return;
    server.handle(fds);
    daemon.advance();
  }
}

int serve(const config::Model& model, const Arguments& arguments, int signals) {
  auto daemon = Daemon::create(model);
  if (!daemon) return fail(daemon.error().message);
  auto server = cli::Server::listen(arguments.socket, **daemon);
  if (!server) return fail(server.error().message);
  if (auto started = (*daemon)->start(); !started) return fail(started.error().message);
  std::puts("mqlb: ready");
  std::fflush(stdout);
  control_loop(**daemon, **server, signals);
  (*daemon)->finish_checks();
  return 0;
}

int run(int argc, char** argv) {
  // What is before "--" is the EAL's.
  int eal_arguments = 0;
  while (eal_arguments < argc && std::strcmp(argv[eal_arguments], "--") != 0) ++eal_arguments;
  Arguments arguments;
  const int rest = eal_arguments < argc ? argc - eal_arguments : 0;
  if (rest == 0 || !parse_arguments(rest, argv + eal_arguments, arguments)) {
    print_usage();
    return 2;
  }
  config::Model model;
  std::vector<std::string> errors = cli::run_script(arguments.config, model);
  if (errors.empty()) {
    if (auto supported = config::check_supported(model); !supported) {
      errors.push_back(arguments.config + ": " + supported.error().message);
    }
  }
  for (const std::string& error : errors) std::fprintf(stderr, "%s\n", error.c_str());
  if (!errors.empty()) return 1;
  if (arguments.check) return 0;

  if (sodium_init() < 0) return fail("libsodium cannot be initialised");
  const int signals = open_signals();
  if (rte_eal_init(eal_arguments, argv) < 0) {
    return fail(std::string("the EAL cannot be initialised: ") + rte_strerror(rte_errno));
  }
  const int status = serve(model, arguments, signals);
  rte_eal_cleanup();
  close(signals);
  return status;
}

}  // namespace
}  // namespace mqlb::app

int main(int argc, char** argv) { return mqlb::app::run(argc, argv); }
