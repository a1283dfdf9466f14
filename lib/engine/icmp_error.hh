// ICMP errors of both families: the segment that one quotes, and what it says in the other family.
#pragma once

#include <cstdint>
#include <optional>

#include "lib/base/bytes.hh"
#include "lib/wire/packet.hh"

namespace mqlb::engine {

enum Icmpv4Type : uint8_t {
  kEchoReply = 0,
  kUnreachable = 3,
  kEchoRequest = 8,
  kTimeExceeded = 11,
  kParameterProblem = 12,
};
inline constexpr uint8_t kFragmentationNeeded = 4;  // code of kUnreachable

enum Icmpv6Type : uint8_t {
  kUnreachableV6 = 1,
  kPacketTooBig = 2,
  kTimeExceededV6 = 3,
  kParameterProblemV6 = 4,
  kEchoRequestV6 = 128,
  kEchoReplyV6 = 129,
};

// The ICMP header without its checksum.
struct IcmpHeader {
  uint8_t type = 0;
  uint8_t code = 0;
  uint32_t rest = 0;

  [[nodiscard]] static IcmpHeader load(const uint8_t* p) {
    return {p[0], p[1], base::load_be32(p + 4)};
  }
  friend bool operator==(const IcmpHeader&, const IcmpHeader&) = default;
};

// The same error in the other family, its MTU included (RFC 7915 sections 4.2 and 5.2). nullopt: it
// has no meaning there.
[[nodiscard]] std::optional<IcmpHeader> to_icmpv6(const IcmpHeader& v4);
[[nodiscard]] std::optional<IcmpHeader> to_icmpv4(const IcmpHeader& v6);

// The packet that an error quotes: an IP header and the beginning of a TCP header.
class Quote {
 public:
  // False if it is not TCP right behind an IP header of the error's own family, or is too short.
  bool parse(const wire::Packet& packet);

  [[nodiscard]] wire::Endpoint source() const { return {source_, tcp().source_port()}; }
  [[nodiscard]] wire::Endpoint destination() const {
    return {destination_, tcp().destination_port()};
  }
  [[nodiscard]] base::Seq32 seq() const { return tcp().seq(); }
  [[nodiscard]] uint8_t* network() const { return network_; }

  // The quoted segment as its sender had sent it. The IP header stays as it is.
  void translate(const wire::Endpoint& new_source, const wire::Endpoint& new_destination,
                 uint32_t seq_delta);

  // Behind `out`'s beginning: an IP header between these, and as much of the segment as `out` has
  // room for; returns the length.
  size_t write(const wire::IpAddress& source, const wire::IpAddress& destination,
               base::MutableBytes out) const;

 private:
  [[nodiscard]] wire::TcpView tcp() const { return wire::TcpView(tcp_); }

  uint8_t* network_ = nullptr;
  uint8_t* tcp_ = nullptr;
  size_t length_ = 0;       // bytes of TCP that are there
  size_t full_length_ = 0;  // and that its packet had
  wire::IpAddress source_, destination_;
};

}  // namespace mqlb::engine
