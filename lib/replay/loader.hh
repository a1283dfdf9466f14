// load() file by file, for those who have streams instead of names.
#pragma once

#include <string>
#include <vector>

#include "lib/pcap/reader.hh"
#include "lib/replay/recording.hh"

namespace mqlb::replay {

class Loader {
 public:
  explicit Loader(LoadOptions options) : options_(std::move(options)) {}

  // Reads it to its end. `name` is for Recording::file and Skipped::file.
  [[nodiscard]] base::Result<void> add(pcap::Reader reader, const std::string& name);
  // All that was added; the loader is spent.
  [[nodiscard]] Capture finish();

 private:
  struct File {
    int64_t begins = 0;  // nanoseconds since 1970
    int64_t ends = 0;
    // Its share of capture_.
    size_t recordings = 0;
    size_t recordings_end = 0;
    size_t loose = 0;
    size_t loose_end = 0;
  };

  LoadOptions options_;
  std::vector<File> files_;
  Capture capture_;  // with times since the first record of each one's file
};

}  // namespace mqlb::replay
