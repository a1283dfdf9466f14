#include "lib/cli/grammar.hh"

#include <algorithm>
#include <cassert>

namespace mqlb::cli {
namespace {

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  size_t at = 0;
  while ((at = text.find_first_not_of(separators, at)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(separators, at), text.size());
    parts.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return parts;
}

Token make_token(const std::string& text) {
  const size_t colon = text.find(':');
  if (colon == std::string::npos) return {text, {text}, nullptr};
  const std::string type = text.substr(colon + 1);
  if (type.find('|') != std::string::npos) {
    return {text.substr(0, colon), split(type, "|"), nullptr};
  }
  Token token{text.substr(0, colon), {}, find_argument_type(type)};
  assert(token.type != nullptr);
  return token;
}

struct PatternWord {
  Token token;
  bool optional = false;
};

std::vector<PatternWord> take_apart(std::string_view pattern) {
  std::vector<PatternWord> words;
  bool optional = false;
  for (std::string text : split(pattern, " ")) {
    const bool ends = text.back() == ']';
    if (text.front() == '[') {
      optional = true;
      text.erase(0, 1);
    }
    if (ends) text.pop_back();
    words.push_back({make_token(text), optional});
    if (ends) optional = false;
  }
  return words;
}

std::vector<Form> make_forms() {
  std::vector<Form> all;
  for (const Command& command : commands()) {
    Form shorter{&command, {}};
    Form whole{&command, {}};
    for (PatternWord& word : take_apart(command.pattern)) {
      if (!word.optional) shorter.tokens.push_back(word.token);
      whole.tokens.push_back(std::move(word.token));
    }
    const bool two = shorter.tokens.size() != whole.tokens.size();
    if (two) all.push_back(std::move(shorter));
    all.push_back(std::move(whole));
  }
  return all;
}

bool fits(const Token& token, const std::string& word) {
  return token.type || std::find(token.words.begin(), token.words.end(), word) != token.words.end();
}

// How many of the words fit, one after the other.
size_t count_fitting(const Form& form, const std::vector<std::string>& words) {
  size_t n = 0;
  while (n < words.size() && n < form.tokens.size() && fits(form.tokens[n], words[n])) {
    if (form.tokens[n].is_rest()) return words.size();
    ++n;
  }
  return n;
}

void add_new(std::vector<std::string>& list, const std::string& item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.push_back(item);
}

std::string join_choices(const std::vector<std::string>& choices) {
  std::string text;
  for (size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += choices[i];
  }
  return text;
}

// "; N: a number from 1 to 1000" for each number.
std::string number_ranges(const Command& command) {
  std::string text;
  for (const PatternWord& word : take_apart(command.pattern)) {
    const ArgumentType* type = word.token.type;
    if (!type || type->kind != ArgumentType::Kind::number) continue;
    text += "; " + word.token.name + ": " + describe(*type);
  }
  return text;
}

}  // namespace

std::string Token::shown() const {
  if (type) return name;
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "|") + word;
  return text;
}

const std::vector<Form>& forms() {
  static const std::vector<Form> all = make_forms();
  return all;
}

std::string usage(const Command& command) {
  std::string text;
  bool open = false;
  for (const PatternWord& word : take_apart(command.pattern)) {
    if (open && !word.optional) text += "]";
    if (!text.empty()) text += " ";
    if (!open && word.optional) text += "[";
    open = word.optional;
    text += word.token.shown();
  }
  return open ? text + "]" : text;
}

std::string explain_mismatch(std::string_view line) {
  const std::vector<std::string> words = split(line.substr(0, line.find('#')), " \t");
  size_t best = 0;
  for (const Form& form : forms()) best = std::max(best, count_fitting(form, words));
  std::vector<std::string> expected;
  for (const Form& form : forms()) {
    if (count_fitting(form, words) != best || form.tokens.size() <= best) continue;
    const Token& token = form.tokens[best];
    if (token.type) add_new(expected, token.name);
    for (const std::string& word : token.words) add_new(expected, word);
  }
  if (best == words.size()) return "incomplete command, expected " + join_choices(expected);
  if (expected.empty()) return "word " + quoted(words[best]) + " is too much";
  return "unknown word " + quoted(words[best]) + ", expected " + join_choices(expected);
}

std::string help_text(std::string_view words) {
  const std::vector<std::string> wanted = split(words, " \t");
  std::string text;
  const Command* last = nullptr;
  for (const Form& form : forms()) {
    if (form.command == last || count_fitting(form, wanted) < wanted.size()) continue;
    last = form.command;
    std::string line = usage(*form.command);
    line.resize(std::max<size_t>(line.size() + 2, 58), ' ');
    text += line + std::string(form.command->help) + "\n";
  }
  return text;
}

std::string reference() {
  std::string text = "| command | what it does |\n| --- | --- |\n";
  for (const Command& command : commands()) {
    std::string cell;
    for (const char c : usage(command)) cell += c == '|' ? std::string("\\|") : std::string(1, c);
    text += "| `" + cell + "` | " + std::string(command.help) + number_ranges(command);
    if (command.where == Where::startup) text += " (start-up file only)";
    text += " |\n";
  }
  text += "\nArguments:\n\n";
  std::vector<std::string> seen;
  for (const Form& form : forms()) {
    for (const Token& token : form.tokens) {
      if (!token.type || token.type->kind == ArgumentType::Kind::number) continue;
      const std::string line = "- `" + token.name + "`: " + describe(*token.type) + "\n";
      if (std::find(seen.begin(), seen.end(), line) != seen.end()) continue;
      seen.push_back(line);
      text += line;
    }
  }
  return text;
}

}  // namespace mqlb::cli
