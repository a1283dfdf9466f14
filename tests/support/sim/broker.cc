#include "tests/support/sim/broker.hh"

#include "tests/support/sim/broker_session.hh"

namespace mqlb::sim {

Broker::Broker(Host& host, Ledger& ledger, BrokerConfig config)
    : ledger_(ledger), config_(std::move(config)), random_(host.random().fork()) {
  host.listen(config_.address, [this](const Segment& syn) {
    ++counters_.syns;
    const BrokerPlan plan = config_.plan ? config_.plan(syn) : BrokerPlan{};
    SynVerdict verdict;
    verdict.action = plan.on_syn;
    verdict.delay = plan.syn_delay;
    verdict.options = plan.tcp;
    verdict.app = std::make_unique<BrokerSession>(*this, plan);
    return verdict;
  });
}

void BrokerSession::complain(TcpEndpoint& tcp, Fault kind, Instant now, const std::string& text) {
  if (complained_) return;  // one text a connection tells enough
  complained_ = true;
  tcp.checks().report(kind, now, broker_.config().name + ": " + text);
}

void BrokerSession::on_established(TcpEndpoint& tcp, Instant now) {
  ++broker_.counters().connections;
  set_alarm(now + plan_.idle_limit);
  if (plan_.conduct == BrokerConduct::reset_on_accept) tcp.abort(now);
  if (plan_.conduct == BrokerConduct::end_on_accept) tcp.close(now);
}

void BrokerSession::on_segment(TcpEndpoint& tcp, uint64_t offset, base::Bytes bytes, Instant now) {
  if (broker_.config().proxy == ProxyExpectation::none) {
    if (!conversation_) attach(tcp, broker_.ledger().find(tcp.remote()), now);
    return;
  }
  if (offset == 0) {
    take_header(tcp, bytes, now);
  } else if (header_done_ && offset < header_.size()) {
    complain(tcp, Fault::proxy_header, now, "segment begins inside the PROXY header");
  }
}

// Every segment that begins the stream must hold the whole header, and always the same.
void BrokerSession::take_header(TcpEndpoint& tcp, base::Bytes segment, Instant now) {
  if (header_done_) {
    const bool same = segment.size() >= header_.size() &&
                      std::equal(header_.begin(), header_.end(), segment.begin());
    if (!same) complain(tcp, Fault::proxy_header, now, "PROXY header repeated differently");
    return;
  }
  const ProxyHeader header = parse_proxy_header(segment);
  const std::string wrong = judge_header(header);
  if (!wrong.empty()) {
    complain(tcp, Fault::proxy_header, now, wrong);
    return;
  }
  ++broker_.counters().proxy_headers;
  header_done_ = true;
  header_.assign(segment.begin(), segment.begin() + static_cast<ptrdiff_t>(header.size));
  header_unread_ = header.size;
  attach(tcp, broker_.ledger().find(header.source), now);
}

// Returns what is wrong with it, or nothing.
std::string BrokerSession::judge_header(const ProxyHeader& header) {
  const BrokerConfig& config = broker_.config();
  if (header.status == ProxyHeader::Status::bad) return "PROXY header: " + header.why;
  if (header.status == ProxyHeader::Status::cut) return "PROXY header in pieces";
  const unsigned version = config.proxy == ProxyExpectation::v1 ? 1 : 2;
  if (header.version != version) return "PROXY header of version " + std::to_string(header.version);
  if (config.proxy_crc32c && !header.has_crc32c) return "PROXY header without CRC32C";
  if (config.proxy_unique_id && header.unique_id.empty()) return "PROXY header without UNIQUE_ID";
  const auto conversation = broker_.ledger().find(header.source);
  if (!conversation) return "PROXY header names nobody: " + to_string(header.source);
  if (conversation->listener != header.destination) {
    return "PROXY header names listener " + to_string(header.destination);
  }
  return {};
}

void BrokerSession::attach(TcpEndpoint& tcp, std::shared_ptr<Conversation> conversation,
                           Instant now) {
  if (!conversation) return;
  if (says_nothing()) {
    conversation->meet(tcp, header_.size());
    met_ = std::move(conversation);
    // One that ends at once is believed nothing.
    if (plan_.conduct != BrokerConduct::mute) met_->part();
    return;
  }
  conversation_ = std::move(conversation);
  if (conversation_->client_outcome.received > 0) {
    complain(tcp, Fault::data, now, "takes a connection that another broker has answered");
  }
  conversation_->attach(tcp, broker_.config().name, header_.size());
}

void BrokerSession::on_bytes(TcpEndpoint& tcp, base::Bytes bytes, Instant now) {
  set_alarm(now + plan_.idle_limit);
  if (says_nothing()) return;
  if (broker_.config().proxy != ProxyExpectation::none && !header_done_) {
    tcp.abort(now);
    return;
  }
  const size_t skip = std::min(header_unread_, bytes.size());
  header_unread_ -= skip;
  bytes = bytes.subspan(skip);
  read_ += bytes.size();
  if (conversation_) conversation_->broker_outcome.received = read_;
  if (!conversation_) early_.insert(early_.end(), bytes.begin(), bytes.end());
  packets_.feed(bytes);
  while (tcp.phase() == Phase::open) {
    const auto packet = packets_.next();
    if (!packet) break;
    take_packet(tcp, *packet, now);
  }
  if (packets_.broken()) {
    complain(tcp, Fault::mqtt, now, "packet length");
    tcp.abort(now);
  }
}

void BrokerSession::take_packet(TcpEndpoint& tcp, const Packet& packet, Instant now) {
  if ((level_ == 0) != (packet.type == kConnect)) {
    complain(tcp, Fault::mqtt, now, "packet type " + std::to_string(packet.type) + " out of order");
    tcp.abort(now);
    return;
  }
  const auto id = [&] {
    return packet.body.size() < 2 ? uint16_t{0} : base::load_be16(packet.body.data());
  };
  switch (packet.type) {
    case kConnect:
      take_connect(tcp, packet, now);
      break;
    case kSubscribe:
      answer(tcp, encode_suback(level_, id()), now);
      break;
    case kPublish:
      take_publish(tcp, packet, now);
      break;
    case kPubrel:
      answer(tcp, encode_ack(kPubcomp, id()), now);
      break;
    case kPingreq:
      answer(tcp, encode_empty(kPingresp), now);
      break;
    case kDisconnect:
      tcp.close(now);
      break;
    default:
      break;
  }
}

void BrokerSession::take_connect(TcpEndpoint& tcp, const Packet& packet, Instant now) {
  const auto fields = parse_connect(packet);
  if (!fields) {
    complain(tcp, Fault::mqtt, now, "CONNECT");
    tcp.abort(now);
    return;
  }
  ++broker_.counters().connects;
  level_ = fields->level;
  if (!conversation_) {  // a device hides the client's address
    attach(tcp, broker_.ledger().find_id(fields->client_id), now);
    if (conversation_) conversation_->broker_outcome.received = read_;
    tcp.checks().check_data(0, early_, now);
  }
  if (!conversation_ || conversation_->client_id != fields->client_id) {
    complain(tcp, Fault::mqtt, now, "CONNECT of an unknown client");
    return;
  }
  conversation_->broker_outcome.saw_connect = true;
  answer(tcp, encode_connack(level_, 0), now);
  send_bulk(tcp, now);
  if (plan_.conduct == BrokerConduct::end_after_connack) tcp.close(now);
  if (plan_.conduct == BrokerConduct::reset_after_connack) tcp.abort(now);
}

void BrokerSession::take_publish(TcpEndpoint& tcp, const Packet& packet, Instant now) {
  ++broker_.counters().publishes;
  const auto fields = parse_publish(level_, packet);
  if (!fields) {
    complain(tcp, Fault::mqtt, now, "PUBLISH");
    return;
  }
  if (fields->qos == 1) answer(tcp, encode_ack(kPuback, fields->id), now);
  if (fields->qos == 2) answer(tcp, encode_ack(kPubrec, fields->id), now);
}

void BrokerSession::send_bulk(TcpEndpoint& tcp, Instant now) {
  if (plan_.conduct == BrokerConduct::mute) return;
  for (size_t left = plan_.bulk; left > 0;) {
    Buffer payload(std::min(left, plan_.bulk_packet));
    for (auto& b : payload) b = static_cast<uint8_t>(broker_.random().u32());
    left -= payload.size();
    tcp.write(encode_publish(level_, "bulk", 0, 0, payload), now);
  }
}

void BrokerSession::answer(TcpEndpoint& tcp, const Buffer& packet, Instant now) {
  if (plan_.conduct == BrokerConduct::mute) return;
  // Under Nagle's rule small segments of their own would take a round trip each.
  const bool joined = tcp.options().nagle;
  tcp.write(packet, now, joined ? TcpEndpoint::Boundary::no : TcpEndpoint::Boundary::yes);
}

void BrokerSession::on_end(TcpEndpoint& tcp, Instant now) {
  if (conversation_) conversation_->broker_outcome.saw_end = true;
  tcp.close(now);
}

void BrokerSession::on_alarm(TcpEndpoint& tcp, Instant now) {
  if (tcp.phase() == Phase::time_wait) return;
  if (!tcp.all_acknowledged()) {  // TCP's own timeout decides while something is on its way
    set_alarm(now + plan_.idle_limit);
    return;
  }
  ++broker_.counters().idle_resets;
  tcp.abort(now);
}

void BrokerSession::on_closed(TcpEndpoint& tcp, CloseReason reason, Instant) {
  if (met_ && met_->client_sees->received == tcp.received()) met_->part();
  if (!conversation_) return;
  // A later broker may have the conversation now.
  const bool mine = conversation_->client_sees->stream == tcp.stream();
  if (!mine) return;
  BrokerOutcome& outcome = conversation_->broker_outcome;
  outcome.over = true;
  outcome.reason = reason;
  outcome.worst_ack_regress = tcp.checks().worst_ack_regress();
  conversation_->release_if_over();
}

}  // namespace mqlb::sim
