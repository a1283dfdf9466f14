#include "lib/cli/table.hh"

#include <algorithm>
#include <cstdio>

namespace mqlb::cli {
namespace {

std::string number_text(double d) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", d);
  return text;
}

std::string cell_text(const Cell& cell) {
  if (const auto* s = std::get_if<std::string>(&cell)) return s->empty() ? "-" : *s;
  if (const auto* n = std::get_if<uint64_t>(&cell)) return std::to_string(*n);
  return number_text(std::get<double>(cell));
}

std::string cell_json(const Cell& cell) {
  if (const auto* s = std::get_if<std::string>(&cell)) return json_string(*s);
  return cell_text(cell);
}

std::string heading(std::string_view column) {
  std::string text(column);
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (c == '_') c = '-';
  }
  return text;
}

// The length of the UTF-8 character that `text` begins with (RFC 3629), or 0.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const unsigned second = byte(1);
  const bool overlong = (first == 0xe0 && second < 0xa0) || (first == 0xf0 && second < 0x90);
  const bool surrogate = first == 0xed && second > 0x9f;
  const bool beyond = first == 0xf4 && second > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    const char c = text.front();
    if (length == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (length == 1 && (static_cast<unsigned char>(c) < ' ' || c == 0x7f)) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + "\"";
}

std::string Table::to_text() const {
  std::vector<size_t> widths;
  for (const std::string_view column : columns_) widths.push_back(column.size());
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], cell_text(row[i]).size());
    }
  }
  std::string out;
  const auto put = [&](const std::string& text, size_t column, bool right) {
    const std::string blanks(widths[column] - text.size(), ' ');
    out += column == 0 ? "" : "  ";
    out += right ? blanks + text : text + blanks;
  };
  const auto end_line = [&] {
    out.replace(out.find_last_not_of(' ') + 1, std::string::npos, "\n");
  };
  for (size_t i = 0; i < columns_.size(); ++i) {
    const bool right = !rows_.empty() && rows_[0][i].index() != 0;
    put(heading(columns_[i]), i, right);
  }
  end_line();
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) put(cell_text(row[i]), i, row[i].index() != 0);
    end_line();
  }
  return out;
}

std::string Table::to_json() const {
  std::string out = "[";
  for (size_t r = 0; r < rows_.size(); ++r) {
    out += r == 0 ? "\n  {" : ",\n  {";
    for (size_t i = 0; i < columns_.size(); ++i) {
      out += (i == 0 ? "" : ", ") + json_string(columns_[i]) + ": " + cell_json(rows_[r][i]);
    }
    out += "}";
  }
  return out + (rows_.empty() ? "]\n" : "\n]\n");
}

}  // namespace mqlb::cli
