#include "tests/support/sim/packet.hh"

#include <algorithm>
#include <cstring>

namespace mqlb::sim {
namespace {

using base::load_be16;
using base::load_be32;
using base::store_be16;
using base::store_be32;

constexpr size_t kIpv4Header = 20;
constexpr size_t kIpv6Header = 40;
constexpr size_t kTcpHeader = 20;

enum Option : uint8_t { kEnd = 0, kNop = 1, kMss = 2, kScale = 3, kSackOk = 4, kSack = 5, kTs = 8 };

class OptionWriter {
 public:
  explicit OptionWriter(OptionLayout layout) : odd_(layout == OptionLayout::odd) {
    if (odd_) put(kNop);
  }
  // Fills up so that an option of `before` bytes of preamble has its value on a word.
  void align(size_t before) {
    while (!odd_ && (size_ + before) % 4 != 0) put(kNop);
  }
  void put(uint8_t v) { bytes_[size_++] = v; }
  void put16(uint16_t v) {
    store_be16(&bytes_[size_], v);
    size_ += 2;
  }
  void put32(uint32_t v) {
    store_be32(&bytes_[size_], v);
    size_ += 4;
  }
  base::Bytes finish() {
    while (size_ % 4 != 0) put(kEnd);
    return base::Bytes(bytes_).first(size_);
  }
  [[nodiscard]] bool empty() const { return size_ == (odd_ ? 1U : 0U); }

