// mqtt-load: MQTT clients for measurements. `mqtt-load --help` says how.
#include <sys/prctl.h>

#include <csignal>

#include "tests/load/channel.hh"
#include "tests/load/phases.hh"

namespace mqlb::load {
namespace {

int run(int argc, char** argv) {
  Options options;
  if (!parse_options(argc, argv, options)) return 2;
  raise_file_limit();
  // A fixed rate needs wake-ups that are on time.
  prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
  std::signal(SIGPIPE, SIG_IGN);
  switch (options.phase) {
    case Phase::connect:
      return run_connect(options);
    case Phase::idle:
      return run_idle(options);
    case Phase::publish:
      return run_publish(options);
    case Phase::latency:
      return run_latency(options);
  }
  return 2;
}

}  // namespace
}  // namespace mqlb::load

int main(int argc, char** argv) { return mqlb::load::run(argc, argv); }
