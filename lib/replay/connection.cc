#include "lib/replay/connection.hh"

#include <algorithm>

#include "lib/base/random.hh"
#include "lib/proxy_protocol/proxy_protocol.hh"

namespace mqlb::replay {
namespace {

constexpr uint8_t kStubWindowScale = 7;
constexpr size_t kMaxHead = 70'000;  // a PROXY header and the longest Client ID

// "-7" for client 7; the first client keeps its Client ID.
std::shared_ptr<const Rewrite> make_rewrite(const Recording& recording, uint32_t client) {
  static const auto kNone = std::make_shared<const Rewrite>();
  if (client == 0) return kNone;
  return std::make_shared<const Rewrite>(recording.client.stream, "-" + std::to_string(client));
}

// What a captured side offered, for packets of the same size over the family that it is played
// over: the header of IPv6 takes more of them (RFC 8200 section 8.3). A larger segment than the
// captured one is not offered: whatever was in the way then may be in the way now.
wire::TcpOptions offer_of(const Side& side, const wire::IpAddress& local) {
  constexpr uint16_t kMore = wire::kIpv6Header - wire::kIpv4Header;
  wire::TcpOptions out = side.syn;
  const bool shrinks = side.endpoint.address.is_v4() && !local.is_v4();
  if (shrinks && out.mss && *out.mss > kMore) out.mss = static_cast<uint16_t>(*out.mss - kMore);
  return out;
}

PlayerSetup client_setup(const Planned& planned, const Recording& recording,
                         const PlayOptions& options, uint16_t mtu) {
  PlayerSetup setup;
  setup.local = planned.local;
  setup.remote = planned.target;
  setup.iss = recording.client.iss;
  if (planned.client > 0) {
    setup.iss += static_cast<uint32_t>(base::Random(options.seed ^ planned.client).u64());
  }
  setup.iss += static_cast<uint32_t>(options.clock / 4);             // RFC 9293 section 3.4.1
  setup.tsval_shift = static_cast<uint32_t>(options.clock / 1'000);  // RFC 7323 section 5.4
  setup.syn = offer_of(recording.client, planned.local.address);
  setup.mtu = mtu;
  setup.speed = options.speed;
  setup.patience = options.patience;
  setup.linger = options.linger;
  return setup;
}

// What a broker offers: the captured server's, or the usual.
PlayerSetup broker_setup(const wire::Endpoint& local, const wire::Endpoint& remote,
                         const Capture& capture, const PlayOptions& options, uint16_t mtu,
                         size_t index) {
  PlayerSetup setup;
  setup.local = local;
  setup.remote = remote;
  setup.mtu = mtu;
  setup.speed = options.speed;
  setup.patience = options.patience;
  setup.linger = options.linger;
  setup.iss = base::Seq32(static_cast<uint32_t>(base::Random(options.seed + index).u64()));
  setup.syn.mss = wire::mss_of(mtu, local.address);
  setup.syn.window_scale = kStubWindowScale;
  setup.syn.sack_permitted = true;
  setup.syn.timestamps = wire::Timestamps{static_cast<uint32_t>(setup.iss.raw() / 2), 0};
  if (options.brokers == BrokerTalk::stub) return setup;
  const auto with_syn = std::find_if(capture.recordings.begin(), capture.recordings.end(),
                                     [](const Recording& r) { return r.server.has_syn; });
  if (with_syn == capture.recordings.end()) return setup;
  setup.syn = offer_of(with_syn->server, local.address);
  setup.iss = with_syn->server.iss + static_cast<uint32_t>(index) * 0x01000000U;
  return setup;
}

// Behind the flags (MQTT section 3.2.2).
uint8_t connack_code(const MqttPacket& packet) {
  return packet.body.size() < 2 ? 0 : packet.body[1];
}

// Where a stream stops being as it should; counts what arrived.
void compare(Direction& direction, uint64_t offset, size_t right, size_t size) {
  direction.arrived += size;
  if (right < size && !direction.difference) direction.difference = offset + right;
}

std::string describe(const proxy_protocol::Header& header) {
  const std::string version = header.version == 1 ? "v1 " : "v2 ";
  if (header.local) return version + "local";
  return version + wire::to_string(header.source) + " > " + wire::to_string(header.destination);
}

// False as soon as the bytes cannot become a PROXY header.
bool may_be_header(base::Bytes bytes) {
  constexpr std::string_view kV1 = "PROXY ";
  constexpr std::string_view kV2 = "\r\n\r\n";
  const std::string_view text = base::as_text(bytes);
  return text.substr(0, kV1.size()) == kV1.substr(0, text.size()) ||
         text.substr(0, kV2.size()) == kV2.substr(0, text.size());
}

}  // namespace

ClientConnection::ClientConnection(Session& session, size_t index, base::Instant now)
    : session_(session),
      index_(index),
      planned_(session.plan_[index]),
      recording_(session.capture_.recordings[planned_.recording]),
      began_(now),
      rewrite_(make_rewrite(recording_, planned_.client)),
      script_(recording_, true, *rewrite_),
      player_(client_setup(planned_, recording_, session.options_, session.setup_.mtu), *this) {
  client_id_ = identify(script_.first_packet()).client_id;
  Row& row = session.rows_[index];
  const bool others_serve = !session.setup_.plays_brokers;
  if (!others_serve) row.to_broker.expected = script_.stream_size();
  const bool captured = session.options_.brokers == BrokerTalk::capture;
  if ((captured || others_serve) && session.options_.compare_server_bytes) {
    row.to_client.expected = script_.peer_size();
  }
  player_.set_script(script_, captured ? Follow::bytes : Follow::replies,
                     &session.replies_[planned_.recording], now);
}

void ClientConnection::transmit(Player& from, const wire::Segment& segment) {
  wire::Segment s = segment;
  const wire::IpAddress hop = session_.setup_.gateway.value_or(from.remote().address);
  session_.transmit(session_.setup_.client_port,
                    {session_.setup_.client_mac, session_.next_hops_.at(hop).value()}, s);
}

void ClientConnection::on_bytes(Player& to, base::Bytes bytes, base::Instant now) {
  Row& row = session_.rows_[index_];
  const bool others_serve = !session_.setup_.plays_brokers;
  if (!row.time_to_splice && (has_broker || others_serve)) row.time_to_splice = now - began_;
  // Only the balancer can have said this.
  if (!has_broker && !others_serve) row.told_unavailable = bytes.size() >= 4 && bytes[0] == 0x20;
  Direction& direction = row.to_client;
  if (others_serve || session_.options_.brokers == BrokerTalk::capture) {
    const auto offset = static_cast<uint32_t>(direction.arrived);
    const base::Bytes all = recording_.server.stream;
    const base::Bytes rest = all.subspan(std::min<size_t>(offset, all.size()));
    const size_t right = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), rest.begin(), rest.end()).first - bytes.begin());
    if (session_.options_.compare_server_bytes) {
      compare(direction, offset, right, bytes.size());
    } else {
      direction.arrived += bytes.size();
    }
  } else {
    const size_t right = static_cast<size_t>(
        std::mismatch(bytes.begin(), bytes.end(), expected_.begin(), expected_.end()).first -
        bytes.begin());
    compare(direction, direction.arrived, right, bytes.size());
    const size_t known = std::min(bytes.size(), expected_.size());
    expected_.erase(expected_.begin(), expected_.begin() + static_cast<ptrdiff_t>(known));
  }
  replies_.feed(bytes);
  while (const auto packet = replies_.next()) {
    if (is_reply(packet->type)) to.count_reply(now);
    if (packet->type == PacketType::connack) take_connack(connack_code(*packet));
  }
}

