#include "tests/load/session.hh"

#include <algorithm>

#include "lib/proxy_protocol/format.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"

namespace mqlb::load {
namespace {

namespace proxy = proxy_protocol;

// True while `in` may be the beginning of a longer PROXY header. Only then is nullopt of decode()
// no verdict.
bool may_be_proxy(base::Bytes in) {
  const auto begins = [in](base::Bytes start) {
    const size_t n = std::min(in.size(), start.size());
    return std::equal(start.begin(), start.begin() + static_cast<ptrdiff_t>(n), in.begin());
  };
  if (begins(proxy::kSignature)) {
    return in.size() < proxy::kFixedPart ||
           in.size() < proxy::kFixedPart + base::load_be16(in.data() + 14);
  }
  return begins(base::as_bytes(proxy::kLineStart)) && in.size() < proxy::kMaxLine &&
         base::as_text(in).find("\r\n") == std::string_view::npos;
}

void append(Octets& out, std::initializer_list<uint8_t> bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::optional<size_t> Session::take(base::Bytes in, Octets& out) {
  size_t done = 0;
  for (;;) {
    const Stage before = stage_;
    std::optional<size_t> used;
    switch (stage_) {
      case Stage::proxy:
        used = take_proxy(in);
        break;
      case Stage::connect:
        used = take_connect(in, out);
        break;
      case Stage::open:
        used = take_packet(in, out);
        break;
    }
    if (!used) return std::nullopt;
    if (*used == 0 && stage_ == before) return done;
    in = in.subspan(*used);
    done += *used;
  }
}

std::optional<size_t> Session::refuse() {
  ++tally_.malformed;
  return std::nullopt;
}

std::optional<size_t> Session::take_proxy(base::Bytes in) {
  if (in.empty() || may_be_proxy(in)) return 0;
  stage_ = Stage::connect;
  if (in[0] != proxy::kSignature[0] && in[0] != static_cast<uint8_t>(proxy::kLineStart[0])) {
    return 0;
  }
  const auto header = proxy::decode(in);
  if (!header) return refuse();
  proxied_ = true;
  return header->size;
}

std::optional<size_t> Session::take_connect(base::Bytes in, Octets& out) {
  const mqtt::ConnectResult result = mqtt::parse_connect(in);
  if (const auto* more = std::get_if<mqtt::NeedMore>(&result)) {
    return more->total > kMaxPacket ? refuse() : 0;
  }
  const auto* connect = std::get_if<mqtt::Connect>(&result);
  if (connect == nullptr) return refuse();
  stage_ = Stage::open;
  version_ = connect->version;
  ++tally_.connections;
  tally_.proxied += proxied_ ? 1U : 0U;
  client_ = &tally_.clients[std::string(base::as_text(connect->client_id))];
  ++client_->connections;
  // 3.1.1 and 5.0, section 3.2: no session present, accepted, (5.0) no properties.
  if (version_ == mqtt::Version::v5_0) {
    append(out, {0x20, 3, 0, 0, 0});
  } else {
    append(out, {0x20, 2, 0, 0});
  }
  return connect->size;
}

std::optional<size_t> Session::take_packet(base::Bytes in, Octets& out) {
  Packet packet;
  switch (cut_packet(in, kMaxPacket, packet)) {
    case Cut::need_more:
      return 0;
    case Cut::malformed:
      return refuse();
    case Cut::packet:
      break;
  }
  if (packet.type == PacketType::disconnect) {
    ++tally_.disconnects;
    return std::nullopt;
  }
  if (!answer(packet, out)) return refuse();
  return packet.size;
}

bool Session::answer(const Packet& packet, Octets& out) {
  switch (packet.type) {
    case PacketType::publish:
      return publish(packet, out);
    case PacketType::subscribe:
      if (packet.body.size() < 5) return false;
      ++tally_.subscriptions;
      if (version_ == mqtt::Version::v5_0) {
        append(out, {0x90, 4, packet.body[0], packet.body[1], 0, 0});
      } else {
        append(out, {0x90, 3, packet.body[0], packet.body[1], 0});
      }
      return true;
    case PacketType::pingreq:
      ++tally_.pings;
      append(out, {0xd0, 0});
      return true;
    default:
      return false;
  }
}

bool Session::publish(const Packet& packet, Octets& out) {
  base::ByteReader reader(packet.body);
  reader.take(reader.be16());
  const unsigned qos = packet.flags >> 1 & 3U;
  const uint16_t id = qos > 0 ? reader.be16() : uint16_t{0};
  if (!reader.ok() || qos > 1) return false;
  ++client_->messages;
  if (qos == 0) {
    ++tally_.messages_qos0;
    return true;
  }
  ++tally_.messages_qos1;
  append(out, {0x40, 2, static_cast<uint8_t>(id >> 8), static_cast<uint8_t>(id)});
  return true;
}

}  // namespace mqlb::load
