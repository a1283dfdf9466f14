// Capture files, record by record: pcap and pcapng, any byte order, micro- or nanoseconds.
//
// libpcap reads them; this gives its answers the project's types. One thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/bytes.hh"
#include "lib/base/result.hh"

namespace mqlb::pcap {

struct Record {
  uint64_t number = 0;           // in its file, from 1, as Wireshark counts
  int64_t time = 0;              // nanoseconds since 1970, at most 2^62 - 1 from it, both ways
  base::Bytes bytes;             // as captured; until the next call of next()
  uint32_t original_length = 0;  // on the wire; more than bytes.size(): the record was snapped
};

class Reader {
 public:
  // The error names the file and what is wrong with it.
  [[nodiscard]] static base::Result<Reader> open(const std::string& path);
  // Takes the stream; `name` is for messages.
  [[nodiscard]] static base::Result<Reader> read(std::FILE* stream, const std::string& name);

  // The link type (DLT_...) of all records.
  [[nodiscard]] int link_type() const;
  // nullopt at the end. An error, that names file and record, ends the file: what comes after it
  // cannot be found.
  [[nodiscard]] base::Result<std::optional<Record>> next();

 private:
  struct Handle;  // libpcap's own type is a `pcap` too
  struct Close {
    void operator()(Handle* handle) const;
  };
  Reader(Handle* handle, std::string name) : handle_(handle), name_(std::move(name)) {}

  std::unique_ptr<Handle, Close> handle_;
  std::string name_;
  uint64_t records_ = 0;
};

}  // namespace mqlb::pcap
