#include "lib/replay/report.hh"

#include "lib/cli/table.hh"
#include "lib/replay/script.hh"

namespace mqlb::replay {
namespace {

using cli::json_string;

// Rows of a table that are shown though nothing is wrong with them.
constexpr size_t kShownRows = 50;
constexpr size_t kShownProblems = 200;

std::string_view to_string(End end) {
  switch (end) {
    case End::none:
      return "unfinished";
    case End::closed:
      return "closed";
    case End::aborted:
      return "client-reset";
    case End::reset:
      return "reset";
    case End::refused:
      return "refused";
    case End::open:
      return "open";
    case End::stalled:
      return "stalled";
  }
  return "";
}

bool sent_reset(const Side& side) {
  for (const Step& step : side.steps) {
    if ((step.flags & wire::kRst) != 0) return true;
  }
  return false;
}

std::string problem_of(const Direction& direction, const std::string& where, bool may_be_short) {
  if (direction.difference) {
    return "byte " + std::to_string(*direction.difference) + " differs at the " + where;
  }
  if (direction.equal() || (may_be_short && direction.arrived < *direction.expected)) return "";
  return std::to_string(direction.arrived) + " of " + std::to_string(*direction.expected) +
         " bytes reached the " + where;
}

Identity identity_of(const Report& report, size_t index) {
  const Planned& planned = (*report.plan)[index];
  const Recording& recording = report.capture->recordings[planned.recording];
  const Rewrite rewrite =
      planned.client == 0 ? Rewrite()
                          : Rewrite(recording.client.stream, "-" + std::to_string(planned.client));
  return identify(Script(recording, true, rewrite).first_packet());
}

std::string or_null(const std::string& text) { return text.empty() ? "null" : json_string(text); }

template <typename T>
std::string or_null(const std::optional<T>& number) {
  return number ? std::to_string(*number) : "null";
}

std::string to_json(const Direction& d) {
  return "{\"expected\": " + or_null(d.expected) + ", \"arrived\": " + std::to_string(d.arrived) +
         ", \"difference\": " + or_null(d.difference) + "}";
}

bool is_moved(const Report& report, size_t index) {
  return !report.baseline.empty() && report.baseline[index] != report.result.rows[index].backend;
}

std::string row_json(const Report& report, size_t index) {
  const Planned& planned = (*report.plan)[index];
  const Recording& recording = report.capture->recordings[planned.recording];
  const Row& row = report.result.rows[index];
  const Identity identity = identity_of(report, index);
  std::string out = "{\"capture\": " + json_string(recording.file);
  out += ", \"record\": " + std::to_string(recording.record);
  out += ", \"client\": " + json_string(wire::to_string(recording.client.endpoint));
  out += ", \"played_as\": " + json_string(wire::to_string(planned.local));
  out += ", \"client_id\": " + json_string(identity.client_id);
  out += ", \"version\": " +
         or_null(identity.known ? std::string(mqtt::to_string(identity.version)) : "");
  out += ", \"backend\": " + or_null(row.backend);
  if (!report.baseline.empty()) {
    out += ", \"moved_from\": " + or_null(is_moved(report, index) ? report.baseline[index] : "");
  }
  out += ", \"proxy_header\": " + or_null(row.proxy_header);
  out += ", \"to_broker\": " + to_json(row.to_broker);
  out += ", \"to_client\": " + to_json(row.to_client);
  const auto splice =
      row.time_to_splice ? std::optional(row.time_to_splice->count()) : std::nullopt;
  out += ", \"time_to_splice_us\": " + or_null(splice);
  out += ", \"segments\": {\"played\": " + std::to_string(row.played) +
         ", \"split\": " + std::to_string(row.split) +
         ", \"repeated\": " + std::to_string(row.repeated) + "}";
  out += ", \"end\": " + json_string(to_string(row.end));
  return out + ", \"problem\": " + or_null(problem_of(row, recording)) + "}";
}

template <typename Counts, typename Texts>
std::string counts_json(const Counts& counts, const Texts& texts) {
  std::string out;
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    out +=
        (out.empty() ? "" : ", ") + json_string(texts[i].name) + ": " + std::to_string(counts[i]);
  }
  return "{" + out + "}";
}

std::string totals_json(const Report& report) {
  const Totals totals = totals_of(report);
  std::string out = "{\"connections\": " + std::to_string(report.result.rows.size());
  out += ", \"equal\": " + std::to_string(totals.equal);
  out += ", \"different\": " + std::to_string(totals.different);
  out += ", \"skipped\": " + std::to_string(report.capture->skipped.size());
  out += ", \"moved\": " + std::to_string(totals.moved);
  if (report.counters) {
    out += ", \"virtual_time_us\": " + std::to_string(report.result.virtual_time.count());
    out += ", \"frames_in\": " + std::to_string(report.result.frames_in);
    out += ", \"frames_out\": " + std::to_string(report.result.frames_out);
  }
  return out + "}";
}

std::string of(const Direction& d) {
  return std::to_string(d.arrived) + (d.expected ? "/" + std::to_string(*d.expected) : "");
}

void print_connections(const Report& report, std::FILE* out) {
  cli::Table table({"client", "played_as", "client_id", "version", "backend", "to_broker",
                    "to_client", "splice_us", "end", "problem"});
  size_t problems = 0;
  size_t hidden = 0;
  for (size_t i = 0; i < report.result.rows.size(); ++i) {
    const Planned& planned = (*report.plan)[i];
    const Recording& recording = report.capture->recordings[planned.recording];
    const Row& row = report.result.rows[i];
    std::string problem = problem_of(row, recording);
    if (is_moved(report, i)) {
      problem += (problem.empty() ? "" : "; ") + std::string("moved from ") + report.baseline[i];
    }
    const bool shown = i < kShownRows || (!problem.empty() && ++problems <= kShownProblems);
    if (!shown) {
      ++hidden;
      continue;
    }
    const Identity identity = identity_of(report, i);
    const int64_t splice = row.time_to_splice ? row.time_to_splice->count() : 0;
    table.add({wire::to_string(recording.client.endpoint), wire::to_string(planned.local),
               identity.client_id,
               identity.known ? std::string(mqtt::to_string(identity.version)) : "", row.backend,
               of(row.to_broker), of(row.to_client), static_cast<uint64_t>(splice),
               std::string(to_string(row.end)), problem});
  }
  std::fputs(table.to_text().c_str(), out);
  if (hidden > 0) std::fprintf(out, "... and %zu more (--json has all)\n", hidden);
}

void print_skipped(const Capture& capture, std::FILE* out) {
  if (capture.skipped.empty()) return;
  cli::Table table({"skipped", "records", "first", "capture", "why"});
  for (size_t i = 0; i < capture.skipped.size() && i < kShownProblems; ++i) {
    const Skipped& s = capture.skipped[i];
    table.add({s.what, s.records, s.record, s.file, s.why});
  }
  std::fprintf(out, "\n%s", table.to_text().c_str());
  if (capture.skipped.size() > kShownProblems) {
    std::fprintf(out, "... and %zu more\n", capture.skipped.size() - kShownProblems);
  }
}

template <typename Counts, typename Texts>
void add_counts(cli::Table& table, const char* group, const Counts& counts, const Texts& texts) {
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] > 0) table.add({group, std::string(texts[i].name), counts[i]});
  }
}

}  // namespace

