#include "lib/cli/interpreter.hh"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace mqlb::cli {
namespace {

bool is_control(char c) { return (static_cast<unsigned char>(c) < ' ' && c != '\t') || c == 0x7f; }

}  // namespace

base::Result<Invocation> Parser::parse(std::string_view line) {
  if (std::any_of(line.begin(), line.end(), is_control)) {
    return base::fail("the line has a control character");
  }
  const auto match = matcher_.match(line);
  if (!match) return base::fail(explain_mismatch(line));
  if (!match->form) return Invocation{};
  Invocation invocation{match->form->command, {}};
  for (size_t i = 0; i < match->words.size(); ++i) {
    const Token& token = match->form->tokens[i];
    if (!token.type) {
      invocation.args.set(token.name, match->words[i]);
      continue;
    }
    auto value = parse_value(*token.type, match->words[i]);
    if (!value) {
      std::string message = value.error().message;
      const std::string wanted = describe(*token.type);
      if (message.find(wanted) == std::string::npos) message += ", expected " + wanted;
      return base::fail(token.name + ": " + message);
    }
    invocation.args.set(token.name, std::move(*value));
  }
  return invocation;
}

base::Result<std::string> Interpreter::run(const Invocation& invocation, Context& context) {
  const Command& command = *invocation.command;
  if (command.where == Where::startup) {
    return base::fail("this is possible in the start-up file only");
  }
  if (command.run) return command.run(context, invocation.args);
  config::Model changed = runtime_.model();
  if (auto r = command.edit(changed, invocation.args); !r) return tl::unexpected(r.error());
  if (auto r = runtime_.apply(changed); !r) return tl::unexpected(r.error());
  return std::string();
}

Reply Interpreter::execute(std::string_view line) {
  const auto invocation = parser_.parse(line);
  if (!invocation) return {false, false, invocation.error().message + "\n"};
  if (!invocation->command) return {};
  Context context{runtime_};
  auto text = run(*invocation, context);
  if (!text) return {false, context.quit, text.error().message + "\n"};
  return {true, context.quit, std::move(*text)};
}

namespace {

base::Result<void> run_script_line(Parser& parser, std::string_view line, config::Model& model) {
  const auto invocation = parser.parse(line);
  if (!invocation) return tl::unexpected(invocation.error());
  if (!invocation->command) return {};
  if (!invocation->command->edit) return base::fail("this is possible in the shell only");
  return invocation->command->edit(model, invocation->args);
}

}  // namespace

std::vector<std::string> run_script(const std::string& path, config::Model& model) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) return {path + ": " + std::strerror(errno)};
  if (S_ISDIR(status.st_mode)) return {path + ": " + std::strerror(EISDIR)};
  std::ifstream file(path);
  if (!file) return {path + ": cannot be read"};
  std::vector<std::string> errors;
  Parser parser;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (auto r = run_script_line(parser, line, model); !r) {
      errors.push_back(path + ":" + std::to_string(number) + ": " + r.error().message);
    }
  }
  if (file.bad()) errors.push_back(path + ": cannot be read");
  // With a line missing, the whole may be wrong only because of that.
  if (!errors.empty()) return errors;
  if (auto r = config::validate(model); !r) errors.push_back(path + ": " + r.error().message);
  return errors;
}

}  // namespace mqlb::cli
