// Any text: refused with a reason, or printed in a form that parses to the same again.
#include "lib/wire/address.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb::wire;
using mqlb::fuzz::check;

template <typename T>
void check_both_ways(std::string_view text) {
  const auto value = T::parse(text);
  if (!value) {
    check(!value.error().message.empty(), "a refusal says why");
    return;
  }
  const std::string printed = to_string(*value);
  const auto again = T::parse(printed);
  check(again && *again == *value, "what is printed parses to the same");
  check(to_string(*again) == printed, "there is one printed form");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = mqlb::base::as_text({data, size});
  check_both_ways<IpAddress>(text);
  check_both_ways<Endpoint>(text);
  check_both_ways<Prefix>(text);
  if (const auto prefix = Prefix::parse(text)) {
    check(prefix->contains(prefix->address), "a network contains its own address");
  }
  return 0;
}
