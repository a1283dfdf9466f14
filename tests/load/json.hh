// JSON for the programs' reports: as much as they need.
#pragma once

#include <string>
#include <string_view>

namespace mqlb::load {

[[nodiscard]] std::string quoted(std::string_view text);

// "name": value, with commas between members: begin with "{", finish with "}".
class JsonObject {
 public:
  JsonObject& add(std::string_view name, uint64_t value) {
    return raw(name, std::to_string(value));
  }
  JsonObject& add(std::string_view name, double value);
  JsonObject& raw(std::string_view name, std::string_view json);
  [[nodiscard]] std::string text() const { return text_ + "}"; }

 private:
  std::string text_ = "{";
};

}  // namespace mqlb::load
