// The kinds of words that a command takes: what each expects, how its text becomes a value, and
// which values the configuration knows already (for completion).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/base/result.hh"
#include "lib/config/limits.hh"
#include "lib/config/model.hh"

namespace mqlb::cli {

using Value = std::variant<std::string, uint64_t, wire::IpAddress, wire::Prefix, wire::Endpoint>;

struct ArgumentType {
  enum class Kind : uint8_t { name, text, number, address, prefix, endpoint, rest };

  std::string_view name;  // as patterns call it
  Kind kind;
  std::string_view expects;  // follows "expected"; empty for numbers, which have a range
  config::Range range{};     // of numbers
  std::vector<std::string> (*known)(const config::Model&) = nullptr;
};

// Null when there is no such type.
[[nodiscard]] const ArgumentType* find_argument_type(std::string_view name);

// "a number from 1 to 1000".
[[nodiscard]] std::string describe(const ArgumentType& type);

[[nodiscard]] base::Result<Value> parse_value(const ArgumentType& type, std::string_view text);

// The operator's text in quotes, fit for a terminal: cut, and without control characters.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace mqlb::cli
