#include "lib/config/check.hh"

#include "lib/config/limits.hh"
#include "lib/config/model.hh"
#include "lib/mqtt/utf8.hh"

namespace mqlb::config {
namespace {

using base::fail;
using base::Result;

bool is_visible(char c) { return c > ' ' && c < 0x7f; }

Result<void> check_texts(const Check& check, const std::string& owner) {
  for (const auto& [name, text] : {std::pair<const char*, const std::string&>{"user", check.user},
                                   {"password", check.password}}) {
    if (text.size() > kMaxCheckText) {
      return fail("check-" + std::string(name) + " of " + owner + " is longer than " +
                  std::to_string(kMaxCheckText) + " bytes");
    }
  }
  if (!mqtt::is_valid_text(base::as_bytes(check.user), mqtt::TextEnd::here)) {
    return fail("check-user of " + owner + " is not UTF-8");
  }
  // MQTT-3.1.2-22: before MQTT 5 there is no password without a user name.
  if (!check.password.empty() && check.user.empty() && check.mqtt_version != CheckMqtt::v5) {
    return fail("check-password of " + owner + " needs check-user, or MQTT 5");
  }
  if (!is_name(check.client_id)) {
    return fail("check-client-id of " + owner + " must have 1 to " + std::to_string(kMaxName) +
                " letters, digits, '.', '_' or '-'");
  }
  if (!check.http_path.starts_with('/') || check.http_path.size() > kMaxCheckText ||
      !std::all_of(check.http_path.begin(), check.http_path.end(), is_visible)) {
    return fail("check-http-path of " + owner + " is '" + check.http_path.substr(0, kMaxName) +
                "': it must begin with '/' and have at most " + std::to_string(kMaxCheckText) +
                " visible ASCII characters");
  }
  return {};
}

}  // namespace

std::string_view to_string(CheckKind kind) {
  switch (kind) {
    case CheckKind::none:
      return "none";
    case CheckKind::tcp:
      return "tcp";
    case CheckKind::mqtt:
      return "mqtt";
    case CheckKind::http:
      return "http";
  }
  return "?";
}

std::string_view to_string(CheckInitial initial) {
  switch (initial) {
    case CheckInitial::up:
      return "up";
    case CheckInitial::down:
      return "down";
  }
  return "?";
}

std::string_view to_string(CheckMqtt version) {
  switch (version) {
    case CheckMqtt::v3_1_1:
      return "3.1.1";
    case CheckMqtt::v5:
      return "5";
  }
  return "?";
}

Result<void> validate_check(const Check& check, const std::string& owner) {
  const struct {
    const char* name;
    int64_t value;
    Range range;
  } numbers[] = {
      {"interval", check.interval.count(), kCheckIntervalRange},
      {"timeout", check.timeout.count(), kCheckTimeoutRange},
      {"rise", check.rise, kCheckCountRange},
      {"fall", check.fall, kCheckCountRange},
      {"http-port", check.http_port, kCheckHttpPortRange},
      {"http-status", check.http_status, kCheckHttpStatusRange},
  };
  for (const auto& n : numbers) {
    if (n.value >= 0 && n.range.contains(static_cast<uint64_t>(n.value))) continue;
    return fail("check-" + std::string(n.name) + " of " + owner + " is " + std::to_string(n.value) +
                ": it must be from " + std::to_string(n.range.least) + " to " +
                std::to_string(n.range.most));
  }
  return check_texts(check, owner);
}

}  // namespace mqlb::config
