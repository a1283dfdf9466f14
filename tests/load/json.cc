#include "tests/load/json.hh"

#include <cstdio>

namespace mqlb::load {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[7];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

JsonObject& JsonObject::add(std::string_view name, double value) {
  char number[32];
  std::snprintf(number, sizeof number, "%.9g", value);
  return raw(name, number);
}

JsonObject& JsonObject::raw(std::string_view name, std::string_view json) {
  if (text_.size() > 1) text_ += ", ";
  text_ += quoted(name);
  text_ += ": ";
  text_ += json;
  return *this;
}

}  // namespace mqlb::load
