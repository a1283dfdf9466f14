// Patterns over bytes: '*' stands for any number of bytes, '?' for one, all else for itself.
#pragma once

#include <string_view>

namespace mqlb::base {

// True if the pattern describes all of the text. Takes at most their lengths' product of steps, and
// about the text's length for patterns in use.
[[nodiscard]] constexpr bool matches_glob(std::string_view pattern, std::string_view text) {
  constexpr size_t kNone = std::string_view::npos;
  size_t p = 0;
  size_t star = kNone;  // the latest '*', which took the text up to `taken`
  size_t taken = 0;
  for (size_t t = 0; t < text.size();) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != kNone) {
      p = star + 1;
      t = ++taken;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace mqlb::base
