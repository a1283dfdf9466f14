#include "tests/load/fleet.hh"

#include <cstdio>

namespace mqlb::load {
namespace {

constexpr uint16_t kKeepAlive = 3600;
constexpr uint32_t kShownFailures = 5;
constexpr std::chrono::seconds kPatience{10};

// FNV-1a.
uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325U;
  for (const uint8_t octet : base::as_bytes(text)) hash = (hash ^ octet) * 0x100000001b3U;
  return hash;
}

}  // namespace

std::string Fleet::client_id(uint32_t number) const {
  return options_.prefix + std::to_string(number % options_.ids);
}

void Fleet::dial() {
  const uint32_t number = dialled();
  const auto& to = options_.to[hash_of(client_id(number)) % options_.to.size()];
  auto fd = connect_from(options_.from[number % options_.from.size()], to);
  clients_.push_back(fd ? std::make_unique<Client>(number, std::move(*fd)) : nullptr);
  Client* client = clients_.back().get();
  if (client == nullptr || !poller_.watch(client->channel.fd(), Channel::kEvents, client)) {
    if (++failed_ <= kShownFailures) {
      std::fprintf(stderr, "mqtt-load: %s\n", fd ? "epoll" : fd.error().message.c_str());
    }
    clients_.back().reset();
    return;
  }
  ++opening_;
}

bool Fleet::open_all() {
  while (failed_ == 0 && opened_ < options_.connections) {
    while (opening_ < options_.window && dialled() < options_.connections) dial();
    if (!poll(kPatience)) break;
  }
  if (opened_ < options_.connections) {
    std::fprintf(stderr, "mqtt-load: %u of %u connections were opened\n", opened_,
                 options_.connections);
  }
  return opened_ == options_.connections;
}

void Fleet::close_all() {
  for (auto& client : clients_) {
    if (client && client->open) (void)client->channel.send(kDisconnect);
    client.reset();
  }
}

bool Fleet::poll(std::chrono::nanoseconds time) {
  const std::span<const epoll_event> events = poller_.wait(time);
  for (const epoll_event& event : events) {
    auto& client = *static_cast<Client*>(event.data.ptr);
    if (!handle(client, event.events)) clients_[client.number].reset();
  }
  return !events.empty();
}

void Fleet::fail(Client& client, const char* why) {
  if (!client.open) --opening_;
  if (++failed_ > kShownFailures) return;
  std::fprintf(stderr, "mqtt-load: client %u: %s\n", client.number, why);
}

bool Fleet::ask(Client& client) {
  client.asked = true;
  return client.channel.send(encode_connect(client_id(client.number), kKeepAlive));
}

// False: the client is over, well or with a failure noted.
bool Fleet::handle(Client& client, uint32_t events) {
  bool wanted = true;
  const auto take_bytes = [&](base::Bytes bytes) -> std::optional<size_t> {
    const auto used = take(client, bytes);
    wanted = used.has_value();
    return used;
  };
  if ((events & EPOLLOUT) != 0) {
    const bool alive = client.asked ? client.channel.flush() : ask(client);
    if (!alive) {
      fail(client, "cannot be connected, or cannot send");
      return false;
    }
  }
  if (client.channel.receive(events, take_bytes)) return true;
  if (wanted) fail(client, "ended by the other side");
  return false;
}

std::optional<size_t> Fleet::take(Client& client, base::Bytes bytes) {
  size_t done = 0;
  for (;;) {
    Packet packet;
    const Cut cut = cut_packet(bytes.subspan(done), kMaxPacket, packet);
    if (cut == Cut::need_more) return done;
    if (cut == Cut::malformed) {
      fail(client, "got bytes that are no MQTT");
      return std::nullopt;
    }
    if (!take_packet(client, packet)) return std::nullopt;
    done += packet.size;
  }
}

bool Fleet::take_packet(Client& client, const Packet& packet) {
  bool stays = true;
  if (client.open) {
    stays = observer_ == nullptr || observer_->received(client, packet);
  } else if (packet.type != PacketType::connack || packet.body.size() != 2 || packet.body[1] != 0) {
    fail(client, "was not accepted");
    return false;
  } else {
    client.open = true;
    --opening_;
    ++opened_;
    stays = observer_ == nullptr || observer_->opened(client);
  }
  if (!stays) (void)client.channel.send(kDisconnect);
  return stays;
}

}  // namespace mqlb::load
