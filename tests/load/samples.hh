// Files as they are at one moment: the kernel's own counters around a measured part.
#pragma once

#include <span>
#include <string>

namespace mqlb::load {

// A JSON list of their texts; null for one that cannot be read.
[[nodiscard]] std::string read_samples(std::span<const std::string> paths);

}  // namespace mqlb::load