 private:
  std::array<uint8_t, 64> bytes_{};
  size_t size_ = 0;
  bool odd_;
};

base::Bytes encode_options(const Segment& s, OptionWriter& w) {
  if (s.mss) {
    w.put(kMss);
    w.put(4);
    w.put16(*s.mss);
  }
  if (s.window_scale) {
    w.align(1);
    w.put(kScale);
    w.put(3);
    w.put(*s.window_scale);
  }
  if (s.sack_permitted) {
    w.put(kSackOk);
    w.put(2);
  }
  if (s.timestamps) {
    w.align(2);
    w.put(kTs);
    w.put(10);
    w.put32(s.timestamps->value);
    w.put32(s.timestamps->echo);
  }
  if (s.sack_count > 0) {
    w.align(2);
    w.put(kSack);
    w.put(static_cast<uint8_t>(2 + 8 * s.sack_count));
    for (size_t i = 0; i < s.sack_count; ++i) {
      w.put32(s.sack[i].left.raw());
      w.put32(s.sack[i].right.raw());
    }
  }
  return w.empty() ? base::Bytes{} : w.finish();
}

// One option with its value; false when its length does not fit its kind.
bool parse_option(uint8_t kind, base::Bytes value, Segment& out) {
  switch (kind) {
    case kMss:
      if (value.size() != 2) return false;
      out.mss = load_be16(value.data());
      return true;
    case kScale:
      if (value.size() != 1) return false;
      out.window_scale = value[0];
      return true;
    case kSackOk:
      out.sack_permitted = true;
      return value.empty();
    case kTs:
      if (value.size() != 8) return false;
      out.timestamps = Timestamps{load_be32(value.data()), load_be32(value.data() + 4)};
      return true;
    case kSack:
      if (value.empty() || value.size() % 8 != 0 || value.size() > 8 * kMaxSackBlocks) return false;
      out.sack_count = value.size() / 8;
      for (size_t i = 0; i < out.sack_count; ++i) {
        out.sack[i].left = base::Seq32(load_be32(value.data() + 8 * i));
        out.sack[i].right = base::Seq32(load_be32(value.data() + 8 * i + 4));
      }
      return true;
    default:
      return true;
  }
}

bool parse_options(base::Bytes options, Segment& out) {
  while (!options.empty()) {
    const uint8_t kind = options[0];
    if (kind == kEnd) return true;
    if (kind == kNop) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) return false;
    if (!parse_option(kind, options.subspan(2, options[1] - 2U), out)) return false;
    options = options.subspan(options[1]);
  }
  return true;
}

uint64_t pseudo_header(const uint8_t* ip, bool v6, size_t tcp_length) {
  const base::Bytes addresses = v6 ? base::Bytes(ip + 8, 32) : base::Bytes(ip + 12, 8);
  return checksum_add(0, addresses) + kProtocolTcp + tcp_length;
}

void put_ipv4(uint8_t* ip, const Segment& s, size_t tcp_length, uint16_t id) {
  ip[0] = 0x45;
  store_be16(ip + 2, static_cast<uint16_t>(kIpv4Header + tcp_length));
  store_be16(ip + 4, id);
  store_be16(ip + 6, 0x4000);  // do not fragment
  ip[8] = 64;
  ip[9] = kProtocolTcp;
  s.source.address.store_v4(ip + 12);
  s.destination.address.store_v4(ip + 16);
}

void put_ipv6(uint8_t* ip, const Segment& s, size_t tcp_length) {
  ip[0] = 0x60;
  store_be16(ip + 4, static_cast<uint16_t>(tcp_length));
  ip[6] = kProtocolTcp;
  ip[7] = 64;
  s.source.address.store_v6(ip + 8);
  s.destination.address.store_v6(ip + 24);
}

// `body`: what the header says that follows it; as much as there is where that is more.
FrameFault parse_ipv4(base::Bytes packet, Segment& out, base::Bytes& body) {
  if (packet.size() < kIpv4Header) return FrameFault::truncated;
  const uint8_t* ip = packet.data();
  const size_t total = load_be16(ip + 2);
  if (ip[0] != 0x45 || (load_be16(ip + 6) & 0x3fff) != 0 || ip[8] == 0) {
    return FrameFault::ip_header;
  }
  if (total < kIpv4Header || total > packet.size()) return FrameFault::truncated;
  out.source.address = wire::IpAddress::load_v4(ip + 12);
  out.destination.address = wire::IpAddress::load_v4(ip + 16);
  if (checksum_finish(checksum_add(0, {ip, kIpv4Header})) != 0) return FrameFault::ip_checksum;
  body = packet.subspan(kIpv4Header, total - kIpv4Header);
  return ip[9] == kProtocolTcp ? FrameFault::none : FrameFault::not_tcp;
}

FrameFault parse_ipv6(base::Bytes packet, Segment& out, base::Bytes& body) {
  if (packet.size() < kIpv6Header) return FrameFault::truncated;
  const uint8_t* ip = packet.data();
  if (ip[0] >> 4U != 6 || ip[7] == 0) return FrameFault::ip_header;
  const size_t length = load_be16(ip + 4);
  if (kIpv6Header + length > packet.size()) return FrameFault::truncated;
  out.source.address = wire::IpAddress::load_v6(ip + 8);
  out.destination.address = wire::IpAddress::load_v6(ip + 24);
  body = packet.subspan(kIpv6Header, length);
  return ip[6] == kProtocolTcp ? FrameFault::none : FrameFault::not_tcp;
}

FrameFault parse_tcp(const uint8_t* ip, bool v6, base::Bytes tcp, Segment& out) {
  if (tcp.size() < kTcpHeader) return FrameFault::truncated;
  const size_t header = static_cast<size_t>(tcp[12] >> 4U) * 4;
  if (header < kTcpHeader || header > tcp.size()) return FrameFault::truncated;
  out.source.port = load_be16(tcp.data());
  out.destination.port = load_be16(tcp.data() + 2);
  out.seq = base::Seq32(load_be32(tcp.data() + 4));
  out.ack = base::Seq32(load_be32(tcp.data() + 8));
  out.flags = tcp[13];
  out.window = load_be16(tcp.data() + 14);
  out.option_bytes = header - kTcpHeader;
  out.payload = tcp.subspan(header);
  if (checksum_finish(checksum_add(pseudo_header(ip, v6, tcp.size()), tcp)) != 0) {
    return FrameFault::tcp_checksum;
  }
  const bool good = parse_options(tcp.subspan(kTcpHeader, header - kTcpHeader), out);
  return good ? FrameFault::none : FrameFault::tcp_options;
}

}  // namespace

std::string_view to_string(FrameFault fault) {
  switch (fault) {
    case FrameFault::none:
      return "none";
    case FrameFault::truncated:
      return "truncated";
    case FrameFault::trailing_bytes:
      return "bytes behind the packet";
    case FrameFault::ip_header:
      return "IP header";
    case FrameFault::ip_checksum:
      return "IP checksum";
    case FrameFault::not_tcp:
      return "not TCP";
    case FrameFault::tcp_checksum:
      return "TCP checksum";
    case FrameFault::tcp_options:
      return "TCP options";
  }
  return "?";
}

uint16_t ether_type(base::Bytes frame) {
  return frame.size() < kEthernetHeader ? uint16_t{0} : load_be16(frame.data() + 12);
}

uint64_t checksum_add(uint64_t sum, base::Bytes bytes) {
  size_t i = 0;
  // 32-bit words in network order: folding makes them equal to sums of 16-bit words.
  for (; i + 4 <= bytes.size(); i += 4) sum += load_be32(bytes.data() + i);
  if (i + 2 <= bytes.size()) {
    sum += load_be16(bytes.data() + i);
    i += 2;
  }
  if (i < bytes.size()) sum += static_cast<uint64_t>(bytes[i]) << 8U;
  return sum;
}

