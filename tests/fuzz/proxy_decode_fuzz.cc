// Any bytes: what is decoded lies in the input, needs all of it, and can be sent again.
#include <algorithm>

#include "lib/proxy_protocol/proxy_protocol.hh"
#include "tests/fuzz/check.hh"

namespace {

using namespace mqlb::proxy_protocol;
using mqlb::base::Bytes;
using mqlb::fuzz::check;
using mqlb::fuzz::copy_of;
using mqlb::fuzz::cut_step;
using mqlb::fuzz::lies_within;

bool same_ends(const Header& a, const Header& b) {
  return a.source == b.source && a.destination == b.destination;
}

void check_sent_again(const Header& header) {
  uint8_t out[kMaxHeader];
  const size_t line = encode_v1(header.source, header.destination, out);
  check(line > 0 && line <= 107, "v1 fits");
  auto again = decode(Bytes(out, line));
  check(again && again->size == line && same_ends(*again, header), "v1 both ways");

  const V2Options options{.crc32c = true, .unique_id = header.unique_id};
  const size_t size = encode_v2(header.source, header.destination, options, out);
  check(size > 0 && size <= kMaxHeader, "v2 fits");
  again = decode(Bytes(out, size));
  check(again && again->size == size && same_ends(*again, header), "v2 both ways");
  check(again->has_crc32c && std::ranges::equal(again->unique_id, header.unique_id),
        "v2 options both ways");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const Bytes input(data, size);
  const auto header = decode(input);
  if (!header) return 0;
  check(header->size > 0 && header->size <= size, "the header is at hand");
  check(lies_within(header->unique_id, input.first(header->size)), "the unique id is in it");
  for (size_t cut = 0; cut < header->size; cut += cut_step(header->size)) {
    check(!decode(copy_of(input, cut)), "a part is not a header");
  }
  const auto alone = copy_of(input, header->size);
  const auto again = decode(alone);
  check(again && again->size == header->size && same_ends(*again, *header),
        "nothing behind it is needed");
  if (!header->local) check_sent_again(*header);
  return 0;
}
