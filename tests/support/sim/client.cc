#include "tests/support/sim/client.hh"

#include <algorithm>

#include "tests/support/sim/world.hh"

namespace mqlb::sim {
namespace {

class ClientSession final : public StreamApp {
 public:
  ClientSession(const ClientPlan& plan, std::shared_ptr<Conversation> conversation, Random random,
                Instant now)
      : StreamApp(plan.pace),
        plan_(plan),
        conversation_(std::move(conversation)),
        random_(random),
        give_up_at_(now + plan.patience) {
    set_alarm(give_up_at_);
  }

  void on_established(TcpEndpoint& tcp, Instant now) override {
    outcome().established = true;
    connect_ = encode_connect(plan_.connect);
    send_pieces(tcp, now);
  }
  void on_end(TcpEndpoint& tcp, Instant now) override {
    outcome().saw_end = true;
    tcp.close(now);
  }
  void on_closed(TcpEndpoint& tcp, CloseReason reason, Instant now) override {
    ClientOutcome& o = outcome();
    o.over = true;
    o.reason = reason;
    o.closed_at = now;
    o.worst_ack_regress = tcp.checks().worst_ack_regress();
    conversation_->release_if_over();
  }

 private:
  void on_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) override;
  void on_alarm(TcpEndpoint& tcp, Instant now) override;
  void send_pieces(TcpEndpoint& tcp, Instant now);
  void send_rest(TcpEndpoint& tcp, Instant now);
  void send_publishes(TcpEndpoint& tcp, Instant now);
  void take_device_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now);
  void take_packet(TcpEndpoint& tcp, const Packet& packet, Instant now);
  void finish_if_done(TcpEndpoint& tcp, Instant now);
  void finish(TcpEndpoint& tcp, Instant now);
  ClientOutcome& outcome() { return conversation_->client_outcome; }

  ClientPlan plan_;
  std::shared_ptr<Conversation> conversation_;
  Random random_;
  Instant give_up_at_;
  Instant next_piece_at_ = kNever;
  Buffer connect_;
  size_t connect_sent_ = 0;
  size_t pieces_sent_ = 0;
  bool rest_sent_ = false;
  bool finished_ = false;
  PacketReader packets_;
  size_t replies_due_ = 1;  // CONNACK
  uint64_t bulk_ = 0;
};

void ClientSession::send_pieces(TcpEndpoint& tcp, Instant now) {
  next_piece_at_ = kNever;
  while (connect_sent_ < connect_.size()) {
    const bool cut = pieces_sent_ < plan_.connect_pieces.size();
    const size_t left = connect_.size() - connect_sent_;
    const size_t n = cut ? std::clamp<size_t>(plan_.connect_pieces[pieces_sent_], 1, left) : left;
    tcp.write(base::Bytes(connect_).subspan(connect_sent_, n), now,
              cut ? TcpEndpoint::Boundary::yes : TcpEndpoint::Boundary::no);
    connect_sent_ += n;
    ++pieces_sent_;
    if (plan_.piece_gap > Duration{0} && connect_sent_ < connect_.size()) {
      next_piece_at_ = now + plan_.piece_gap;
      set_alarm(std::min(next_piece_at_, give_up_at_));
      return;
    }
  }
  if (plan_.pipeline) send_rest(tcp, now);
}

void ClientSession::on_alarm(TcpEndpoint& tcp, Instant now) {
  if (next_piece_at_ <= now) {
    set_alarm(give_up_at_);
    send_pieces(tcp, now);
  } else if (tcp.phase() != Phase::time_wait) {
    outcome().gave_up = plan_.ending != Ending::reset_early || !rest_sent_;
    tcp.abort(now);
  }
}

void ClientSession::send_rest(TcpEndpoint& tcp, Instant now) {
  if (rest_sent_) return;
  rest_sent_ = true;
  if (plan_.subscribe) {
    ++replies_due_;
    tcp.write(encode_subscribe(plan_.connect.level, 1, "a/b"), now);
  }
  send_publishes(tcp, now);
  for (unsigned i = 0; i < plan_.pings; ++i) {
    ++replies_due_;
    tcp.write(encode_empty(kPingreq), now, TcpEndpoint::Boundary::yes);
  }
  if (plan_.ending == Ending::half_close) tcp.close(now);
  if (plan_.ending == Ending::reset_early) {
    give_up_at_ = now;  // as soon as what was written is out
    set_alarm(now);
  }
}

void ClientSession::send_publishes(TcpEndpoint& tcp, Instant now) {
  uint16_t id = 1;
  for (size_t left = plan_.publish_bytes; left > 0;) {
    Buffer payload(std::min(left, plan_.publish_packet));
    for (auto& b : payload) b = static_cast<uint8_t>(random_.u32());
    left -= payload.size();
    tcp.write(encode_publish(plan_.connect.level, "c/d", plan_.qos, ++id, payload), now);
    if (plan_.qos > 0) ++replies_due_;
  }
}

