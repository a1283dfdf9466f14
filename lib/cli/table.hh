// A table for people (aligned text) and for programs (JSON: an array of objects).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mqlb::cli {

// Text, or a number, which text shows at the right edge of its column.
using Cell = std::variant<std::string, uint64_t, double>;

class Table {
 public:
  // Column names are JSON keys: "rx_packets" is headed RX-PACKETS in text.
  explicit Table(std::vector<std::string_view> columns) : columns_(std::move(columns)) {}

  // As many cells as columns.
  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  [[nodiscard]] size_t size() const { return rows_.size(); }

  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] std::string to_json() const;

 private:
  std::vector<std::string_view> columns_;
  std::vector<std::vector<Cell>> rows_;
};

// With its quotes (RFC 8259 section 7). Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace mqlb::cli
