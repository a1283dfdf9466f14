// An operator's line: keys in, screen out, with history and completion, by librte_cmdline's rdline.
//
// Owns no descriptor: what the screen is to show collects in output(), so that a reader that is
// slow or gone is the owner's affair and blocks nobody.
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct rdline;

namespace mqlb::cli {

class Interpreter;

class LineEditor {
 public:
  enum class Event : uint8_t { none, line, end };  // end: Ctrl-D

  LineEditor(std::string_view prompt, Interpreter& interpreter);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  Event feed(char key);
  // After Event::line: the line. It is cut when it filled the editor: is_cut() says so.
  [[nodiscard]] std::string_view line() const { return line_; }
  [[nodiscard]] bool is_cut() const;
  // Shows the prompt for the next line.
  void start_line();
  // Shows text, its lines ended as a raw terminal wants them.
  void print(std::string_view text);

  [[nodiscard]] std::string& output() { return output_; }

 private:
  struct Callbacks;
  rdline* editor_;
  Interpreter& interpreter_;
  std::string prompt_;
  std::string line_;
  std::string output_;
};

}  // namespace mqlb::cli
