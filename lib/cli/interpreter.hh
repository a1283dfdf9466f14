// From a line of text to what it does.
//
// Parser turns a line into a command and its values. Interpreter carries it out on the running
// daemon. run_script() reads a start-up file into a model without a daemon. Control thread only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "lib/cli/command.hh"
#include "lib/cli/matcher.hh"

namespace mqlb::cli {

struct Invocation {
  const Command* command = nullptr;  // null: a blank line or a comment
  Args args;
};

class Parser {
 public:
  [[nodiscard]] base::Result<Invocation> parse(std::string_view line);
  [[nodiscard]] Matcher& matcher() { return matcher_; }

 private:
  Matcher matcher_;
};

struct Reply {
  bool ok = true;
  bool quit = false;  // the session is to end
  std::string text;   // lines, each with its end; a message when not ok
};

class Interpreter {
 public:
  explicit Interpreter(Runtime& runtime) : runtime_(runtime) {}

  [[nodiscard]] Reply execute(std::string_view line);
  // Completion, as rdline asks for it (Matcher::complete).
  int complete(const char* text, int* state, char* out, unsigned size) {
    return parser_.matcher().complete(runtime_.model(), text, state, out, size);
  }

 private:
  base::Result<std::string> run(const Invocation& invocation, Context& context);

  Runtime& runtime_;
  Parser parser_;
};

// Carries out every line of a start-up file on `model`, then validates it. Returns what is wrong,
// as FILE:LINE: message, and FILE: message for the model as a whole; empty: all is well.
[[nodiscard]] std::vector<std::string> run_script(const std::string& path, config::Model& model);

}  // namespace mqlb::cli
