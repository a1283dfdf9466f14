#include "lib/control/dialogue.hh"

#include <algorithm>
#include <cstdio>

namespace mqlb::control {
namespace {

using base::Bytes;
using std::string_view;

// More than any CONNACK or status line has a reason to be.
constexpr size_t kMostBytes = 4096;

Verdict passed(std::string why) { return {true, std::move(why)}; }
Verdict failed(std::string why) { return {false, std::move(why)}; }
Verdict refused(std::string why) { return {false, std::move(why), true, true}; }
Verdict malformed(std::string why) { return {false, std::move(why), false}; }

std::string hex_byte(uint8_t b) {
  char text[8];
  std::snprintf(text, sizeof text, "0x%02x", b);
  return text;
}

// MQTT 3.1.1, table 3.1.
string_view return_code_text(uint8_t code) {
  constexpr string_view texts[] = {
      "accepted",           "unacceptable protocol version", "client ID rejected",
      "server unavailable", "bad user name or password",     "not authorized"};
  return code < std::size(texts) ? texts[code] : string_view{};
}

// MQTT 5.0, table 3-1; empty: not one of a CONNACK.
string_view reason_text(uint8_t reason) {
  constexpr struct {
    uint8_t reason;
    string_view text;
  } texts[] = {
      {0x00, "success"},
      {0x80, "unspecified error"},
      {0x81, "malformed packet"},
      {0x82, "protocol error"},
      {0x83, "implementation specific error"},
      {0x84, "unsupported protocol version"},
      {0x85, "client ID not valid"},
      {0x86, "bad user name or password"},
      {0x87, "not authorized"},
      {0x88, "server unavailable"},
      {0x89, "server busy"},
      {0x8a, "banned"},
      {0x8c, "bad authentication method"},
      {0x90, "topic name invalid"},
      {0x95, "packet too large"},
      {0x97, "quota exceeded"},
      {0x99, "payload format invalid"},
      {0x9a, "retain not supported"},
      {0x9b, "QoS not supported"},
      {0x9c, "use another server"},
      {0x9d, "server moved"},
      {0x9f, "connection rate exceeded"},
  };
  for (const auto& row : texts) {
    if (row.reason == reason) return row.text;
  }
  return {};
}

// OASIS MQTT section 1.5.5 (5.0), 2.2.3 (3.1.1).
struct VariableByte {
  enum class Kind : uint8_t { whole, cut, bad } kind = Kind::cut;
  uint32_t value = 0;
  size_t size = 0;
};

VariableByte read_variable(Bytes bytes) {
  VariableByte v;
  for (; v.size < 4 && v.size < bytes.size(); ++v.size) {
    v.value |= uint32_t{bytes[v.size] & 0x7fU} << (7 * v.size);
    if ((bytes[v.size] & 0x80) != 0) continue;
    v.kind = VariableByte::Kind::whole;
    ++v.size;
    return v;
  }
  if (v.size == 4) v.kind = VariableByte::Kind::bad;
  return v;
}

class MqttDialogue final : public Dialogue {
 public:
  MqttDialogue(const config::Check& check, const std::string& client_id)
      : v5_(check.mqtt_version == config::CheckMqtt::v5),
        client_id_(client_id),
        user_(check.user),
        password_(check.password) {}

  // A clean session with keep alive, no will: nothing stays of it at the broker.
  [[nodiscard]] std::vector<uint8_t> request() const override {
    constexpr uint16_t kKeepAlive = 60;  // seconds; a check is over long before
    constexpr uint8_t kClean = 0x02;
    constexpr uint8_t kPassword = 0x40;
    constexpr uint8_t kUser = 0x80;
    std::vector<uint8_t> body;
    put(body, "MQTT");
    body.push_back(v5_ ? 5 : 4);
    body.push_back(static_cast<uint8_t>(kClean | (user_.empty() ? 0 : kUser) |
                                        (password_.empty() ? 0 : kPassword)));
    body.push_back(0);
    body.push_back(kKeepAlive);
    if (v5_) body.push_back(0);  // no properties: the session ends with the connection
    put(body, client_id_);
    if (!user_.empty()) put(body, user_);
    if (!password_.empty()) put(body, password_);
    std::vector<uint8_t> packet{0x10};
    for (size_t left = body.size();;) {
      const auto low = static_cast<uint8_t>(left & 0x7f);
      left >>= 7;
      packet.push_back(left > 0 ? static_cast<uint8_t>(low | 0x80) : low);
      if (left == 0) break;
    }
    packet.insert(packet.end(), body.begin(), body.end());
    return packet;
  }

  [[nodiscard]] std::vector<uint8_t> farewell() const override { return {0xe0, 0}; }

 protected:
  [[nodiscard]] std::optional<Verdict> judge(Bytes bytes) const override {
    constexpr uint8_t kConnack = 0x20;
    if (bytes.empty()) return std::nullopt;
    if (bytes[0] != kConnack) {
      return malformed("answered with " + hex_byte(bytes[0]) + ", which begins no CONNACK");
    }
    const VariableByte length = read_variable(bytes.subspan(1));
    if (length.kind == VariableByte::Kind::cut) return std::nullopt;
    // A broker that knows MQTT 3.1.1 alone says so in its own words (its section 3.1.2.2).
    if (v5_ && length.kind == VariableByte::Kind::whole && length.value == 2) {
      if (bytes.size() < 4) return std::nullopt;
      return refused("CONNACK of MQTT 3: the broker does not speak MQTT 5");
    }
    if (length.kind == VariableByte::Kind::bad || length.value < (v5_ ? 3U : 2U) ||
        (!v5_ && length.value > 2) || length.value > kMostBytes - 5) {
      return malformed("malformed CONNACK: its length is impossible");
    }
    const Bytes body = bytes.subspan(1 + length.size);
    if (body.size() < length.value) return std::nullopt;
    return judge_body(body.first(length.value));
  }
  [[nodiscard]] string_view awaited() const override { return "CONNACK"; }

