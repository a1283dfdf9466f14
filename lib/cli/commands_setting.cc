// Settings of the whole balancer.
#include "lib/cli/command.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Model;
using std::chrono::seconds;

Result<void> set_poll(Model& model, const Args& args) {
  model.settings.poll = args.choice("MODE", {config::PollMode::busy, config::PollMode::adaptive});
  return {};
}

Result<void> set_poll_pause(Model& model, const Args& args) {
  model.settings.poll_pause = args.duration<std::chrono::microseconds>("MICROSECONDS");
  return {};
}

template <seconds config::Settings::*member>
Result<void> set_seconds(Model& model, const Args& args) {
  model.settings.*member = args.duration<seconds>("SECONDS");
  return {};
}

template <uint32_t config::Settings::*member>
Result<void> set_count(Model& model, const Args& args) {
  model.settings.*member = args.number<uint32_t>("N");
  return {};
}

}  // namespace

std::vector<Command> setting_commands() {
  using config::Settings;
  constexpr Where anywhere = Where::anywhere;
  return {
      {"set poll MODE:busy|adaptive", "whether idle cores sleep", anywhere, set_poll},
      {"set poll-pause MICROSECONDS:poll-pause",
       "how long idle cores sleep at a time where frames do not wake them", anywhere,
       set_poll_pause},
      {"set idle-floor SECONDS:idle-floor", "the shortest idle timeout, whatever the keep alive",
       anywhere, set_seconds<&Settings::idle_floor>},
      {"set idle-max SECONDS:idle-max", "the idle timeout of clients without keep alive", anywhere,
       set_seconds<&Settings::idle_max>},
      {"set closing-timeout SECONDS:closing-timeout", "how long a closed flow is remembered",
       anywhere, set_seconds<&Settings::closing_timeout>},
      {"set half-close-timeout SECONDS:half-close-timeout", "idle timeout after the first FIN",
       anywhere, set_seconds<&Settings::half_close_timeout>},
      {"set snat-quarantine SECONDS:snat-quarantine", "rest of a SNAT port before it is used again",
       anywhere, set_seconds<&Settings::snat_quarantine>},
      {"set max-flows N:max-flows", "flows per worker", Where::startup,
       set_count<&Settings::max_flows>},
      {"set max-connecting N:max-connecting", "clients per worker between handshake and splice",
       anywhere, set_count<&Settings::max_connecting>},
      {"set rst-per-second N:rst-per-second", "RSTs to unknown flows, per core", anywhere,
       set_count<&Settings::rst_per_second>},
  };
}

}  // namespace mqlb::cli
