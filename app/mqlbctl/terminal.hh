// The operator's terminal during an interactive session.
#pragma once

#include "app/mqlbctl/client.hh"

namespace mqlb::mqlbctl {

// Passes keys to the daemon and its screen to the terminal until either ends. Editing, history and
// completion happen in the daemon. The terminal is as before afterwards, signals included. Returns
// the exit status.
[[nodiscard]] int run_interactive(Client& client);

}  // namespace mqlb::mqlbctl
