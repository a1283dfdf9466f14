// A configuration as the commands that make it.
#pragma once

#include <string>

#include "lib/config/model.hh"

namespace mqlb::cli {

// Lines that, run in a start-up file, give an equal model. What has its default value is left out.
[[nodiscard]] std::string to_commands(const config::Model& model);

}  // namespace mqlb::cli
