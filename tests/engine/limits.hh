// What tests of listeners' limits ask of the engine.
#pragma once

#include "tests/engine/bench.hh"
#include "tests/engine/engine_test.hh"
#include "tests/support/models.hh"

namespace mqlb::tests {

inline config::Admission& limits(Setup& setup) { return setup.model.listeners[0].admission; }

// bits: of an IPv4 address; as many of an IPv6 address are not looked at.
inline uint32_t counted_for(Bench& b, unsigned host, uint8_t bits = 32) {
  engine::Gates& gates = b.engine().shared().gates;
  if (families().clients_v6) bits += 96;
  return gates.sources().connections(gates.source(0, client_address(host), bits));
}

// A network of clients, written as in IPv4; of one of all addresses, the same of the other family.
inline wire::Prefix network(const char* text) {
  const wire::Prefix p = prefix(text);
  if (!families().clients_v6) return p;
  if (p.length == 0) return prefix(p.address.is_v4() ? "::/0" : "0.0.0.0/0");
  return in_ipv6(p);
}

inline const engine::ListenerCounters& counters(Bench& b) {
  return b.engine().core(0).objects().listeners[0];
}

inline void expect_nothing_counted(Bench& b) {
  assert_int_equal(b.dut().flows(), 0);
  assert_int_equal(b.dut().counted_connections(), 0);
  assert_int_equal(b.engine().buffers_in_use(), 0);
  assert_int_equal(b.dut().unaccounted_frames(), 0);
}

inline uint64_t turned_away(const engine::ListenerCounters& c) {
  return c.denied.value() + c.over_limit.value() + c.over_source_limit.value();
}

}  // namespace mqlb::tests