std::string problem_of(const Row& row, const Recording& recording) {
  if (row.refused_by_connack) {
    return "the broker refused the client: CONNACK code " + std::to_string(*row.refused_by_connack);
  }
  if (row.end == End::none) return "not played to its end";
  if (row.end == End::stalled) return "stalled: waited for " + row.waits_for;
  if (row.told_unavailable) return "no broker took the client: CONNACK server unavailable";
  if (row.end == End::refused) return "refused";
  const bool captured_reset = sent_reset(recording.server);
  if (row.end == End::reset && !captured_reset) return "reset by the balancer or the broker";
  if (row.proxy_header_wrong) return "wrong PROXY header: " + row.proxy_header;
  const bool may_be_short = row.end == End::aborted || captured_reset;
  const std::string at_broker = problem_of(row.to_broker, "broker", may_be_short);
  return at_broker.empty() ? problem_of(row.to_client, "client", may_be_short) : at_broker;
}

Totals totals_of(const Report& report) {
  Totals totals;
  for (size_t i = 0; i < report.result.rows.size(); ++i) {
    const Recording& r = report.capture->recordings[(*report.plan)[i].recording];
    ++(problem_of(report.result.rows[i], r).empty() ? totals.equal : totals.different);
    if (is_moved(report, i)) ++totals.moved;
  }
  return totals;
}

