// The simulator's only source of chance.
#pragma once

#include "lib/base/random.hh"

namespace mqlb::sim {

using base::Random;

}  // namespace mqlb::sim
