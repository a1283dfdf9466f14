#include "lib/cli/line_editor.hh"

#include <cmdline_rdline.h>

#include <new>

#include "lib/cli/interpreter.hh"

namespace mqlb::cli {
namespace {

constexpr size_t kEditorBuffer = 512;  // rdline's RDLINE_BUF_SIZE, which its header does not show

}  // namespace

struct LineEditor::Callbacks {
  static LineEditor& self(rdline* editor) {
    return *static_cast<LineEditor*>(rdline_get_opaque(editor));
  }
  static int write_char(rdline* editor, char c) {
    self(editor).output_.push_back(c);
    return 0;
  }
  static void validate(rdline*, const char*, unsigned) {}  // feed() takes the line
  static int complete(rdline* editor, const char* text, char* out, unsigned size, int* state) {
    return self(editor).interpreter_.complete(text, state, out, size);
  }
};

LineEditor::LineEditor(std::string_view prompt, Interpreter& interpreter)
    : editor_(rdline_new(Callbacks::write_char, Callbacks::validate, Callbacks::complete, this)),
      interpreter_(interpreter),
      prompt_(prompt) {
  if (!editor_) throw std::bad_alloc();
  start_line();
}

LineEditor::~LineEditor() { rdline_free(editor_); }

LineEditor::Event LineEditor::feed(char key) {
  switch (rdline_char_in(editor_, key)) {
    case RDLINE_RES_VALIDATED:
      line_ = rdline_get_buffer(editor_);
      while (!line_.empty() && line_.back() == '\n') line_.pop_back();
      if (!line_.empty()) rdline_add_history(editor_, line_.c_str());
      return Event::line;
    case RDLINE_RES_EOF:
    case RDLINE_RES_EXITED:
      return Event::end;
    default:
      return Event::none;
  }
}

bool LineEditor::is_cut() const { return line_.size() >= kEditorBuffer; }

void LineEditor::start_line() { rdline_newline(editor_, prompt_.c_str()); }

void LineEditor::print(std::string_view text) {
  for (const char c : text) {
    if (c == '\n') output_.push_back('\r');
    output_.push_back(c);
  }
}

}  // namespace mqlb::cli
