#include "lib/cli/session.hh"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

#include "lib/cli/protocol.hh"

namespace mqlb::cli {
namespace {

constexpr size_t kReadSize = 16 * 1024;
// So that one client can not keep the control thread.
constexpr int kCommandsPerTurn = 16;
constexpr size_t kKeysPerTurn = 256;
constexpr std::string_view kPrompt = "mqlb> ";

}  // namespace

bool Session::has_input() const {
  if (mode_ == Mode::interactive) return !input_.empty();
  return input_.find('\n') != std::string::npos;
}

bool Session::is_paused() const { return closing_ || over_ || output_.size() >= kPauseOutput; }

// Work that waits for its turn asks for POLLOUT: a socket with room wakes poll() at once.
short Session::events() const {
  short events = 0;
  if (!end_of_input_ && !closing_ && input_.size() <= kMaxLine) events |= POLLIN;
  if (!output_.empty() || (has_input() && !is_paused())) events |= POLLOUT;
  return events;
}

void Session::handle(short events) {
  if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) receive();
  process();
  send();
  if (end_of_input_ && !has_input()) closing_ = true;
  if (closing_ && output_.empty()) over_ = true;
}

void Session::receive() {
  if (end_of_input_ || closing_ || input_.size() > kMaxLine) return;
  char bytes[kReadSize];
  const ssize_t n = recv(fd_.get(), bytes, sizeof bytes, MSG_DONTWAIT);
  if (n > 0) {
    input_.append(bytes, static_cast<size_t>(n));
  } else if (n == 0) {
    end_of_input_ = true;
  } else if (errno != EAGAIN && errno != EINTR) {
    over_ = true;
  }
}

void Session::process() {
  for (int i = 0; i < kCommandsPerTurn; ++i) {
    if (is_paused() || !process_one()) return;
  }
}

bool Session::process_one() {
  switch (mode_) {
    case Mode::unknown:
      return choose_mode();
    case Mode::commands:
      return run_command();
    case Mode::interactive:
      return feed_editor();
  }
  return false;
}

bool Session::take_line(std::string& line) {
  const size_t end = input_.find('\n');
  if (end == std::string::npos || end > kMaxLine) {
    if (input_.size() > kMaxLine) {
      answer({false, true, "the line is longer than " + std::to_string(kMaxLine) + " bytes\n"});
    }
    return false;
  }
  line = input_.substr(0, end);
  input_.erase(0, end + 1);
  return true;
}

bool Session::choose_mode() {
  std::string line;
  if (!take_line(line)) return false;
  if (line == kCommands) {
    mode_ = Mode::commands;
  } else if (line == kInteractive) {
    mode_ = Mode::interactive;
    editor_ = std::make_unique<LineEditor>(kPrompt, interpreter_);
    output_ += editor_->output();
    editor_->output().clear();
  } else {
    answer({false, true, "the first line is neither commands nor interactive\n"});
  }
  return true;
}

bool Session::run_command() {
  std::string line;
  if (!take_line(line)) return false;
  answer(interpreter_.execute(line));
  return true;
}

void Session::answer(const Reply& reply) {
  output_ += std::string(reply.ok ? kOk : kError) + " " + std::to_string(reply.text.size()) + "\n" +
             reply.text;
  closing_ = closing_ || reply.quit;
}

// Keys up to the end of one line, or as many as one turn allows.
bool Session::feed_editor() {
  if (input_.empty()) return false;
  size_t used = 0;
  LineEditor::Event event = LineEditor::Event::none;
  while (used < input_.size() && used < kKeysPerTurn && event == LineEditor::Event::none &&
         editor_->output().size() < kPauseOutput) {
    event = editor_->feed(input_[used++]);
  }
  input_.erase(0, used);
  if (event == LineEditor::Event::end) closing_ = true;
  if (event == LineEditor::Event::line) {
    const Reply reply = editor_->is_cut()
                            ? Reply{false, false, "too long here: give it to mqlbctl instead\n"}
                            : interpreter_.execute(editor_->line());
    editor_->print(reply.text);
    closing_ = reply.quit;
    if (!closing_) editor_->start_line();
  }
  output_ += editor_->output();
  editor_->output().clear();
  return event != LineEditor::Event::none;
}

void Session::send() {
  if (output_.empty() || over_) return;
  const ssize_t n = ::send(fd_.get(), output_.data(), output_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n > 0) {
    output_.erase(0, static_cast<size_t>(n));
  } else if (errno != EAGAIN && errno != EINTR) {
    over_ = true;
  }
  if (output_.size() > kMaxOutput) over_ = true;
}

}  // namespace mqlb::cli
