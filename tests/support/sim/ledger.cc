#include "tests/support/sim/ledger.hh"

namespace mqlb::sim {
namespace {

using Map = std::unordered_map<std::string, std::shared_ptr<Conversation>>;

std::shared_ptr<Conversation> lookup(const Map& map, const std::string& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : it->second;
}

}  // namespace

void Conversation::attach(TcpEndpoint& broker, const std::string& name, uint64_t header) {
  broker_outcome = BrokerOutcome{.broker = name, .attachments = broker_outcome.attachments + 1};
  meet(broker, header);
  client_sees->stream = broker.stream();
  client_sees->stream_begins = 0;
}

void Conversation::meet(TcpEndpoint& broker, uint64_t header) {
  part();
  client_sees->stream.reset();
  client_sees->received = broker.received();
  client_sees->received_begins = header;
  auto broker_sees = std::make_shared<PeerTruth>();
  broker_sees->stream = client_stream;
  broker_sees->stream_begins = header;
  broker_sees->received = client_received;
  broker.checks().set_truth(std::move(broker_sees));
}

void Conversation::part() {
  if (client_sees->received) client_sees->received_before = std::move(client_sees->received);
  client_sees->received = nullptr;
}

void Conversation::release_if_over() {
  if (!client_outcome.over || (broker_outcome.attachments > 0 && !broker_outcome.over)) return;
  if (client_stream) client_wrote = client_stream->size();
  if (client_sees->stream) broker_wrote = client_sees->stream->size();
  client_stream.reset();
  client_received.reset();
  client_sees = std::make_shared<PeerTruth>();
}

bool Conversation::complete() const {
  return client_outcome.over && broker_outcome.over &&
         client_outcome.reason == CloseReason::normal &&
         broker_outcome.reason == CloseReason::normal && client_outcome.received == broker_wrote &&
         broker_outcome.received == client_wrote;
}

std::shared_ptr<Conversation> Ledger::open(const wire::Endpoint& client,
                                           const wire::Endpoint& listener,
                                           const std::string& client_id) {
  auto c = std::make_shared<Conversation>();
  c->client = client;
  c->listener = listener;
  c->client_id = client_id;
  all_.push_back(c);
  by_client_[to_string(client)] = c;
  by_id_[client_id] = c;
  return c;
}

std::shared_ptr<Conversation> Ledger::find(const wire::Endpoint& client) const {
  return lookup(by_client_, to_string(client));
}

std::shared_ptr<Conversation> Ledger::find_id(const std::string& client_id) const {
  return lookup(by_id_, client_id);
}

}  // namespace mqlb::sim