 private:
  static void put(std::vector<uint8_t>& out, string_view text) {
    out.push_back(static_cast<uint8_t>(text.size() >> 8));
    out.push_back(static_cast<uint8_t>(text.size()));
    out.insert(out.end(), text.begin(), text.end());
  }

  // Acknowledge flags, code and, in MQTT 5, properties, which say nothing of health.
  [[nodiscard]] Verdict judge_body(Bytes body) const {
    if ((body[0] & 0xfe) != 0) return malformed("malformed CONNACK: reserved flags are set");
    const uint8_t code = body[1];
    const string_view text = v5_ ? reason_text(code) : return_code_text(code);
    if (text.empty()) return malformed("malformed CONNACK: unknown code " + hex_byte(code));
    if (v5_) {
      const VariableByte properties = read_variable(body.subspan(2));
      if (properties.kind != VariableByte::Kind::whole ||
          2 + properties.size + properties.value != body.size()) {
        return malformed("malformed CONNACK: its properties do not fit");
      }
    }
    const std::string shown = v5_ ? hex_byte(code) : std::to_string(code);
    if (code == 0) return passed("CONNACK " + shown);
    return refused("CONNACK " + shown + ": " + std::string(text));
  }

  bool v5_;
  std::string client_id_, user_, password_;
};

class HttpDialogue final : public Dialogue {
 public:
  HttpDialogue(const config::Check& check, const wire::Endpoint& remote)
      : path_(check.http_path), expected_(check.http_status), host_(wire::to_string(remote)) {}

  [[nodiscard]] std::vector<uint8_t> request() const override {
    const std::string text = "GET " + path_ + " HTTP/1.1\r\nHost: " + host_ +
                             "\r\nUser-Agent: mqlb-check\r\nAccept: */*\r\n"
                             "Connection: close\r\n\r\n";
    return {text.begin(), text.end()};
  }
  [[nodiscard]] bool peer_closes_first() const override { return true; }

 protected:
  // RFC 9112 section 4. What follows the status line says nothing of health.
  [[nodiscard]] std::optional<Verdict> judge(Bytes bytes) const override {
    constexpr string_view kBegin = "HTTP/1.";
    constexpr size_t kStatusAt = 9;
    const string_view text = base::as_text(bytes);
    const string_view shared = kBegin.substr(0, text.size());
    if (!text.starts_with(shared)) return malformed("answered with something else than HTTP/1");
    const size_t end = text.find('\n');
    if (end == string_view::npos) return std::nullopt;
    string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (line.size() < kStatusAt + 3 || !is_digit(line[7]) || line[8] != ' ' || !is_digit(line[9]) ||
        !is_digit(line[10]) || !is_digit(line[11]) ||
        (line.size() > kStatusAt + 3 && line[12] != ' ')) {
      return malformed("malformed HTTP status line");
    }
    const std::string status(line.substr(kStatusAt, 3));
    // RFC 9110 section 15.2: another answer follows.
    if (status[0] == '1') return judge_behind_headers(bytes);
    if (status == std::to_string(expected_)) return passed("HTTP status " + status);
    return refused("HTTP status " + status + ", not " + std::to_string(expected_));
  }
  [[nodiscard]] string_view awaited() const override { return "HTTP status"; }

 private:
  [[nodiscard]] std::optional<Verdict> judge_behind_headers(Bytes bytes) const {
    constexpr string_view kEnd = "\r\n\r\n";
    const size_t end = base::as_text(bytes).find(kEnd);
    if (end == string_view::npos) return std::nullopt;
    return judge(bytes.subspan(end + kEnd.size()));
  }

  std::string path_;
  uint16_t expected_;
  std::string host_;
};

}  // namespace

std::optional<Verdict> Dialogue::read(Bytes bytes) {
  const Bytes fresh = bytes.first(std::min(bytes.size(), kMostBytes - received_.size()));
  received_.insert(received_.end(), fresh.begin(), fresh.end());
  auto verdict = judge(received_);
  if (!verdict && received_.size() == kMostBytes) {
    return malformed("no " + std::string(awaited()) + " in the first " +
                     std::to_string(received_.size()) + " bytes");
  }
  return verdict;
}

Verdict Dialogue::unanswered(string_view how) const {
  return failed(std::string(how) + (received_.empty() ? " without " : " within ") +
                std::string(awaited()));
}

std::unique_ptr<Dialogue> make_dialogue(const config::Check& check, const std::string& client_id,
                                        const wire::Endpoint& remote) {
  switch (check.kind) {
    case config::CheckKind::mqtt:
      return std::make_unique<MqttDialogue>(check, client_id);
    case config::CheckKind::http:
      return std::make_unique<HttpDialogue>(check, remote);
    case config::CheckKind::none:
    case config::CheckKind::tcp:
      break;
  }
  return nullptr;
}

}  // namespace mqlb::control
