// Patterns of commands taken apart into tokens, and what they say about a line that fits none.
#pragma once

#include "lib/cli/command.hh"

namespace mqlb::cli {

struct Token {
  std::string name;                    // the fixed word, or the argument's name
  std::vector<std::string> words;      // those it may be; empty: any, as `type` says
  const ArgumentType* type = nullptr;  // of an argument that is not a choice of words

  [[nodiscard]] bool is_rest() const { return type && type->kind == ArgumentType::Kind::rest; }
  // As help shows it: "add", "POOL", "client|both".
  [[nodiscard]] std::string shown() const;
};

// One way to write a command: a command with a group that may be left out has two.
struct Form {
  const Command* command = nullptr;
  std::vector<Token> tokens;
};

// The forms of all commands, in order; they live as long as the program.
[[nodiscard]] const std::vector<Form>& forms();

// The pattern as help shows it: "backend add POOL NAME ENDPOINT [weight N]".
[[nodiscard]] std::string usage(const Command& command);

// For a line that fits no form: which word is wrong or missing, and what was expected there.
[[nodiscard]] std::string explain_mismatch(std::string_view line);

// Usage and help of every command that begins with these words; empty: none does.
[[nodiscard]] std::string help_text(std::string_view words);

// All commands as Markdown.
[[nodiscard]] std::string reference();

}  // namespace mqlb::cli
