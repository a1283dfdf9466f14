// Any bytes: one answer, which no cut and no later byte contradicts.
#include "lib/mqtt/connect.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb::mqtt;
using mqlb::base::Bytes;
using mqlb::fuzz::check;
using mqlb::fuzz::copy_of;
using mqlb::fuzz::cut_step;
using mqlb::fuzz::lies_within;

void check_connect(const Connect& connect, Bytes input) {
  check(connect.size >= 14 && connect.size <= input.size(), "the packet is at hand");
  const Bytes packet = input.first(connect.size);
  check(lies_within(connect.client_id, packet), "the Client ID is in the packet");
  check(lies_within(connect.user_name, packet), "the user name is in the packet");
  check(connect.has_user_name || connect.user_name.empty(), "no user name without its flag");
  const auto copy = copy_of(input, connect.size);
  check(std::holds_alternative<Connect>(parse_connect(copy)), "nothing behind it is needed");
}

// What a beginning may answer, if the whole input answers `whole`.
void check_beginning(const ConnectResult& part, size_t cut, const ConnectResult& whole) {
  if (const auto* more = std::get_if<NeedMore>(&part)) {
    check(more->total == 0 || more->total > cut, "more is needed");
    return;
  }
  if (const auto* reason = std::get_if<Malformed>(&part)) {
    const auto* final_reason = std::get_if<Malformed>(&whole);
    check(final_reason != nullptr && *final_reason == *reason, "malformed stays malformed");
    return;
  }
  const auto* connect = std::get_if<Connect>(&whole);
  check(connect != nullptr && connect->size <= cut, "a CONNECT stays one");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(data, size);
  const ConnectResult whole = parse_connect(input);
  if (const auto* connect = std::get_if<Connect>(&whole)) check_connect(*connect, input);
  bool answered = false;
  for (size_t cut = 0; cut < size; cut += cut_step(size)) {
    const auto copy = copy_of(input, cut);
    const ConnectResult part = parse_connect(copy);
    check_beginning(part, cut, whole);
    const bool needs_more = std::holds_alternative<NeedMore>(part);
    check(!(answered && needs_more), "an answer is not taken back");
    answered = answered || !needs_more;
  }
  check(!(answered && std::holds_alternative<NeedMore>(whole)), "an answer is not taken back");
  return 0;
}