void print_json(const Report& report, std::FILE* out) {
  std::string captures;
  for (const std::string& c : report.captures) {
    captures += (captures.empty() ? "" : ", ") + json_string(c);
  }
  std::fprintf(out, "{\"captures\": [%s],\n \"connections\": [", captures.c_str());
  for (size_t i = 0; i < report.result.rows.size(); ++i) {
    std::fprintf(out, "%s\n  %s", i == 0 ? "" : ",", row_json(report, i).c_str());
  }
  std::fputs("],\n \"skipped\": [", out);
  for (size_t i = 0; i < report.capture->skipped.size(); ++i) {
    const Skipped& s = report.capture->skipped[i];
    std::fprintf(
        out, "%s\n  {\"capture\": %s, \"record\": %s, \"records\": %s, \"what\": %s, \"why\": %s}",
        i == 0 ? "" : ",", json_string(s.file).c_str(), std::to_string(s.record).c_str(),
        std::to_string(s.records).c_str(), json_string(s.what).c_str(), json_string(s.why).c_str());
  }
  std::fprintf(out, "],\n \"totals\": %s", totals_json(report).c_str());
  if (report.counters) {
    const OfflineResult& r = report.result;
    std::fprintf(out, ",\n \"counters\": {\"drop\": %s,\n  \"end\": %s,\n  \"event\": %s}",
                 counts_json(r.drops, base::kDropTexts).c_str(),
                 counts_json(r.ends, base::kEndTexts).c_str(),
                 counts_json(r.events, base::kEventTexts).c_str());
  }
  std::fputs("}\n", out);
}

void print_tables(const Report& report, std::FILE* out) {
  print_connections(report, out);
  print_skipped(*report.capture, out);
  if (report.counters) {
    cli::Table table({"group", "counter", "value"});
    add_counts(table, "drop", report.result.drops, base::kDropTexts);
    add_counts(table, "end", report.result.ends, base::kEndTexts);
    add_counts(table, "event", report.result.events, base::kEventTexts);
    std::fprintf(out, "\n%s", table.to_text().c_str());
  }
  const Totals totals = totals_of(report);
  std::fprintf(out, "\n%zu connections: %zu equal, %zu different; %zu skipped",
               report.result.rows.size(), totals.equal, totals.different,
               report.capture->skipped.size());
  if (!report.baseline.empty()) std::fprintf(out, "; %zu move to another broker", totals.moved);
  std::fputs("\n", out);
}

void print_list(const Capture& capture, std::FILE* out) {
  cli::Table table({"client", "server", "client_id", "version", "client_bytes", "server_bytes",
                    "segments", "first", "capture"});
  for (const Recording& r : capture.recordings) {
    const Identity identity = identify(r.client.stream);
    table.add({wire::to_string(r.client.endpoint), wire::to_string(r.server.endpoint),
               identity.client_id,
               identity.known ? std::string(mqtt::to_string(identity.version)) : "",
               r.client.stream.size(), r.server.stream.size(),
               r.client.steps.size() + r.server.steps.size(), r.record, r.file});
  }
  std::fputs(table.to_text().c_str(), out);
  print_skipped(capture, out);
}

}  // namespace mqlb::replay
