// Writes pcapng (draft-ietf-opsawg-pcapng): several named Ethernet interfaces, nanoseconds.
//
// The same calls give the same file to the byte: nothing of the machine is written. One thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>

#include "lib/base/bytes.hh"
#include "lib/base/result.hh"

namespace mqlb::pcap {

// Seen from the balancer.
enum class Direction : uint8_t { in = 1, out = 2 };

class Writer {
 public:
  [[nodiscard]] static base::Result<Writer> create(const std::string& path,
                                                   std::span<const std::string> interfaces);

  // interface: index in `interfaces`. time: nanoseconds since 1970.
  void write(uint32_t interface, Direction direction, int64_t time, base::Bytes frame);
  // Flushes and closes; says whether everything was written.
  [[nodiscard]] base::Result<void> finish();

 private:
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  Writer(std::FILE* file, std::string path) : file_(file), path_(std::move(path)) {}
  void note(int error) { error_ = error_ != 0 ? error_ : error; }

  std::unique_ptr<std::FILE, Close> file_;
  std::string path_;
  int error_ = 0;  // errno of the first write that failed
};

}  // namespace mqlb::pcap
