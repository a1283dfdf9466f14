// Results that carry either a value or a reason.
//
// Thin names over tl::expected (g++ 12 has no std::expected). Control-plane code uses
// Result<T>, whose error is a sentence for a person; parsers define their own error types.
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace mqlb::base {

// A message for the operator: what was wrong and what was expected, without a newline.
struct Error {
  std::string message;
};

template <typename T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(std::string message) {
  return tl::unexpected<Error>(Error{std::move(message)});
}

}  // namespace mqlb::base
