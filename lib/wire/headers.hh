// Header layouts: offsets, constants and accessors over bytes whose length was checked before.
//
// Each view is a pointer into a frame and owns nothing. parse_packet() (packet.hh) makes the
// checks.
#pragma once

#include <cstdint>

#include "lib/base/bytes.hh"
#include "lib/base/seq32.hh"
#include "lib/wire/address.hh"
#include "lib/wire/checksum.hh"

namespace mqlb::wire {

inline constexpr size_t kEthernetHeader = 14;
inline constexpr size_t kIpv4Header = 20;  // without options, which are refused
inline constexpr size_t kIpv6Header = 40;  // without extension headers
inline constexpr size_t kTcpHeader = 20;
inline constexpr size_t kMaxTcpHeader = 60;
inline constexpr size_t kIcmpHeader = 8;
inline constexpr size_t kArpPacket = 28;

inline constexpr uint16_t kEtherTypeIpv4 = 0x0800;
inline constexpr uint16_t kEtherTypeArp = 0x0806;
inline constexpr uint16_t kEtherTypeIpv6 = 0x86dd;

inline constexpr uint8_t kProtocolIcmp = 1;
inline constexpr uint8_t kProtocolTcp = 6;
inline constexpr uint8_t kProtocolIcmpv6 = 58;

inline constexpr MacAddress kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

class EthernetView {
 public:
  explicit EthernetView(uint8_t* p) : p_(p) {}
  [[nodiscard]] MacAddress destination() const { return MacAddress::load(p_); }
  [[nodiscard]] MacAddress source() const { return MacAddress::load(p_ + 6); }
  [[nodiscard]] uint16_t type() const { return base::load_be16(p_ + 12); }
  // MacAddress::bits() of them, in one load each.
  [[nodiscard]] uint64_t destination_bits() const { return load_word(p_) & kMacBits; }
  [[nodiscard]] uint64_t source_bits() const { return load_word(p_ + 6) & kMacBits; }
  void set_destination(const MacAddress& mac) { mac.store(p_); }
  void set_source(const MacAddress& mac) { mac.store(p_ + 6); }
  void set_type(uint16_t type) { base::store_be16(p_ + 12, type); }

 private:
  static constexpr uint64_t kMacBits = 0xffffffffffff;
  [[nodiscard]] static uint64_t load_word(const uint8_t* p) {
    uint64_t word;
    std::memcpy(&word, p, sizeof word);
    return word;
  }
  uint8_t* p_;
};

// RFC 791.
class Ipv4View {
 public:
  explicit Ipv4View(uint8_t* p) : p_(p) {}
  [[nodiscard]] uint8_t version_and_length() const { return p_[0]; }
  [[nodiscard]] uint8_t type_of_service() const { return p_[1]; }
  [[nodiscard]] uint16_t total_length() const { return base::load_be16(p_ + 2); }
  [[nodiscard]] uint16_t fragment() const { return base::load_be16(p_ + 6); }
  void set_identification(uint16_t id) { base::store_be16(p_ + 4, id); }
  void set_fragment(uint16_t flags_and_offset) { base::store_be16(p_ + 6, flags_and_offset); }
  [[nodiscard]] uint8_t ttl() const { return p_[8]; }
  [[nodiscard]] uint8_t protocol() const { return p_[9]; }
  [[nodiscard]] uint16_t checksum() const { return base::load_be16(p_ + 10); }
  [[nodiscard]] IpAddress source() const { return IpAddress::load_v4(p_ + 12); }
  [[nodiscard]] IpAddress destination() const { return IpAddress::load_v4(p_ + 16); }
  [[nodiscard]] const uint8_t* addresses() const { return p_ + 12; }
  void set_total_length(uint16_t v) { base::store_be16(p_ + 2, v); }
  void set_ttl(uint8_t v) { p_[8] = v; }
  void set_source(const IpAddress& a) { a.store_v4(p_ + 12); }
  void set_destination(const IpAddress& a) { a.store_v4(p_ + 16); }
  void set_checksum(uint16_t v) { base::store_be16(p_ + 10, v); }
  [[nodiscard]] bool checksum_ok() const { return sum_ipv4_header(p_) == 0xffff; }
  void update_checksum() {
    set_checksum(0);
    set_checksum(static_cast<uint16_t>(~sum_ipv4_header(p_)));
  }
  // New addresses, TTL and checksum. Sums what is not replaced before it writes: to read a word of
  // which parts were just written would wait for those stores.
  void readdress(const IpAddress& source, const IpAddress& destination, uint8_t ttl) {
    const uint64_t sum = uint64_t{base::load_be32(p_)} + base::load_be32(p_ + 4) +
                         (uint32_t{ttl} << 8 | protocol()) + source.v4_bits() +
                         destination.v4_bits();
    set_ttl(ttl);
    set_checksum(checksum_of(sum));
    set_source(source);
    set_destination(destination);
  }