void ClientConnection::take_connack(uint8_t code) {
  if (code == 0 || !session_.setup_.brokers.empty()) return;
  MqttReader captured;
  captured.feed(recording_.server.stream);
  const auto first = captured.next();
  if (first && first->type == PacketType::connack && connack_code(*first) == 0) {
    session_.rows_[index_].refused_by_connack = code;
  }
}

void ClientConnection::expect(base::Bytes bytes) {
  expected_.insert(expected_.end(), bytes.begin(), bytes.end());
  Direction& direction = session_.rows_[index_].to_client;
  direction.expected = direction.expected.value_or(0) + bytes.size();
}

void ClientConnection::forget_expected() {
  expected_.clear();
  session_.rows_[index_].to_client.expected = 0;
}

void ClientConnection::report(Row& row) const {
  row.played = player_.played();
  row.split = player_.split();
  row.repeated = player_.repeated();
  row.end = player_.end();
  row.waits_for = player_.waits_for();
}

BrokerConnection::BrokerConnection(Session& session, size_t index, size_t broker,
                                   config::PortId port, const wire::LinkPair& link,
                                   const wire::Endpoint& remote)
    : session_(session),
      broker_(broker),
      port_(port),
      link_(link),
      conduct_(Conduct::serve),
      player_(broker_setup(session.setup_.brokers[broker].endpoint, remote, session.capture_,
                           session.options_, session.setup_.mtu, index),
              *this) {
  const auto named = session.options_.conducts.find(session.setup_.brokers[broker].name);
  if (named != session.options_.conducts.end()) conduct_ = named->second;
}

