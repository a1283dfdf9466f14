#include "lib/replay/faults.hh"

#include <algorithm>
#include <charconv>

#include "lib/wire/headers.hh"

namespace mqlb::replay {
namespace {

constexpr int kHeldBack = 10;  // times the delay, for a frame that is overtaken
constexpr base::Duration kLeastHold{500};
constexpr base::Duration kMostDelay{60'000'000};

struct Place {
  std::string_view name;
  unsigned wires;  // a bit for each WireId
};
constexpr std::array kPlaces{
    Place{"from-clients", 1U}, Place{"to-clients", 2U}, Place{"from-brokers", 4U},
    Place{"to-brokers", 8U},   Place{"clients", 3U},    Place{"brokers", 12U},
    Place{"all", 15U},
};

template <typename T>
bool parse_number(std::string_view text, T most, T& out) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, out);
  return error == std::errc() && rest == end && out >= 0 && out <= most;
}

bool set(Faults& faults, std::string_view key, std::string_view value) {
  const auto share = [&](double& out) { return parse_number(value, 1.0, out); };
  const auto time = [&](base::Duration& out) {
    int64_t micros = 0;
    if (!parse_number(value, kMostDelay.count(), micros)) return false;
    out = base::Duration(micros);
    return true;
  };
  if (key == "loss") return share(faults.loss);
  if (key == "duplicate") return share(faults.duplicate);
  if (key == "reorder") return share(faults.reorder);
  if (key == "corrupt") return share(faults.corrupt);
  if (key == "delay") return time(faults.delay);
  if (key == "jitter") return time(faults.jitter);
  return false;
}

}  // namespace

bool is_lossless(const WireFaults& faults) {
  return std::all_of(faults.begin(), faults.end(),
                     [](const Faults& f) { return f.loss <= 0 && f.corrupt <= 0; });
}

base::Result<void> parse_faults(std::string_view text, WireFaults& out) {
  const auto wrong = [&] {
    return base::fail("'" + std::string(text) +
                      "' is no fault: WHERE:KEY=VALUE[,KEY=VALUE...]; WHERE: from-clients, "
                      "to-clients, from-brokers, to-brokers, clients, brokers or all; KEY: loss, "
                      "duplicate, reorder, corrupt (share, 0 to 1), delay, jitter (microseconds)");
  };
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) return wrong();
  unsigned wires = 0;
  for (const Place& place : kPlaces) {
    if (place.name == text.substr(0, colon)) wires = place.wires;
  }
  if (wires == 0) return wrong();
  std::string_view rest = text.substr(colon + 1);
  while (true) {
    const size_t comma = rest.find(',');
    const std::string_view pair = rest.substr(0, comma);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) return wrong();
    for (size_t i = 0; i < kWires; ++i) {
      const bool named = (wires >> i & 1U) != 0;
      if (named && !set(out[i], pair.substr(0, equals), pair.substr(equals + 1))) return wrong();
    }
    if (comma == std::string_view::npos) return {};
    rest.remove_prefix(comma + 1);
  }
}

base::Duration Wire::draw_delay() {
  const auto jitter = static_cast<uint64_t>(faults_.jitter.count());
  return faults_.delay + base::Duration(static_cast<int64_t>(random_.below(jitter + 1)));
}

Wire::Passage Wire::pass(base::MutableBytes frame) {
  Passage out;
  if (random_.chance(faults_.loss)) return out;
  if (random_.chance(faults_.corrupt) && frame.size() > wire::kEthernetHeader) {
    const size_t at = wire::kEthernetHeader + random_.below(frame.size() - wire::kEthernetHeader);
    frame[at] = static_cast<uint8_t>(frame[at] ^ 1U << random_.below(8));
  }
  out.delays[out.copies++] = draw_delay();
  if (random_.chance(faults_.reorder)) {
    out.delays[0] += std::max(kLeastHold, faults_.delay * kHeldBack);
  }
  if (random_.chance(faults_.duplicate)) out.delays[out.copies++] = draw_delay() + kLeastHold;
  return out;
}

}  // namespace mqlb::replay