void ClientSession::on_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) {
  outcome().received += bytes.size();
  if (!conversation_->attached()) {
    take_device_bytes(tcp, bytes, now);
    return;
  }
  packets_.feed(bytes);
  while (tcp.phase() == Phase::open) {
    const auto packet = packets_.next();
    if (!packet) break;
    take_packet(tcp, *packet, now);
  }
  finish_if_done(tcp, now);
}

// Before a broker has the connection the device may say one thing: that none is available.
void ClientSession::take_device_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) {
  Buffer& all = outcome().device_bytes;
  all.insert(all.end(), bytes.begin(), bytes.end());
  const Buffer expected = encode_unavailable(plan_.connect.level);
  const bool good =
      all.size() <= expected.size() && std::equal(all.begin(), all.end(), expected.begin());
  if (!good) tcp.checks().report(Fault::data, now, "bytes that no broker wrote");
  if (good && all.size() == expected.size()) outcome().connack = expected[3];
}

void ClientSession::take_packet(TcpEndpoint& tcp, const Packet& packet, Instant now) {
  switch (packet.type) {
    case kConnack:
      outcome().connack = packet.body.size() < 2 ? -1 : packet.body[1];
      outcome().connack_at = now;
      --replies_due_;
      send_rest(tcp, now);
      break;
    case kSuback:
    case kPuback:
    case kPubcomp:
    case kPingresp:
      --replies_due_;
      break;
    case kPubrec: {
      const uint16_t id =
          packet.body.size() < 2 ? uint16_t{0} : base::load_be16(packet.body.data());
      tcp.write(encode_ack(kPubrel, id), now);
      break;
    }
    case kPublish: {
      const auto fields = parse_publish(plan_.connect.level, packet);
      if (fields) bulk_ += fields->payload;
      break;
    }
    default:
      tcp.checks().report(Fault::mqtt, now, "packet type " + std::to_string(packet.type));
  }
}

void ClientSession::finish_if_done(TcpEndpoint& tcp, Instant now) {
  if (finished_ || !rest_sent_ || replies_due_ > 0 || bulk_ < plan_.expect_bulk) return;
  finished_ = true;
  outcome().succeeded = true;
  finish(tcp, now);
}

void ClientSession::finish(TcpEndpoint& tcp, Instant now) {
  switch (plan_.ending) {
    case Ending::disconnect:
      tcp.write(encode_empty(kDisconnect), now);
      tcp.close(now);
      break;
    case Ending::end:
      tcp.close(now);
      break;
    case Ending::reset:
      tcp.abort(now);
      break;
    case Ending::vanish:
      tcp.vanish();
      break;
    case Ending::half_close:
    case Ending::reset_early:
    case Ending::wait:
      break;
  }
}

}  // namespace

std::shared_ptr<Conversation> open_client(Host& host, Ledger& ledger, const ClientPlan& plan) {
  auto conversation = ledger.open(plan.local, plan.listener, plan.connect.client_id);
  const Instant now = host.world().now();
  conversation->client_outcome.opened_at = now;
  auto app = std::make_unique<ClientSession>(plan, conversation, host.random().fork(), now);
  TcpEndpoint& tcp = host.connect(plan.local, plan.listener, plan.tcp, std::move(app));
  conversation->client_stream = tcp.stream();
  conversation->client_received = tcp.received();
  tcp.checks().set_truth(conversation->client_sees);
  return conversation;
}

ClientPlan random_client_plan(Random& random, const std::string& client_id) {
  ClientPlan p;
  p.tcp = random_tcp_options(random);
  p.connect.level = static_cast<Level>(random.between(3, 5));
  p.connect.client_id = client_id;
  if (random.chance(0.3)) {
    p.connect.user_name = "user";
    p.connect.password = std::string(random.chance(0.1) ? random.below(4000) : 20, 'x');
  }
  for (uint64_t n = random.chance(0.3) ? random.below(5) : 0; n > 0; --n) {
    p.connect_pieces.push_back(random.between(1, 20));
  }
  if (random.chance(0.5)) p.piece_gap = Duration{static_cast<int64_t>(random.below(50'000))};
  p.pipeline = random.chance(0.5);
  p.subscribe = random.chance(0.5);
  p.publish_bytes = random.chance(0.7) ? random.below(6000) : 0;
  p.publish_packet = random.between(100, 3000);
  p.qos = static_cast<unsigned>(random.below(3));
  p.pings = static_cast<unsigned>(random.below(3));
  constexpr Ending kEndings[] = {Ending::disconnect, Ending::end, Ending::half_close};
  p.ending = kEndings[random.below(3)];
  if (random.chance(0.1)) p.pace = {Duration{20'000}, random.between(200, 2000)};
  return p;
}

}  // namespace mqlb::sim