void BrokerConnection::transmit(Player& /*from*/, const wire::Segment& segment) {
  session_.transmit(port_, link_, segment);
}

void BrokerConnection::on_established(Player& player, base::Instant now) {
  if (conduct_ == Conduct::reset) player.abort(now);
}

void BrokerConnection::on_bytes(Player& /*to*/, base::Bytes bytes, base::Instant now) {
  if (identified_) {
    take(bytes, now);
    return;
  }
  head_.insert(head_.end(), bytes.begin(), bytes.end());
  if (!identify_client(now)) return;
  identified_ = true;
  const std::vector<uint8_t> head = std::move(head_);
  take(base::Bytes(head).subspan(header_size_), now);
}

void BrokerConnection::on_peer_fin(Player& player, base::Instant now) {
  // A captured server closes when its script says so.
  if (!server_script_) player.close(now);
}

bool BrokerConnection::identify_client(base::Instant now) {
  if (header_size_ == 0 && may_be_header(head_)) {
    const auto header = proxy_protocol::decode(head_);
    if (!header) return head_.size() > kMaxHead;
    header_size_ = header->size;
    header_text_ = describe(*header);
    header_source_ = header->source;
    header_destination_ = header->destination;
  }
  ClientConnection* client = nullptr;
  if (header_source_) client = session_.find_client(*header_source_);
  if (client == nullptr) {
    const base::Bytes rest = base::Bytes(head_).subspan(header_size_);
    const Identity identity = identify(rest);
    if (!identity.known) return rest.size() > kMaxHead;
    client = session_.find_client_id(identity.client_id);
  }
  if (client != nullptr) adopt(*client, now);
  return true;
}

void BrokerConnection::adopt(ClientConnection& client, base::Instant now) {
  client_ = client.index();
  const Recording& recording = client.recording();
  rewrite_ = client.rewrite();
  client_script_.emplace(recording, true, *rewrite_);
  Row& row = session_.rows_[*client_];
  row.backend = session_.setup_.brokers[broker_].name;
  row.proxy_header = header_text_;
  row.proxy_header_wrong = header_source_ && (*header_source_ != client.player().local() ||
                                              *header_destination_ != client.player().remote());
  row.to_broker = {client_script_->stream_size(), 0, std::nullopt};
  client.has_broker = true;
  player_.set_prefix(static_cast<uint32_t>(header_size_));
  if (session_.options_.brokers == BrokerTalk::capture) {
    server_script_.emplace(recording, false, *rewrite_);
    player_.set_script(*server_script_, Follow::bytes, nullptr, now);
  } else {
    client.forget_expected();
  }
}

void BrokerConnection::take(base::Bytes bytes, base::Instant now) {
  if (client_) {
    const size_t right = client_script_->match(arrived_, bytes);
    compare(session_.rows_[*client_].to_broker, arrived_, right, bytes.size());
  }
  arrived_ += static_cast<uint32_t>(bytes.size());
  if (!server_script_ && conduct_ != Conduct::mute) answer_requests(bytes, now);
}

void BrokerConnection::answer_requests(base::Bytes bytes, base::Instant now) {
  requests_.feed(bytes);
  std::vector<uint8_t> answers;
  bool leaves = false;
  while (const auto packet = requests_.next()) {
    if (packet->type == PacketType::connect && packet->body.size() > 8) {
      // The level follows the name, which is four or six bytes long.
      const size_t level = packet->body[1] == 6 ? 8 : 6;
      if (packet->body[level] == 5) version_ = mqtt::Version::v5_0;
    }
    const std::vector<uint8_t> reply = answer(*packet, version_);
    answers.insert(answers.end(), reply.begin(), reply.end());
    leaves = leaves || packet->type == PacketType::disconnect;
  }
  if (client_ && session_.clients_[*client_] != nullptr && !answers.empty()) {
    session_.clients_[*client_]->expect(answers);
  }
  if (!answers.empty()) player_.say(answers, now);
  if (leaves) player_.close(now);
}

}  // namespace mqlb::replay