 private:
  uint8_t* p_;
};

// RFC 8200.
class Ipv6View {
 public:
  explicit Ipv6View(uint8_t* p) : p_(p) {}
  [[nodiscard]] uint8_t version() const { return p_[0] >> 4; }
  [[nodiscard]] uint8_t traffic_class() const {
    return static_cast<uint8_t>(base::load_be16(p_) >> 4);
  }
  [[nodiscard]] uint16_t payload_length() const { return base::load_be16(p_ + 4); }
  [[nodiscard]] uint8_t next_header() const { return p_[6]; }
  [[nodiscard]] uint8_t hop_limit() const { return p_[7]; }
  [[nodiscard]] IpAddress source() const { return IpAddress::load_v6(p_ + 8); }
  [[nodiscard]] IpAddress destination() const { return IpAddress::load_v6(p_ + 24); }
  [[nodiscard]] const uint8_t* addresses() const { return p_ + 8; }
  void set_hop_limit(uint8_t v) { p_[7] = v; }
  void set_source(const IpAddress& a) { a.store_v6(p_ + 8); }
  void set_destination(const IpAddress& a) { a.store_v6(p_ + 24); }

 private:
  uint8_t* p_;
};

// Control bits of RFC 9293 section 3.1.
enum TcpFlag : uint8_t {
  kFin = 0x01,
  kSyn = 0x02,
  kRst = 0x04,
  kPsh = 0x08,
  kAck = 0x10,
  kUrg = 0x20,
};

class TcpView {
 public:
  explicit TcpView(uint8_t* p) : p_(p) {}
  [[nodiscard]] uint16_t source_port() const { return base::load_be16(p_); }
  [[nodiscard]] uint16_t destination_port() const { return base::load_be16(p_ + 2); }
  [[nodiscard]] base::Seq32 seq() const { return base::Seq32(base::load_be32(p_ + 4)); }
  [[nodiscard]] base::Seq32 ack() const { return base::Seq32(base::load_be32(p_ + 8)); }
  [[nodiscard]] uint8_t header_length() const { return static_cast<uint8_t>((p_[12] >> 4) * 4); }
  [[nodiscard]] uint8_t flags() const { return p_[13]; }
  [[nodiscard]] bool has(uint8_t flags) const { return (p_[13] & flags) == flags; }
  [[nodiscard]] uint16_t window() const { return base::load_be16(p_ + 14); }
  [[nodiscard]] uint16_t checksum() const { return base::load_be16(p_ + 16); }
  [[nodiscard]] base::MutableBytes options() const {
    return {p_ + kTcpHeader, static_cast<size_t>(header_length()) - kTcpHeader};
  }
  [[nodiscard]] uint8_t* data() const { return p_; }
  void set_source_port(uint16_t v) { base::store_be16(p_, v); }
  void set_destination_port(uint16_t v) { base::store_be16(p_ + 2, v); }
  void set_seq(base::Seq32 v) { base::store_be32(p_ + 4, v.raw()); }
  void set_ack(base::Seq32 v) { base::store_be32(p_ + 8, v.raw()); }
  void set_flags(uint8_t v) { p_[13] = v; }
  void set_window(uint16_t v) { base::store_be16(p_ + 14, v); }
  void set_checksum(uint16_t v) { base::store_be16(p_ + 16, v); }

 private:
  uint8_t* p_;
};

}  // namespace mqlb::wire
