#include "tests/load/phases.hh"

#include <algorithm>
#include <cstdio>

#include "tests/load/fleet.hh"
#include "tests/load/json.hh"
#include "tests/load/samples.hh"

namespace mqlb::load {
namespace {

constexpr std::string_view kTopic = "t";
constexpr std::chrono::seconds kPatience{10};

double seconds_of(SteadyClock::duration time) {
  return std::chrono::duration<double>(time).count();
}

SteadyClock::duration duration_of(double seconds) {
  return std::chrono::duration_cast<SteadyClock::duration>(std::chrono::duration<double>(seconds));
}

// Says that all is ready, and waits until told to go on.
void await_go(const char* word) {
  std::puts(word);
  std::fflush(stdout);
  int c = 0;
  do {
    c = std::getchar();
  } while (c != '\n' && c != EOF);
}

// The measured part: when it was, and the samples at both its ends.
class Interval {
 public:
  explicit Interval(const Options& options) : paths_(options.samples) {}

  void begin() {
    before_ = read_samples(paths_);
    begin_ = SteadyClock::now();
  }
  void end() {
    end_ = SteadyClock::now();
    after_ = read_samples(paths_);
  }
  [[nodiscard]] SteadyClock::time_point began() const { return begin_; }

  void report(JsonObject out) const {
    out.add("seconds", seconds_of(end_ - begin_)).raw("before", before_).raw("after", after_);
    std::puts(out.text().c_str());
  }

 private:
  const std::vector<std::string>& paths_;
  std::string before_, after_;
  SteadyClock::time_point begin_, end_;
};

class ConnectOnce final : public Fleet::Observer {
 public:
  [[nodiscard]] bool opened(Client& /*client*/) override { return false; }
};

// Sends as long as the broker confirms: each `step_` messages of QoS 0 end with a PINGREQ, whose
// answer says that they arrived.
class Publisher final : public Fleet::Observer {
 public:
  Publisher(const Options& options, Fleet& fleet)
      : fleet_(fleet),
        qos_(options.qos),
        step_(options.qos > 0 ? 1 : std::max(1U, options.credit / 2)),
        message_(encode_publish(kTopic, options.payload, options.qos)) {
    if (qos_ > 0) set_packet_id(message_, kTopic, 1);
    last_of_step_ = message_;
    if (qos_ == 0)
      last_of_step_.insert(last_of_step_.end(), std::begin(kPingreq), std::end(kPingreq));
    for (const auto& client : fleet.clients()) {
      client->credit = std::max(options.credit / step_, 1U) * step_;
      ready_.push_back(client.get());
    }
  }

  [[nodiscard]] bool received(Client& client, const Packet& packet) override {
    if (packet.type != (qos_ > 0 ? PacketType::puback : PacketType::pingresp)) {
      fleet_.fail(client, "got a packet out of turn");
      return true;
    }
    confirmed_ += step_;
    outstanding_ -= step_;
    if (client.credit == 0) ready_.push_back(&client);
    client.credit += step_;
    return true;
  }

  void run(SteadyClock::time_point end) {
    while (SteadyClock::now() < end && fleet_.failed() == 0) {
      send_round();
      fleet_.poll(ready_.empty() ? std::chrono::milliseconds(100) : std::chrono::milliseconds(0));
    }
  }
  // Until what was asked to be confirmed is.
  void drain() {
    while (outstanding_ > 0 && fleet_.failed() == 0 && fleet_.poll(kPatience)) {
    }
  }

  [[nodiscard]] uint64_t sent() const { return sent_; }
  [[nodiscard]] uint64_t confirmed() const { return confirmed_; }
  [[nodiscard]] bool drained() const { return outstanding_ == 0; }

 private:
  // One message of each client, so that one client's do not come in a bunch.
  void send_round() {
    round_.swap(ready_);
    for (Client* client : round_) {
      ++client->sent;
      const bool last = client->sent % step_ == 0;
      if (last) outstanding_ += step_;
      if (!client->channel.send(last ? last_of_step_ : message_))
        fleet_.fail(*client, "cannot send");
      ++sent_;
      if (--client->credit > 0) ready_.push_back(client);
    }
    round_.clear();
  }

  Fleet& fleet_;
  unsigned qos_;
  uint32_t step_;
  Octets message_, last_of_step_;
  std::vector<Client*> ready_, round_;
  uint64_t sent_ = 0;
  uint64_t confirmed_ = 0;
  uint64_t outstanding_ = 0;
};

// Sends at a fixed rate whatever comes back. A round trip counts from when the message was due, so
// that a stall is seen in all messages that it delays.
class Metronome final : public Fleet::Observer {
 public:
  Metronome(const Options& options, Fleet& fleet)
      : fleet_(fleet),
        gap_(duration_of(1 / options.rate)),
        message_(encode_publish(kTopic, options.payload, 1)) {
    round_trips_.reserve(static_cast<size_t>(options.seconds * options.rate) + 1);
  }

