#include "lib/pcap/reader.hh"

#include <pcap/pcap.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace mqlb::pcap {
namespace {

constexpr int64_t kNanoseconds = 1'000'000'000;
// Some 146 years from 1970, both ways: the difference of two times never overflows.
constexpr int64_t kMaxTime = (int64_t{1} << 62) - 1;

// A file can claim any second, and more than a second of its fraction (in nanoseconds here).
int64_t to_time(int64_t seconds, int64_t fraction) {
  int64_t time = 0;
  if (__builtin_mul_overflow(seconds, kNanoseconds, &time) ||
      __builtin_add_overflow(time, fraction, &time)) {
    return seconds < 0 ? -kMaxTime : kMaxTime;
  }
  return std::clamp(time, -kMaxTime, kMaxTime);
}

}  // namespace

struct Reader::Handle {
  pcap_t* pcap;
};

void Reader::Close::operator()(Handle* handle) const {
  pcap_close(handle->pcap);
  delete handle;
}

base::Result<Reader> Reader::open(const std::string& path) {
  std::FILE* stream = std::fopen(path.c_str(), "rb");
  if (stream == nullptr) return base::fail(path + ": " + std::strerror(errno));
  return read(stream, path);
}

base::Result<Reader> Reader::read(std::FILE* stream, const std::string& name) {
  char error[PCAP_ERRBUF_SIZE] = "";
  pcap_t* handle =
      pcap_fopen_offline_with_tstamp_precision(stream, PCAP_TSTAMP_PRECISION_NANO, error);
  if (handle == nullptr) {
    std::fclose(stream);
    return base::fail(name + ": " + error);
  }
  return Reader(new Handle{handle}, name);
}

int Reader::link_type() const { return pcap_datalink(handle_->pcap); }

base::Result<std::optional<Record>> Reader::next() {
  pcap_pkthdr* header = nullptr;
  const u_char* bytes = nullptr;
  const int status = pcap_next_ex(handle_->pcap, &header, &bytes);
  if (status == PCAP_ERROR_BREAK) return std::nullopt;
  ++records_;
  if (status != 1) {
    return base::fail(name_ + ": record " + std::to_string(records_) + ": " +
                      pcap_geterr(handle_->pcap));
  }
  Record record;
  record.number = records_;
  record.time = to_time(header->ts.tv_sec, header->ts.tv_usec);
  record.bytes = {bytes, header->caplen};
  record.original_length = std::max(header->len, header->caplen);
  return record;
}

}  // namespace mqlb::pcap
