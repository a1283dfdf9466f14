#include "lib/config/model.hh"

#include <algorithm>

#include "lib/config/limits.hh"

namespace mqlb::config {

std::string_view to_string(PortRole role) {
  switch (role) {
    case PortRole::client:
      return "client";
    case PortRole::backend:
      return "backend";
    case PortRole::both:
      return "both";
  }
  return "?";
}

std::string_view to_string(CoreRole role) {
  switch (role) {
    case CoreRole::worker:
      return "worker";
    case CoreRole::proxy:
      return "proxy";
    case CoreRole::both:
      return "both";
  }
  return "?";
}

std::string_view to_string(KeyPolicy key) {
  switch (key) {
    case KeyPolicy::client_id:
      return "client-id";
    case KeyPolicy::user_name:
      return "user-name";
    case KeyPolicy::source_address:
      return "source-address";
    case KeyPolicy::spread:
      return "spread";
    case KeyPolicy::round_robin:
      return "round-robin";
    case KeyPolicy::least_connections:
      return "least-connections";
  }
  return "?";
}

std::string_view to_string(ProxyProtocol version) {
  switch (version) {
    case ProxyProtocol::none:
      return "none";
    case ProxyProtocol::v1:
      return "v1";
    case ProxyProtocol::v2:
      return "v2";
  }
  return "?";
}

std::string_view to_string(PollMode mode) {
  switch (mode) {
    case PollMode::busy:
      return "busy";
    case PollMode::adaptive:
      return "adaptive";
  }
  return "?";
}

std::string_view to_string(AdminState state) {
  switch (state) {
    case AdminState::up:
      return "up";
    case AdminState::drain:
      return "drain";
    case AdminState::maintenance:
      return "maintenance";
    case AdminState::down:
      return "down";
  }
  return "?";
}

std::string_view to_string(CloseOnDown when) {
  switch (when) {
    case CloseOnDown::off:
      return "off";
    case CloseOnDown::on:
      return "on";
    case CloseOnDown::unanswered:
      return "unanswered";
  }
  return "?";
}

std::string_view to_string(ListenerMode mode) {
  switch (mode) {
    case ListenerMode::mqtt:
      return "mqtt";
    case ListenerMode::tcp:
      return "tcp";
  }
  return "?";
}

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '_' || c == '-';
         });
}

}  // namespace mqlb::config
