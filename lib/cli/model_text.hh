// A configuration as the commands that make it.
#pragma once

#include <string>

#include "lib/config/model.hh"

namespace mqlb::cli {

// Lines that, run in a start-up file, give an equal model. What has its default value is left out.
[[nodiscard]] std::string to_commands(const config::Model& model);

// As commands say them: "200", "200 burst 50"; "5 per 60".
[[nodiscard]] std::string to_text(const config::RateLimit& limit);
[[nodiscard]] std::string client_id_rate_text(const config::Admission& admission);

}  // namespace mqlb::cli
