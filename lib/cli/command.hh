// The command table: each command's pattern, one line of help and handler, in one place. Parsing,
// completion, help and the reference are generated from it.
//
// A pattern is a line of words:
//   add               a fixed word
//   POOL:pool         an argument named POOL of the type `pool` (arguments.hh)
//   ROLE:client|both  an argument named ROLE that is one of the words
//   [weight N:weight] words that may be left out, together; at most one such group
#pragma once

#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cli/arguments.hh"
#include "lib/cli/runtime.hh"

namespace mqlb::cli {

// The words of one line, by their names in the pattern. Asking for a name that the pattern does not
// have is a mistake in the table, which its unit test finds.
class Args {
 public:
  void set(std::string name, Value value) { values_[std::move(name)] = std::move(value); }

  [[nodiscard]] bool has(std::string_view name) const { return values_.contains(name); }
  [[nodiscard]] const std::string& text(std::string_view name) const {
    return get<std::string>(name);
  }
  // T is wide enough for the argument's range.
  template <typename T>
  [[nodiscard]] T number(std::string_view name) const {
    return static_cast<T>(get<uint64_t>(name));
  }
  template <typename T>
  [[nodiscard]] T duration(std::string_view name) const {
    return T(number<typename T::rep>(name));
  }
  [[nodiscard]] const wire::IpAddress& address(std::string_view name) const {
    return get<wire::IpAddress>(name);
  }
  [[nodiscard]] const wire::Prefix& prefix(std::string_view name) const {
    return get<wire::Prefix>(name);
  }
  [[nodiscard]] const wire::Endpoint& endpoint(std::string_view name) const {
    return get<wire::Endpoint>(name);
  }
  // The one of `values` whose to_string() is the word given.
  template <typename Enum>
  [[nodiscard]] Enum choice(std::string_view name, std::initializer_list<Enum> values) const {
    for (const Enum value : values) {
      if (to_string(value) == text(name)) return value;
    }
    return *values.begin();
  }

 private:
  template <typename T>
  [[nodiscard]] const T& get(std::string_view name) const {
    return std::get<T>(values_.find(name)->second);
  }

  std::map<std::string, Value, std::less<>> values_;
};

enum class Where : uint8_t { anywhere, startup, shell };

// What a command that is not an edit may use.
struct Context {
  Runtime& runtime;
  bool quit = false;  // set to end the session
};

struct Command {
  std::string_view pattern;
  std::string_view help;
  Where where = Where::anywhere;
  // One of the two. An edit changes a copy of the model, which is then validated and published.
  base::Result<void> (*edit)(config::Model& model, const Args& args) = nullptr;
  base::Result<std::string> (*run)(Context& context, const Args& args) = nullptr;
};

// All commands, in the order of the reference.
[[nodiscard]] const std::vector<Command>& commands();

// Its parts, each beside its handlers.
[[nodiscard]] std::vector<Command> network_commands();
[[nodiscard]] std::vector<Command> pool_commands();
[[nodiscard]] std::vector<Command> check_commands();
[[nodiscard]] std::vector<Command> backend_commands();
[[nodiscard]] std::vector<Command> listener_commands();
[[nodiscard]] std::vector<Command> admission_commands();
[[nodiscard]] std::vector<Command> setting_commands();
[[nodiscard]] std::vector<Command> show_commands();
[[nodiscard]] std::vector<Command> shell_commands();

}  // namespace mqlb::cli