  [[nodiscard]] bool received(Client& client, const Packet& packet) override {
    if (packet.type != PacketType::puback || packet.body.size() < 2 || client.awaited.empty() ||
        base::load_be16(packet.body.data()) != client.awaited.front().id) {
      fleet_.fail(client, "got a packet out of turn");
      return true;
    }
    round_trips_.push_back(SteadyClock::now() - client.awaited.front().due);
    client.awaited.pop_front();
    return true;
  }

  void run(SteadyClock::time_point begin, SteadyClock::time_point end) {
    SteadyClock::time_point due = begin;
    while (due < end && fleet_.failed() == 0) {
      const auto now = SteadyClock::now();
      for (; due <= now && due < end; due += gap_) send(due);
      fleet_.poll(std::max(due - SteadyClock::now(), SteadyClock::duration::zero()));
    }
  }
  void drain() {
    while (round_trips_.size() < sent_ && fleet_.failed() == 0 && fleet_.poll(kPatience)) {
    }
  }

  [[nodiscard]] uint64_t sent() const { return sent_; }
  [[nodiscard]] bool drained() const { return round_trips_.size() == sent_; }
  // In microseconds.
  [[nodiscard]] double percentile(double share) {
    if (round_trips_.empty()) return 0;
    const auto last = static_cast<double>(round_trips_.size() - 1);
    const auto nth = round_trips_.begin() + static_cast<ptrdiff_t>(share * last);
    std::nth_element(round_trips_.begin(), nth, round_trips_.end());
    return seconds_of(*nth) * 1e6;
  }

 private:
  void send(SteadyClock::time_point due) {
    Client& client = *fleet_.clients()[sent_ % fleet_.clients().size()];
    const auto id = static_cast<uint16_t>(client.sent++ % 65535 + 1);
    set_packet_id(message_, kTopic, id);
    client.awaited.push_back({id, due});
    if (!client.channel.send(message_)) fleet_.fail(client, "cannot send");
    ++sent_;
  }

  Fleet& fleet_;
  SteadyClock::duration gap_;
  Octets message_;
  std::vector<SteadyClock::duration> round_trips_;
  uint64_t sent_ = 0;
};

}  // namespace

int run_connect(const Options& options) {
  Fleet fleet(options);
  ConnectOnce observer;
  fleet.observe(observer);
  Interval interval(options);
  await_go("begin");
  interval.begin();
  const bool good = fleet.open_all();
  interval.end();
  if (!good) return 1;
  interval.report(JsonObject().add("connections", uint64_t{fleet.opened()}));
  return 0;
}

int run_idle(const Options& options) {
  Fleet fleet(options);
  if (!fleet.open_all()) return 1;
  Interval interval(options);
  interval.begin();
  await_go("begin");
  interval.end();
  // What the other side closed meanwhile.
  while (fleet.poll(std::chrono::nanoseconds(0))) {
  }
  if (fleet.failed() > 0) return 1;
  fleet.close_all();
  interval.report(JsonObject().add("connections", uint64_t{fleet.opened()}));
  return 0;
}

int run_publish(const Options& options) {
  Fleet fleet(options);
  if (!fleet.open_all()) return 1;
  Publisher publisher(options, fleet);
  fleet.observe(publisher);
  Interval interval(options);
  await_go("begin");
  interval.begin();
  publisher.run(interval.began() + duration_of(options.seconds));
  const uint64_t confirmed = publisher.confirmed();
  interval.end();
  publisher.drain();
  if (fleet.failed() > 0 || !publisher.drained()) return 1;
  fleet.close_all();
  interval.report(JsonObject()
                      .add("connections", uint64_t{fleet.opened()})
                      .add("sent", publisher.sent())
                      .add("messages", confirmed));
  return 0;
}

int run_latency(const Options& options) {
  Fleet fleet(options);
  if (!fleet.open_all()) return 1;
  Metronome metronome(options, fleet);
  fleet.observe(metronome);
  Interval interval(options);
  await_go("begin");
  interval.begin();
  metronome.run(interval.began(), interval.began() + duration_of(options.seconds));
  interval.end();
  metronome.drain();
  if (fleet.failed() > 0 || !metronome.drained()) return 1;
  fleet.close_all();
  interval.report(JsonObject()
                      .add("connections", uint64_t{fleet.opened()})
                      .add("sent", metronome.sent())
                      .add("messages", metronome.sent())
                      .add("p50_us", metronome.percentile(0.5))
                      .add("p99_us", metronome.percentile(0.99))
                      .add("p999_us", metronome.percentile(0.999)));
  return 0;
}

}  // namespace mqlb::load
