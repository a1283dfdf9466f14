#include "lib/cli/command.hh"
#include "lib/cli/grammar.hh"

namespace mqlb::cli {
namespace {

base::Result<std::string> help(Context&, const Args& args) {
  const std::string words = args.has("WORDS") ? args.text("WORDS") : "";
  std::string text = help_text(words);
  if (text.empty()) return base::fail("no command begins with " + quoted(words));
  return text;
}

base::Result<std::string> quit(Context& context, const Args&) {
  context.quit = true;
  return std::string();
}

base::Result<std::string> shutdown(Context& context, const Args&) {
  context.runtime.request_stop();
  return std::string("mqlb stops\n");
}

}  // namespace

std::vector<Command> shell_commands() {
  return {
      {"help [WORDS:words]", "lists commands, or those that begin with some words", Where::shell,
       nullptr, help},
      {"quit", "leaves the shell", Where::shell, nullptr, quit},
      {"shutdown", "ends the daemon in order", Where::shell, nullptr, shutdown},
  };
}

const std::vector<Command>& commands() {
  static const std::vector<Command> all = [] {
    std::vector<Command> list;
    for (const auto part :
         {network_commands, pool_commands, check_commands, backend_commands, listener_commands,
          admission_commands, setting_commands, show_commands, shell_commands}) {
      for (const Command& command : part()) list.push_back(command);
    }
    return list;
  }();
  return all;
}

}  // namespace mqlb::cli
