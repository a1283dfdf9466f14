// Writes frames into a pcap file of microseconds, for looking at a failed run.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "lib/base/bytes.hh"
#include "lib/base/time.hh"

namespace mqlb::sim {

class PcapWriter {
 public:
  // A file that cannot be opened makes every write do nothing; ok() tells.
  explicit PcapWriter(const std::string& path);
  [[nodiscard]] bool ok() const { return file_ != nullptr; }
  void write(base::Bytes frame, base::Instant at);

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace mqlb::sim
