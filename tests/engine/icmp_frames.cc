#include "tests/engine/icmp_frames.hh"

#include <algorithm>

namespace mqlb::tests {
namespace {

constexpr size_t kEth = 14;
constexpr size_t kIp = 20;
constexpr uint8_t kUnreachable = 3;
constexpr uint8_t kPortCode = 3;
constexpr uint8_t kFragmentationCode = 4;
constexpr uint8_t kEchoRequest = 8;

std::vector<uint8_t> error(unsigned port, const wire::IpAddress& router, const Sent& about,
                           size_t quoted, uint8_t code, uint16_t mtu) {
  std::vector<uint8_t> body{0, 0, static_cast<uint8_t>(mtu >> 8), static_cast<uint8_t>(mtu)};
  const base::Bytes quote = base::Bytes(about.bytes).subspan(kEth, quoted);
  body.insert(body.end(), quote.begin(), quote.end());
  const auto to = wire::IpAddress::load_v4(quote.data() + 12);
  const wire::MacAddress neighbour = port == kClients ? client_mac(0) : broker_mac(0);
  return icmp_frame(port, neighbour, router, to, kUnreachable, code, body);
}

}  // namespace

std::vector<uint8_t> icmp_frame(unsigned port, const wire::MacAddress& source_mac,
                                const wire::IpAddress& source, const wire::IpAddress& destination,
                                uint8_t type, uint8_t code, base::Bytes body) {
  std::vector<uint8_t> frame(kEth + kIp + 4 + body.size());
  kPortMacs[port].store(frame.data());
  source_mac.store(frame.data() + 6);
  base::store_be16(frame.data() + 12, sim::kEtherTypeIpv4);
  std::copy(body.begin(), body.end(), frame.end() - static_cast<ptrdiff_t>(body.size()));
  uint8_t* ip = frame.data() + kEth;
  ip[0] = 0x45;
  base::store_be16(ip + 2, static_cast<uint16_t>(frame.size() - kEth));
  ip[8] = 64;
  ip[9] = 1;
  source.store_v4(ip + 12);
  destination.store_v4(ip + 16);
  base::store_be16(ip + 10, sim::checksum_finish(sim::checksum_add(0, {ip, kIp})));
  uint8_t* icmp = ip + kIp;
  icmp[0] = type;
  icmp[1] = code;
  const size_t length = frame.size() - kEth - kIp;
  base::store_be16(icmp + 2, sim::checksum_finish(sim::checksum_add(0, {icmp, length})));
  return frame;
}

std::vector<uint8_t> fragmentation_needed(unsigned port, const wire::IpAddress& router,
                                          const Sent& about, size_t quoted, uint16_t mtu) {
  return error(port, router, about, quoted, kFragmentationCode, mtu);
}

std::vector<uint8_t> port_unreachable(unsigned port, const wire::IpAddress& router,
                                      const Sent& about, size_t quoted) {
  return error(port, router, about, quoted, kPortCode, 0);
}

std::vector<uint8_t> echo_request(unsigned port, const wire::MacAddress& source_mac,
                                  const wire::IpAddress& source, const wire::IpAddress& destination,
                                  base::Bytes data) {
  std::vector<uint8_t> body{0x12, 0x34, 0, 1};
  body.insert(body.end(), data.begin(), data.end());
  return icmp_frame(port, source_mac, source, destination, kEchoRequest, 0, body);
}

}  // namespace mqlb::tests
