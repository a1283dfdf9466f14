// mqlbctl: the operator's shell over the daemon's Unix socket.
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <vector>

#include "app/mqlbctl/client.hh"
#include "app/mqlbctl/terminal.hh"
#include "lib/cli/protocol.hh"

namespace {

using mqlb::mqlbctl::Client;

constexpr int kDone = 0;
constexpr int kCommandFailed = 1;
constexpr int kNoDaemon = 2;  // or wrong usage

constexpr const char* kUsage =
    "usage: mqlbctl [--socket PATH] [COMMAND...]\n"
    "\n"
    "Without a COMMAND: a shell on a terminal, else one command a line from standard input.\n"
    "`mqlbctl help` lists the commands. The socket is /run/mqlb.sock unless given.\n"
    "Exit status: 0 all is well, 1 a command failed, 2 no daemon or wrong usage.\n";

struct Arguments {
  std::string socket{mqlb::cli::kDefaultSocket};
  std::string command;
  bool help = false;
  bool wrong = false;
};

Arguments parse_arguments(const std::vector<std::string>& words) {
  Arguments a;
  size_t i = 0;
  for (; i < words.size() && words[i].starts_with("-"); ++i) {
    if (words[i] == "--socket" && i + 1 < words.size()) {
      a.socket = words[++i];
    } else if (words[i] == "--help" || words[i] == "-h") {
      a.help = true;
    } else {
      a.wrong = true;
    }
  }
  for (; i < words.size(); ++i) a.command += (a.command.empty() ? "" : " ") + words[i];
  a.wrong |= a.command.find('\n') != std::string::npos;
  return a;
}

int lost() {
  std::fputs("mqlbctl: the daemon closed the connection\n", stderr);
  return kNoDaemon;
}

// where: put before an error, such as "line 3: ".
int run_command(Client& client, const std::string& line, const std::string& where) {
  if (line.size() > mqlb::cli::kMaxLine) {
    std::fprintf(stderr, "%sthe line is too long\n", where.c_str());
    return kCommandFailed;
  }
  if (!client.send(line + "\n")) return lost();
  const auto answer = client.receive_answer();
  if (!answer) return lost();
  std::FILE* out = answer->ok ? stdout : stderr;
  if (!answer->ok) std::fputs(where.c_str(), stderr);
  std::fwrite(answer->text.data(), 1, answer->text.size(), out);
  return answer->ok ? kDone : kCommandFailed;
}

// A wrong line does not keep the next ones from being tried.
int run_lines(Client& client) {
  int status = kDone;
  std::string line;
  for (size_t number = 1; std::getline(std::cin, line); ++number) {
    if (line == "quit") break;
    const int one = run_command(client, line, "line " + std::to_string(number) + ": ");
    if (one == kNoDaemon) return one;
    if (one != kDone) status = one;
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  const Arguments arguments = parse_arguments({argv + 1, argv + argc});
  if (arguments.help || arguments.wrong) {
    std::fputs(kUsage, arguments.wrong ? stderr : stdout);
    return arguments.wrong ? kNoDaemon : kDone;
  }
  auto client = Client::connect(arguments.socket);
  if (!client) {
    std::fprintf(stderr, "mqlbctl: %s\n", client.error().message.c_str());
    return kNoDaemon;
  }
  if (arguments.command.empty() && isatty(STDIN_FILENO) == 1) {
    return mqlb::mqlbctl::run_interactive(*client);
  }
  if (!client->send(std::string(mqlb::cli::kCommands) + "\n")) return lost();
  return arguments.command.empty() ? run_lines(*client)
                                   : run_command(*client, arguments.command, "");
}
