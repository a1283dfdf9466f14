// Any bytes as a capture file: what is taken out of it lies in it, what is played is whole and in
// order, and every record is answered for once.
#include <algorithm>
#include <cstdio>

#include "lib/replay/coverage.hh"
#include "lib/replay/loader.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb;
using fuzz::check;
using fuzz::lies_within;
using replay::Recording;
using replay::Side;
using replay::Step;

base::Result<pcap::Reader> open(base::Bytes input) {
  // A stream for reading does not write.
  std::FILE* stream = fmemopen(const_cast<uint8_t*>(input.data()), input.size(), "rb");
  check(stream != nullptr, "a stream");
  return pcap::Reader::read(stream, "input");
}

void check_segment(const pcap::Segment& s, const pcap::Record& record) {
  check(lies_within(s.payload, record.bytes), "the payload lies in the record");
  check(s.payload.size() <= s.payload_length, "no more was captured than there was");
  check(s.payload_length <= record.original_length, "the payload was on the wire");
  check(s.sack_blocks <= wire::kMaxSackBlocks, "as many blocks as there is room for");
  check(s.source.port != 0 && s.destination.port != 0, "ports");
}

uint64_t check_records(pcap::Reader& reader) {
  uint64_t count = 0;
  while (true) {
    const auto next = reader.next();
    if (!next) {
      check(next.error().message.starts_with("input: record "), "an error names its record");
      return count;
    }
    if (!*next) return count;
    const pcap::Record& record = **next;
    check(record.number == ++count, "records are counted");
    check(record.bytes.size() <= record.original_length, "no more was captured than there was");
    check(!pcap::describe(reader.link_type(), record).empty(), "every record is something");
    const auto segment = pcap::parse_segment(reader.link_type(), record);
    if (segment) check_segment(*segment, record);
  }
}

void check_step(const Step& step, const Step* before, const Side& own, const Side& peer) {
  const auto size = static_cast<uint32_t>(own.stream.size());
  check(step.offset <= size && step.length <= size - step.offset, "a step lies in its stream");
  check(step.peer_bytes <= peer.stream.size(), "only what was sent is acknowledged");
  check(step.acked <= size, "only what was sent was acknowledged");
  check(!step.peer_fin || peer.has_fin, "a FIN that is acknowledged was sent");
  check(step.window <= 1U << 30, "no window is larger (RFC 7323)");
  if ((step.flags & wire::kFin) != 0) {
    check(own.has_fin && step.offset + step.length == size, "a FIN ends the stream");
  }
  for (size_t i = 0; i < step.sack_blocks; ++i) {
    const auto& block = step.sack.at(i);
    check(block.left < block.right && block.right <= peer.stream.size(), "SACK of what was sent");
  }
  if (before == nullptr) return;
  check(before->at <= step.at, "time does not go back");
  check(before->peer_bytes <= step.peer_bytes && before->peer_fin <= step.peer_fin &&
            before->acked <= step.acked,
        "nothing is taken back");
}

void check_side(const Side& own, const Side& peer) {
  replay::Coverage coverage;
  std::vector<replay::Range> added;
  const Step* before = nullptr;
  bool has_fin = false;
  for (const Step& step : own.steps) {
    check_step(step, before, own, peer);
    before = &step;
    has_fin |= (step.flags & wire::kFin) != 0;
    coverage.add({step.offset, int64_t{step.offset} + step.length}, added);
  }
  const auto size = static_cast<int64_t>(own.stream.size());
  check(coverage.end_of_cover(0) == size, "the steps say the whole stream");
  check(has_fin == own.has_fin, "a FIN is a step");
}

void check_recording(const Recording& r) {
  check(!r.client.stream.empty(), "the client says something");
  check(r.record > 0 && r.begins.count() >= 0, "it has a beginning");
  check(!r.server_gap || *r.server_gap == r.server.stream.size(), "a gap is where bytes end");
  check_side(r.client, r.server);
  check_side(r.server, r.client);
}

void check_capture(const replay::Capture& capture, uint64_t records, size_t size) {
  check(capture.records == records, "all records");
  uint64_t answered_for = 0;
  size_t bytes = 0;
  for (const Recording& r : capture.recordings) {
    check_recording(r);
    answered_for += r.client.steps.size() + r.server.steps.size();
    bytes += r.client.stream.size() + r.server.stream.size();
  }
  for (const auto& s : capture.skipped) {
    check(s.record > 0 && s.records > 0 && !s.what.empty() && !s.why.empty(), "a full row");
    answered_for += s.records;
  }
  check(answered_for == records, "every record is a step or skipped, once");
  check(bytes <= size, "streams hold what was captured");
  check(std::ranges::is_sorted(capture.recordings, {}, &Recording::begins), "in order");
  size_t loose = 0;
  for (const auto& frame : capture.loose) loose += frame.bytes.size();
  check(loose <= size, "loose frames were captured");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const base::Bytes input(data, size);
  if (input.empty()) return 0;
  auto reader = open(input);
  if (!reader) {
    check(reader.error().message.starts_with("input: "), "an error names its file");
    return 0;
  }
  const uint64_t records = check_records(*reader);
  for (const bool keep_loose : {false, true}) {
    replay::Loader loader({.ports = {}, .keep_loose = keep_loose});
    auto again = open(input);
    check(again.has_value(), "what can be read can be read again");
    if (loader.add(std::move(*again), "input")) check_capture(loader.finish(), records, size);
  }
  return 0;
}
