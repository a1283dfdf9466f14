#include "tests/support/sim/packet.hh"

#include <algorithm>
#include <cstring>

namespace mqlb::sim {
namespace {

using base::load_be16;
using base::load_be32;
using base::store_be16;
using base::store_be32;

constexpr size_t kIpHeader = 20;
constexpr size_t kTcpHeader = 20;
constexpr uint8_t kProtocolTcp = 6;

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

uint64_t pseudo_header(const uint8_t* ip, size_t tcp_length) {
  return checksum_add(0, {ip + 12, 8}) + kProtocolTcp + tcp_length;
}

void put_ethernet(uint8_t* p, const wire::MacAddress& source, const wire::MacAddress& destination,
                  uint16_t type) {
  destination.store(p);
  source.store(p + 6);
  store_be16(p + 12, type);
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

std::vector<uint8_t> encode_segment(const wire::MacAddress& source,
                                    const wire::MacAddress& destination, const Segment& s,
                                    uint16_t ip_id) {
  OptionWriter writer(s.layout);
  const base::Bytes options = encode_options(s, writer);
  const size_t tcp_length = kTcpHeader + options.size() + s.payload.size();
  std::array<uint8_t, kEthernetHeader + kIpHeader + kTcpHeader> head{};
  put_ethernet(head.data(), source, destination, kEtherTypeIpv4);

  uint8_t* ip = head.data() + kEthernetHeader;
  ip[0] = 0x45;
  store_be16(ip + 2, static_cast<uint16_t>(kIpHeader + tcp_length));
  store_be16(ip + 4, ip_id);
  store_be16(ip + 6, 0x4000);  // do not fragment
  ip[8] = 64;
  ip[9] = kProtocolTcp;
  s.source.address.store_v4(ip + 12);
  s.destination.address.store_v4(ip + 16);

  uint8_t* tcp = ip + kIpHeader;
  store_be16(tcp, s.source.port);
  store_be16(tcp + 2, s.destination.port);
  store_be32(tcp + 4, s.seq.raw());
  store_be32(tcp + 8, s.ack.raw());
  tcp[12] = static_cast<uint8_t>((kTcpHeader + options.size()) / 4 << 4U);
  tcp[13] = s.flags;
  store_be16(tcp + 14, s.window);
  const base::Bytes headers(head);
  std::vector<uint8_t> frame;
  frame.reserve(kEthernetHeader + kIpHeader + tcp_length);
  for (const base::Bytes part : {headers, options, s.payload}) {
    frame.insert(frame.end(), part.begin(), part.end());
  }
  fix_checksums(frame);
  return frame;
}

void fix_checksums(base::MutableBytes frame) {
  uint8_t* ip = frame.data() + kEthernetHeader;
  const size_t tcp_length = load_be16(ip + 2) - kIpHeader;
  uint8_t* tcp = ip + kIpHeader;
  store_be16(ip + 10, 0);
  store_be16(ip + 10, checksum_finish(checksum_add(0, {ip, kIpHeader})));
  store_be16(tcp + 16, 0);
  const uint64_t sum = checksum_add(pseudo_header(ip, tcp_length), {tcp, tcp_length});
  store_be16(tcp + 16, checksum_finish(sum));
}

FrameFault parse_segment(base::Bytes frame, Segment& out) {
  if (frame.size() < kEthernetHeader + kIpHeader) return FrameFault::truncated;
  const uint8_t* ip = frame.data() + kEthernetHeader;
  const size_t total = load_be16(ip + 2);
  if (ip[0] != 0x45 || (load_be16(ip + 6) & 0x3fff) != 0 || ip[8] == 0)
    return FrameFault::ip_header;
  if (total < kIpHeader || kEthernetHeader + total > frame.size()) return FrameFault::truncated;
  if (kEthernetHeader + total < frame.size() && frame.size() > 60)
    return FrameFault::trailing_bytes;
  out.source.address = wire::IpAddress::load_v4(ip + 12);
  out.destination.address = wire::IpAddress::load_v4(ip + 16);
  if (checksum_finish(checksum_add(0, {ip, kIpHeader})) != 0) return FrameFault::ip_checksum;
  if (ip[9] != kProtocolTcp) return FrameFault::not_tcp;

  const base::Bytes tcp(ip + kIpHeader, total - kIpHeader);
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
  if (checksum_finish(checksum_add(pseudo_header(ip, tcp.size()), tcp)) != 0) {
    return FrameFault::tcp_checksum;
  }
  const bool good = parse_options(tcp.subspan(kTcpHeader, header - kTcpHeader), out);
  return good ? FrameFault::none : FrameFault::tcp_options;
}

std::vector<uint8_t> encode_arp(const wire::MacAddress& destination, const ArpPacket& packet) {
  std::vector<uint8_t> frame(60);
  put_ethernet(frame.data(), packet.sender_mac, destination, kEtherTypeArp);
  uint8_t* arp = frame.data() + kEthernetHeader;
  store_be16(arp, 1);
  store_be16(arp + 2, kEtherTypeIpv4);
  arp[4] = 6;
  arp[5] = 4;
  store_be16(arp + 6, packet.request ? 1 : 2);
  packet.sender_mac.store(arp + 8);
  packet.sender.store_v4(arp + 14);
  packet.target_mac.store(arp + 18);
  packet.target.store_v4(arp + 24);
  return frame;
}

std::optional<ArpPacket> parse_arp(base::Bytes frame) {
  if (frame.size() < kEthernetHeader + 28) return std::nullopt;
  const uint8_t* arp = frame.data() + kEthernetHeader;
  const uint16_t operation = load_be16(arp + 6);
  const bool ethernet_ipv4 =
      load_be16(arp) == 1 && load_be16(arp + 2) == kEtherTypeIpv4 && arp[4] == 6 && arp[5] == 4;
  if (!ethernet_ipv4 || operation < 1 || operation > 2) return std::nullopt;
  return ArpPacket{operation == 1, wire::MacAddress::load(arp + 8),
                   wire::IpAddress::load_v4(arp + 14), wire::MacAddress::load(arp + 18),
                   wire::IpAddress::load_v4(arp + 24)};
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
