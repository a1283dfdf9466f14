// Lines against the command table, by DPDK's librte_cmdline: which form a line has, and how a line
// goes on.
//
// The only place that knows how librte_cmdline wants its instructions: they end in a flexible
// array, which C++ can not initialise, so that each is built in a block of raw memory.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cli/grammar.hh"

struct cmdline;

namespace mqlb::cli {

class Matcher {
 public:
  struct Match {
    const Form* form = nullptr;
    std::vector<std::string> words;  // one per token
  };

  Matcher();
  ~Matcher();
  Matcher(const Matcher&) = delete;
  Matcher& operator=(const Matcher&) = delete;

  // Nothing when the line has no form; a match without a form when it is blank or a comment. The
  // line has no control character but tabs.
  [[nodiscard]] std::optional<Match> match(std::string_view line);

  // cmdline_complete(): *state 0 asks for what follows `text`, above 0 and -1 for the possible
  // words, one a call. `model` knows the names; it must not change until *state is back at 0.
  int complete(const config::Model& model, const char* text, int* state, char* out, unsigned size);

 private:
  struct Private;
  std::unique_ptr<Private> private_;
};

}  // namespace mqlb::cli