uint16_t checksum_finish(uint64_t sum) {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16U);
  return static_cast<uint16_t>(~sum);
}

void put_ethernet(uint8_t* header, const wire::MacAddress& source,
                  const wire::MacAddress& destination, uint16_t type) {
  destination.store(header);
  source.store(header + 6);
  store_be16(header + 12, type);
}

size_t ip_header_length(const wire::IpAddress& address) {
  return address.is_v4() ? kIpv4Header : kIpv6Header;
}

std::vector<uint8_t> encode_segment(const wire::MacAddress& source,
                                    const wire::MacAddress& destination, const Segment& s,
                                    uint16_t ip_id) {
  OptionWriter writer(s.layout);
  const base::Bytes options = encode_options(s, writer);
  const size_t tcp_length = kTcpHeader + options.size() + s.payload.size();
  const bool v4 = s.source.address.is_v4();
  const size_t ip_header = ip_header_length(s.source.address);
  std::array<uint8_t, kEthernetHeader + kIpv6Header + kTcpHeader> head{};
  put_ethernet(head.data(), source, destination, v4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
  uint8_t* ip = head.data() + kEthernetHeader;
  if (v4) {
    put_ipv4(ip, s, tcp_length, ip_id);
  } else {
    put_ipv6(ip, s, tcp_length);
  }
  uint8_t* tcp = ip + ip_header;
  store_be16(tcp, s.source.port);
  store_be16(tcp + 2, s.destination.port);
  store_be32(tcp + 4, s.seq.raw());
  store_be32(tcp + 8, s.ack.raw());
  tcp[12] = static_cast<uint8_t>((kTcpHeader + options.size()) / 4 << 4U);
  tcp[13] = s.flags;
  store_be16(tcp + 14, s.window);
  const base::Bytes headers = base::Bytes(head).first(kEthernetHeader + ip_header + kTcpHeader);
  std::vector<uint8_t> frame;
  frame.reserve(kEthernetHeader + ip_header + tcp_length);
  for (const base::Bytes part : {headers, options, s.payload}) {
    frame.insert(frame.end(), part.begin(), part.end());
  }
  fix_checksums(frame);
  return frame;
}

void fix_checksums(base::MutableBytes frame) {
  uint8_t* ip = frame.data() + kEthernetHeader;
  const bool v6 = ether_type(frame) == kEtherTypeIpv6;
  const size_t tcp_length = v6 ? load_be16(ip + 4) : load_be16(ip + 2) - kIpv4Header;
  uint8_t* tcp = ip + (v6 ? kIpv6Header : kIpv4Header);
  if (!v6) {
    store_be16(ip + 10, 0);
    store_be16(ip + 10, checksum_finish(checksum_add(0, {ip, kIpv4Header})));
  }
  store_be16(tcp + 16, 0);
  const uint64_t sum = checksum_add(pseudo_header(ip, v6, tcp_length), {tcp, tcp_length});
  store_be16(tcp + 16, checksum_finish(sum));
}

FrameFault parse_segment(base::Bytes frame, Segment& out) {
  if (frame.size() < kEthernetHeader) return FrameFault::truncated;
  const base::Bytes packet = frame.subspan(kEthernetHeader);
  const bool v6 = ether_type(frame) == kEtherTypeIpv6;
  base::Bytes body;
  const FrameFault fault = v6 ? parse_ipv6(packet, out, body) : parse_ipv4(packet, out, body);
  if (fault != FrameFault::none) return fault;
  // Padding to the least that Ethernet carries is no fault.
  const size_t behind =
      static_cast<size_t>(frame.data() + frame.size() - body.data()) - body.size();
  if (behind > 0 && frame.size() > 60) return FrameFault::trailing_bytes;
  return parse_tcp(packet.data(), v6, body, out);
}

std::string describe(const Segment& s) {
  std::string text = to_string(s.source) + " > " + to_string(s.destination) + " ";
  constexpr std::string_view kNames = "FSRPAUEC";
  for (size_t i = 0; i < kNames.size(); ++i) {
    if ((s.flags >> i & 1) != 0) text += kNames[i];
  }
  text += " seq " + std::to_string(s.seq.raw()) + " ack " + std::to_string(s.ack.raw()) + " win " +
          std::to_string(s.window) + " len " + std::to_string(s.payload.size());
  if (s.timestamps) {
    text += " ts " + std::to_string(s.timestamps->value) + "/" + std::to_string(s.timestamps->echo);
  }
  for (size_t i = 0; i < s.sack_count; ++i) {
    text += (i == 0 ? " sack " : ",") + std::to_string(s.sack[i].left.raw()) + "-" +
            std::to_string(s.sack[i].right.raw());
  }
  return text;
}

}  // namespace mqlb::sim
