#include "lib/replay/recording.hh"

#include <pcap/dlt.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "lib/replay/assemble.hh"
#include "lib/replay/conversation.hh"
#include "lib/replay/loader.hh"

namespace mqlb::replay {
namespace {

constexpr base::Duration kMostPause{1'000'000};  // between files

// Bytes that stay where they are.
class ByteStore {
 public:
  base::Bytes keep(base::Bytes bytes) {
    if (bytes.size() > left_) {
      left_ = std::max(kBlock, bytes.size());
      blocks_.push_back(std::make_unique<uint8_t[]>(left_));
      free_ = blocks_.back().get();
    }
    uint8_t* const to = free_;
    std::copy(bytes.begin(), bytes.end(), to);
    free_ += bytes.size();
    left_ -= bytes.size();
    return {to, bytes.size()};
  }

 private:
  static constexpr size_t kBlock = 1 << 16;
  std::vector<std::unique_ptr<uint8_t[]>> blocks_;
  uint8_t* free_ = nullptr;
  size_t left_ = 0;
};

base::Duration since(int64_t begin, int64_t time) {
  return base::Duration(std::max(time - begin, int64_t{0}) / 1000);
}

std::string text_of(const Ends& ends) {
  return wire::to_string(ends.client) + " > " + wire::to_string(ends.server);
}

// One file, from its records to its share of the capture.
class FileLoader {
 public:
  FileLoader(const std::string& name, const LoadOptions& options, Capture& out)
      : name_(name), options_(options), out_(out) {}

  base::Result<void> read(pcap::Reader& reader);
  void assemble_all();
  [[nodiscard]] int64_t begins() const { return begins_; }
  [[nodiscard]] int64_t ends() const { return ends_; }
  [[nodiscard]] bool is_empty() const { return records_ == 0; }

 private:
  struct Frame {
    int64_t time = 0;
    base::Bytes bytes;
    size_t heard = kNone;  // if it is a TCP segment
  };

  void take(int link_type, const pcap::Record& record);
  void skip_kind(std::string what, std::string_view why, uint64_t record);
  void skip(uint64_t record, uint64_t records, std::string what, std::string_view why);
  void count_foreign(const Conversation& conversation, bool played);
  void keep_loose_frames();

