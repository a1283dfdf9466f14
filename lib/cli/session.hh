// One client of the socket: bytes in, commands carried out, bytes out. Never blocks.
//
// A client that does not read is not served on: commands wait while kPauseOutput bytes wait to be
// sent, and a client that one answer takes past kMaxOutput is closed.
#pragma once

#include <memory>
#include <string>

#include "lib/cli/interpreter.hh"
#include "lib/cli/line_editor.hh"
#include "lib/cli/unique_fd.hh"

namespace mqlb::cli {

class Session {
 public:
  static constexpr size_t kPauseOutput = 64 * 1024;
  static constexpr size_t kMaxOutput = 4 * 1024 * 1024;

  // The descriptor does not block.
  Session(UniqueFd fd, Interpreter& interpreter) : fd_(std::move(fd)), interpreter_(interpreter) {}

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] short events() const;  // for poll()
  void handle(short events);
  [[nodiscard]] bool is_over() const { return over_; }

 private:
  enum class Mode : uint8_t { unknown, commands, interactive };

  void receive();
  void process();
  void send();
  bool process_one();
  bool choose_mode();
  bool run_command();
  bool feed_editor();
  void answer(const Reply& reply);
  // The next line without its end, or false while there is none.
  bool take_line(std::string& line);
  [[nodiscard]] bool has_input() const;  // that a turn can go on with
  [[nodiscard]] bool is_paused() const;

  UniqueFd fd_;
  Interpreter& interpreter_;
  Mode mode_ = Mode::unknown;
  std::unique_ptr<LineEditor> editor_;
  std::string input_;
  std::string output_;
  bool end_of_input_ = false;
  bool closing_ = false;  // over when the output is sent
  bool over_ = false;
};

}  // namespace mqlb::cli
