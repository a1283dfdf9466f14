// Any answer to a health check: the verdict is the same however the bytes are split, and says why.
#include "lib/control/dialogue.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb;
using control::Dialogue;
using control::Verdict;

std::unique_ptr<Dialogue> make(config::CheckKind kind, config::CheckMqtt version) {
  config::Check check;
  check.kind = kind;
  check.mqtt_version = version;
  return control::make_dialogue(check, "probe", {wire::IpAddress::v4(0xc612010b), 1883});
}

// In pieces of `piece` bytes, each in memory of its own.
std::optional<Verdict> read(Dialogue& dialogue, base::Bytes input, size_t piece) {
  for (size_t at = 0; at < input.size(); at += piece) {
    const base::Bytes rest = input.subspan(at);
    const auto bytes = fuzz::copy_of(rest, std::min(piece, rest.size()));
    if (auto verdict = dialogue.read(bytes)) return verdict;
  }
  return std::nullopt;
}

bool same(const std::optional<Verdict>& a, const std::optional<Verdict>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->passed == b->passed && a->orderly == b->orderly && a->why == b->why;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using config::CheckKind;
  using config::CheckMqtt;
  const base::Bytes input(data, size);
  for (const auto& [kind, version] :
       {std::pair(CheckKind::mqtt, CheckMqtt::v3_1_1), std::pair(CheckKind::mqtt, CheckMqtt::v5),
        std::pair(CheckKind::http, CheckMqtt::v3_1_1)}) {
    const auto whole = make(kind, version);
    const auto verdict = read(*whole, input, size + 1);
    for (const size_t piece : {size_t{1}, size_t{3}, size / 2 + 1}) {
      const auto split = make(kind, version);
      fuzz::check(same(read(*split, input, piece), verdict), "the split does not matter");
    }
    if (verdict) {
      fuzz::check(!verdict->why.empty() && verdict->why.size() < 200, "it says why");
      fuzz::check(!verdict->passed || verdict->orderly, "what passes is orderly");
    } else {
      fuzz::check(size < 4096, "an answer has an end");
      fuzz::check(!whole->unanswered("closed").why.empty(), "it says what is missing");
    }
  }
  return 0;
}