  const std::string& name_;
  const LoadOptions& options_;
  Capture& out_;
  int64_t begins_ = 0;
  int64_t ends_ = 0;
  uint64_t records_ = 0;
  ByteStore store_;
  Conversations conversations_;
  std::vector<Frame> frames_;  // that may be loose
  std::map<std::pair<std::string, std::string_view>, Skipped> kinds_;
  std::set<wire::Endpoint> servers_;
  std::set<wire::Endpoint> clients_;  // that are played
};

base::Result<void> FileLoader::read(pcap::Reader& reader) {
  const int link_type = reader.link_type();
  while (true) {
    auto record = reader.next();
    if (!record) return tl::unexpected(record.error());
    if (!*record) return {};
    if (records_++ == 0) begins_ = ends_ = (*record)->time;
    ends_ = std::max(ends_, (*record)->time);
    take(link_type, **record);
  }
}

void FileLoader::take(int link_type, const pcap::Record& record) {
  const bool whole = record.bytes.size() == record.original_length;
  const bool keep_frame = options_.keep_loose && link_type == DLT_EN10MB && whole;
  auto segment = pcap::parse_segment(link_type, record);
  Frame frame{record.time, {}, kNone};
  if (keep_frame) frame.bytes = store_.keep(record.bytes);
  if (!segment) {
    skip_kind(pcap::describe(link_type, record), to_string(segment.error()), record.number);
  } else {
    const auto offset = static_cast<size_t>(segment->payload.data() - record.bytes.data());
    segment->payload = keep_frame ? frame.bytes.subspan(offset, segment->payload.size())
                                  : store_.keep(segment->payload);
    frame.heard = conversations_.heard().size();
    const auto why = conversations_.add(*segment, record.time, record.number);
    if (!why.empty()) skip_kind("tcp", why, record.number);
  }
  if (keep_frame) frames_.push_back(frame);
}

void FileLoader::skip_kind(std::string what, std::string_view why, uint64_t record) {
  auto [it, is_new] = kinds_.try_emplace({std::move(what), why});
  Skipped& row = it->second;
  if (is_new) row = {name_, record, 0, it->first.first, std::string(why)};
  ++row.records;
}

void FileLoader::skip(uint64_t record, uint64_t records, std::string what, std::string_view why) {
  out_.skipped.push_back({name_, record, records, std::move(what), std::string(why)});
}

void FileLoader::assemble_all() {
  conversations_.close();
  const auto before = static_cast<std::ptrdiff_t>(out_.skipped.size());
  for (const Conversation& c : conversations_.all()) {
    auto recording = assemble(c, conversations_.heard(), options_);
    const Ends ends = ends_of(c, conversations_.heard());
    if (c.client) servers_.insert(ends.server);
    count_foreign(c, recording.has_value());
    if (!recording) {
      skip(c.first_record, c.segments, text_of(ends), recording.error());
      continue;
    }
    recording->file = name_;
    recording->record = c.first_record;
    recording->begins = since(begins_, conversations_.heard()[c.first].time);
    servers_.insert(recording->server.endpoint);
    clients_.insert(recording->client.endpoint);
    out_.recordings.push_back(std::move(*recording));
  }
  for (auto& [key, row] : kinds_) out_.skipped.push_back(std::move(row));
  std::ranges::stable_sort(out_.skipped.begin() + before, out_.skipped.end(), {}, &Skipped::record);
  keep_loose_frames();
  out_.records += records_;
}

void FileLoader::count_foreign(const Conversation& c, bool played) {
  uint64_t first = c.first_foreign;
  uint64_t count = c.foreign;
  const auto& heard = conversations_.heard();
  for (size_t i = c.first; played && i != kNone; i = heard[i].next) {
    if (heard[i].played) continue;
    if (count++ == 0 || heard[i].record < first) first = heard[i].record;
  }
  if (count > 0) skip(first, count, text_of(ends_of(c, heard)), "foreign");
}

void FileLoader::keep_loose_frames() {
  for (const Frame& f : frames_) {
    if (f.heard != kNone) {
      const Heard& h = conversations_.heard()[f.heard];
      const bool from_server = servers_.contains(h.segment.source);
      if (h.played || from_server || clients_.contains(h.segment.destination)) continue;
    }
    out_.loose.push_back({since(begins_, f.time), {f.bytes.begin(), f.bytes.end()}});
  }
}

}  // namespace

base::Result<void> Loader::add(pcap::Reader reader, const std::string& name) {
  FileLoader file(name, options_, capture_);
  const size_t recordings = capture_.recordings.size();
  const size_t loose = capture_.loose.size();
  if (auto read = file.read(reader); !read) return read;
  if (file.is_empty()) return {};
  file.assemble_all();
  files_.push_back({file.begins(), file.ends(), recordings, capture_.recordings.size(), loose,
                    capture_.loose.size()});
  return {};
}

Capture Loader::finish() {
  std::ranges::stable_sort(files_, {}, &File::begins);
  base::Duration later{0};  // of the file before, since the beginning of all
  for (size_t i = 0; i < files_.size(); ++i) {
    const File& file = files_[i];
    if (i > 0) {
      const int64_t ended = std::max(files_[i - 1].ends, files_[i - 1].begins);
      const base::Duration length = since(files_[i - 1].begins, ended);
      later += std::min(since(files_[i - 1].begins, file.begins), length + kMostPause);
    }
    for (size_t r = file.recordings; r < file.recordings_end; ++r) {
      capture_.recordings[r].begins += later;
    }
    for (size_t f = file.loose; f < file.loose_end; ++f) capture_.loose[f].at += later;
  }
  std::ranges::stable_sort(capture_.recordings, {}, &Recording::begins);
  std::ranges::stable_sort(capture_.loose, {}, &LooseFrame::at);
  return std::move(capture_);
}

base::Result<Capture> load(const std::vector<std::string>& files, const LoadOptions& options) {
  Loader loader(options);
  for (const std::string& file : files) {
    auto reader = pcap::Reader::open(file);
    if (!reader) return tl::unexpected(reader.error());
    if (auto added = loader.add(std::move(*reader), file); !added) {
      return tl::unexpected(added.error());
    }
  }
  return loader.finish();
}

}  // namespace mqlb::replay
