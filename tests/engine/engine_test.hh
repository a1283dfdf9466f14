// What the engine tests share: one world at a time, many connections, and what must be true of
// them afterwards.
//
// Environment, for finding faults:
//   CAPTURE=FILE    writes every frame at the engine's ports to a pcapng file
//   CONNECTIONS=N   as many connections as this in each test that opens many
//   SEED=N          other random numbers than those of a usual run
//   FAMILIES=F      what clients and brokers speak: families() in engine_world.hh
#pragma once

#include <functional>

#include "tests/engine/engine_world.hh"
#include "tests/support/cmocka.hh"

namespace mqlb::tests {

using namespace std::chrono_literals;

// The running test's world. The previous one ends, since the engine's tables have names of their
// own in the process; a failed assertion jumps over destructors, so no test owns its world.
EngineWorld& new_world(const Setup& setup);
int drop_world(void** state);

// Loses, repeats and delays frames.
sim::LinkConfig lossy(double loss);
// Brokers as Linux hosts are, with numbers and options that vary within what clients were offered.
sim::BrokerPlan linux_like(unsigned broker, sim::Random& random);

// Changes the plan of the i-th client; may be empty.
using Adjust = std::function<void(size_t i, sim::ClientPlan& plan)>;
// Opens `connections` with random plans, one each `spacing`, and runs until all is over.
EngineWorld& run_many(const Setup& setup, size_t connections, base::Duration spacing,
                      const Adjust& adjust = {});
// `n`, or what the environment asks for.
size_t connections_or(size_t n);

// One connection with the defaults of an ordinary host; its Client ID is its own.
sim::ClientPlan plain_plan(const std::string& client_id);

// Nobody saw a violation, every frame has exactly one account, and nothing is held any more.
void expect_clean(EngineWorld& w);
// expect_clean, and every conversation delivered what was sent and ended in order.
void expect_all_well(EngineWorld& w, size_t connections);
// How many conversations delivered what was sent and ended in order.
size_t complete_conversations(EngineWorld& w);

}  // namespace mqlb::tests

#define ENGINE_TEST(f) cmocka_unit_test_teardown(f, drop_world)
