// compile(): ids stay with their objects, retired objects stay until unused, and their ids are
// given away after that.
#include "lib/config/snapshot.hh"

#include <algorithm>
#include <functional>
#include <set>

#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

using mqlb::config::Model;
using mqlb::config::Snapshot;
using mqlb::tests::endpoint;
using mqlb::tests::ip;
using mqlb::tests::prefix;
using mqlb::tests::sample_model;
namespace config = mqlb::config;

namespace {

// The snapshots in force one after the other, and which ids flows hold.
struct History {
  std::unique_ptr<const Snapshot> now;
  std::set<unsigned> listeners, backends, snats;
  config::IdUse use{[this](config::ListenerId id) { return listeners.contains(id); },
                    [this](config::BackendId id) { return backends.contains(id); },
                    [this](config::SnatId id) { return snats.contains(id); }};

  const Snapshot& next(const Model& m) {
    assert_true(config::validate(m).has_value());
    auto r = config::compile(m, now.get(), use);
    assert_true(r.has_value());
    now = std::move(*r);
    return *now;
  }
};

int make_history(void** state) {
  *state = new History;
  return 0;
}

int free_history(void** state) {
  delete static_cast<History*>(*state);
  return 0;
}

unsigned backend_id(const Snapshot& s, std::string_view name) {
  for (size_t i = 0; i < s.backends.size(); ++i) {
    if (!s.backends[i].retired && s.backends[i].name == name) return static_cast<unsigned>(i);
  }
  fail_msg("no active backend %s", name.data());
  return 0;
}

void contents(void** state) {
  Model m = sample_model();
  m.pools[0].backends[1].weight = 7;
  const Snapshot& s = static_cast<History*>(*state)->next(m);
  assert_int_equal(s.version, 1);
  assert_int_equal(s.ports.size(), 2);
  assert_int_equal(s.snats.size(), 2);
  assert_int_equal(s.backends.size(), 3);
  assert_int_equal(s.next_hops.size(), 3);
  const config::BackendEntry& near = s.backends[backend_id(s, "broker2")];
  assert_int_equal(near.weight, 7);
  assert_int_equal(near.port, 1);
  assert_true(s.next_hops[near.next_hop].address == ip("198.18.1.12"));
  const config::BackendEntry& far = s.backends[backend_id(s, "far")];
  assert_true(s.next_hops[far.next_hop].address == ip("198.18.1.254"));
  assert_true(s.next_hops[far.next_hop].source == ip("198.18.1.1"));
  assert_int_equal(s.next_hops[far.next_hop].port, 1);
  assert_int_equal(s.listeners[0].backend_mtu, 1400);
  assert_int_equal(s.pools[0].table.size(), 251);
  assert_int_equal(s.pools[0].backends.size(), 3);
  assert_int_equal(s.pools[0].snats.size(), 2);
  assert_int_equal(s.pools[0].connect_timeout.count(), 1'000'000);
}

void most_specific_network_wins(void** state) {
  Model m = sample_model();
  m.routes.push_back({prefix("198.19.7.0/24"), ip("198.18.1.253")});
  m.routes.push_back({prefix("198.18.1.11/32"), ip("198.18.1.252")});
  const Snapshot& s = static_cast<History*>(*state)->next(m);
  const auto hop = [&](const char* name) {
    return s.next_hops[s.backends[backend_id(s, name)].next_hop].address;
  };
  assert_true(hop("far") == ip("198.18.1.253"));
  assert_true(hop("broker1") == ip("198.18.1.252"));
  assert_true(hop("broker2") == ip("198.18.1.12"));
}

void backends_share_a_gateway(void** state) {
  Model m = sample_model();
  m.pools[0].backends = {{"a", endpoint("198.19.0.1:1883"), 1},
                         {"b", endpoint("198.19.0.2:1883"), 1}};
  const Snapshot& s = static_cast<History*>(*state)->next(m);
  assert_int_equal(s.next_hops.size(), 1);
  assert_int_equal(s.backends[0].next_hop, s.backends[1].next_hop);
}

// What the table says is the same whatever the order and the ids are.
void table_depends_on_names_only(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  const auto names = [&](const Snapshot& s) {
    std::vector<std::string> v;
    for (const auto slot : s.pools[0].table.slots()) {
      v.push_back(s.backends[s.pools[0].backends[slot]].name);
    }
    return v;
  };
  const auto first = names(h.next(m));
  assert_int_equal(first.size(), 251);
  std::reverse(m.pools[0].backends.begin(), m.pools[0].backends.end());
  m.pools[0].backends[0].endpoint.port = 1884;
  m.pools[0].hash_seed = 5;
  m.pools[0].proxy_protocol = config::ProxyProtocol::v2;
  assert_true(names(h.next(m)) == first);
}

// A table that was kept from the snapshot before is the one that would be built.
void table_follows_changes(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  const std::function<void()> changes[] = {
      [&] { m.settings.rst_per_second = 1; },
      [&] { m.pools[0].backends[1].weight = 4; },
      [&] { m.pools[0].backends[0].endpoint.port = 1884; },
      [&] { m.pools[0].backends[0].name = "renamed"; },
      [&] { std::swap(m.pools[0].backends[0], m.pools[0].backends[2]); },
      [&] { m.pools[0].table_size = 509; },
      [&] { m.pools[0].backends.pop_back(); },
      [&] { m.pools[0].name = "other", m.listeners[0].pool = "other"; },
      [&] { m.pools[0].backends.clear(); },
  };
  for (const auto& change : changes) {
    h.next(m);
    change();
    const Snapshot& after = h.next(m);
    const auto fresh = config::compile(m, nullptr, {});
    const auto active = std::find_if(after.pools.begin(), after.pools.end(),
                                     [](const config::PoolEntry& p) { return !p.retired; });
    const auto got = active->table.slots();
    const auto wanted = (*fresh)->pools[0].table.slots();
    assert_int_equal(got.size(), wanted.size());
    assert_true(std::equal(got.begin(), got.end(), wanted.begin()));
  }
}

// The table that goes with it has the others, at their indices, as they were before.
void who_is_added_is_fresh(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  m.pools[0].slow_start = std::chrono::seconds(10);
  const config::Backend added{"broker0", endpoint("198.18.1.10:1883"), 1};
  const Snapshot& one = h.next(m);
  for (const config::BackendEntry& b : one.backends) assert_false(b.fresh);
  assert_true(one.pools[0].settled.empty());
  const auto before = one.pools[0].table.slots();
  const std::vector<mqlb::maglev::MemberIndex> was(before.begin(), before.end());
  m.pools[0].backends.insert(m.pools[0].backends.begin(), added);
  std::set<unsigned> known;
  h.use.fresh = [&](config::BackendId id) { return known.contains(id); };
  for (const bool again : {false, true}) {
    const Snapshot& two = h.next(m);
    const unsigned id = backend_id(two, "broker0");
    for (unsigned i = 0; i < two.backends.size(); ++i) {
      assert_int_equal(two.backends[i].fresh, i == id);
    }
    const auto settled = two.pools[0].settled.slots();
    assert_int_equal(settled.size(), was.size());
    for (size_t i = 0; i < was.size(); ++i) assert_int_equal(settled[i], was[i] + 1);
    if (!again) known = {id};
  }
  // Of a new pool all are, so there is nowhere else to go.
  m.pools.push_back(m.pools[0]);
  m.pools[1].name = "other";
  for (auto& b : m.pools[1].backends) b.endpoint.port = 1999;
  const Snapshot& three = h.next(m);
  const auto other = std::find_if(three.pools.begin(), three.pools.end(),
                                  [](const config::PoolEntry& p) { return p.name == "other"; });
  for (const config::BackendId id : other->backends) assert_true(three.backends[id].fresh);
  assert_true(other->settled.empty());
  known.clear();
  const Snapshot& four = h.next(m);
  for (const config::BackendEntry& b : four.backends) assert_false(b.fresh);
  for (const config::PoolEntry& p : four.pools) assert_true(p.settled.empty());
  // Nobody waits for a backup, nor for one that has all of its clients at once.
  m.pools[0].backends.push_back({"spare", endpoint("198.18.1.20:1883"), 1});
  m.pools[0].backends.back().backup = true;
  m.pools[1].slow_start = std::chrono::seconds(0);
  m.pools[1].backends.push_back({"more", endpoint("198.18.1.21:1883"), 1});
  const Snapshot& five = h.next(m);
  for (const config::BackendEntry& b : five.backends) assert_false(b.fresh);
}

void ids_are_stable(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  const Snapshot& one = h.next(m);
  const unsigned far = backend_id(one, "far");
  const unsigned second = backend_id(one, "broker2");
  m.pools[0].backends.insert(m.pools[0].backends.begin(),
                             {"broker0", endpoint("198.18.1.10:1883"), 1});
  m.snat_pools[0].addresses.insert(m.snat_pools[0].addresses.begin(), ip("198.18.1.99"));
  m.listeners.insert(m.listeners.begin(), m.listeners[0]);
  m.listeners[0].name = "tls";
  m.listeners[0].endpoint.port = 8883;
  m.pools.insert(m.pools.begin(), m.pools[0]);
  m.pools[0].name = "other";
  m.pools[0].backends.clear();
  const Snapshot& two = h.next(m);
  assert_int_equal(two.version, 2);
  assert_int_equal(backend_id(two, "far"), far);
  assert_int_equal(backend_id(two, "broker2"), second);
  assert_string_equal(two.listeners[0].name.c_str(), "mqtt");
  assert_string_equal(two.listeners[1].name.c_str(), "tls");
  assert_string_equal(two.pools[0].name.c_str(), "emqx");
  assert_string_equal(two.pools[1].name.c_str(), "other");
  assert_true(two.snats[0].address == ip("198.18.1.100"));
  assert_true(two.snats[2].address == ip("198.18.1.99"));
  assert_int_equal(two.pools[0].snats[0], 2);
}

void removed_backend_retires_and_revives(void** state) {
  History& h = *static_cast<History*>(*state);
  const Model whole = sample_model();
  Model less = whole;
  less.pools[0].backends.erase(less.pools[0].backends.begin());
  const unsigned id = backend_id(h.next(whole), "broker1");
  h.backends = {id};
  const Snapshot& two = h.next(less);
  assert_int_equal(two.backends.size(), 3);
  assert_true(two.backends[id].retired);
  assert_string_equal(two.backends[id].name.c_str(), "broker1");
  // Its flows still need its neighbour.
  assert_false(two.next_hops[two.backends[id].next_hop].retired);
  for (const auto b : two.pools[0].backends) assert_int_not_equal(b, id);
  const Snapshot& three = h.next(whole);
  assert_int_equal(backend_id(three, "broker1"), id);
  assert_int_equal(three.backends.size(), 3);
}

void id_is_reused_when_unused(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  const unsigned id = backend_id(h.next(m), "broker1");
  h.backends = {id};
  // Cores make flows with an id until the snapshot that retires it: not given away at once, not
  // while used, but then.
  m.pools[0].backends[0] = {"new1", endpoint("198.18.1.21:1883"), 1};
  assert_int_equal(backend_id(h.next(m), "new1"), 3);
  m.pools[0].backends.push_back({"new2", endpoint("198.18.1.22:1883"), 1});
  assert_int_equal(backend_id(h.next(m), "new2"), 4);
  h.backends.clear();
  m.pools[0].backends.push_back({"new3", endpoint("198.18.1.23:1883"), 1});
  const Snapshot& s = h.next(m);
  assert_int_equal(backend_id(s, "new3"), id);
  assert_int_equal(s.backends.size(), 5);
  // The same endpoint under another name, or another endpoint under the same, is another backend.
  m.pools[0].backends.back().name = "renamed";
  assert_int_equal(backend_id(h.next(m), "renamed"), 5);
  m.pools[0].backends.back().endpoint.port = 1884;
  h.backends = {id};
  assert_int_equal(backend_id(h.next(m), "renamed"), 6);
}

void unused_at_once_is_still_not_given_away(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  h.next(m);
  m.snat_pools[0].addresses[0] = ip("198.18.1.150");
  m.listeners[0].name = "renamed";
  const Snapshot& two = h.next(m);
  assert_int_equal(two.snats.size(), 3);
  assert_true(two.snats[0].retired);
  assert_int_equal(two.listeners.size(), 2);
  assert_true(two.listeners[0].retired);
  m.snat_pools[0].addresses.push_back(ip("198.18.1.151"));
  m.listeners[0].endpoint.port = 1884;
  const Snapshot& three = h.next(m);
  assert_true(three.snats[0].address == ip("198.18.1.151"));
  assert_false(three.snats[0].retired);
  assert_int_equal(three.listeners.size(), 2);
  assert_int_equal(three.listeners[0].endpoint.port, 1884);
}

void pool_id_waits_for_its_flows(void** state) {
  History& h = *static_cast<History*>(*state);
  const Model whole = sample_model();
  h.next(whole);
  h.backends = {0};
  Model m = whole;
  m.pools.clear();
  m.listeners.clear();
  const Snapshot& two = h.next(m);
  assert_true(two.pools[0].retired);
  assert_true(two.pools[0].table.empty());
  m.pools = whole.pools;
  m.pools[0].name = "second";
  m.pools[0].backends.clear();
  const Snapshot& three = h.next(m);
  assert_int_equal(three.pools.size(), 2);
  assert_string_equal(three.pools[1].name.c_str(), "second");
  h.backends.clear();
  m.pools.push_back(m.pools[0]);
  m.pools[1].name = "third";
  const Snapshot& four = h.next(m);
  assert_int_equal(four.pools.size(), 2);
  assert_string_equal(four.pools[0].name.c_str(), "third");
}

void next_hop_id_waits_for_its_flows(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  m.pools[0].backends = {{"a", endpoint("198.18.1.11:1883"), 1}};
  h.next(m);
  h.backends = {0};
  m.pools[0].backends = {{"b", endpoint("198.18.1.12:1883"), 1}};
  assert_int_equal(h.next(m).next_hops.size(), 2);
  m.pools[0].backends.push_back({"c", endpoint("198.18.1.13:1883"), 1});
  const Snapshot& three = h.next(m);
  assert_int_equal(three.next_hops.size(), 3);
  assert_false(three.next_hops[0].retired);
  h.backends.clear();
  assert_true(h.next(m).next_hops[0].retired);
  m.pools[0].backends.push_back({"d", endpoint("198.18.1.14:1883"), 1});
  const Snapshot& five = h.next(m);
  assert_int_equal(five.next_hops.size(), 3);
  assert_true(five.next_hops[0].address == ip("198.18.1.14"));
}

void full_tables_are_refused(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  m.snat_pools[0].addresses.clear();
  for (uint32_t i = 0; i < config::kMaxSnats; ++i) {
    m.snat_pools[0].addresses.push_back(mqlb::wire::IpAddress::v4(0xc6130000U + i));
    h.snats.insert(i);
  }
  m.pools[0].backends.pop_back();
  h.next(m);
  m.snat_pools[0].addresses[0] = ip("198.18.1.100");
  const auto r = config::compile(m, h.now.get(), h.use);
  assert_false(r.has_value());
  assert_non_null(strstr(r.error().message.c_str(), "SNAT address 198.18.1.100"));
}

// The addresses of what was removed are ours as long as flows use them.
void removed_addresses(void** state) {
  History& h = *static_cast<History*>(*state);
  Model m = sample_model();
  const Snapshot& first = h.next(m);
  const auto listener = first.listeners[0].endpoint;
  const auto snat = first.snats[0].address;
  h.listeners.insert(0);
  h.snats.insert(0);
  m.listeners.clear();
  m.snat_pools[0].addresses.erase(m.snat_pools[0].addresses.begin());
  for (int i = 0; i < 3; ++i) {
    const Snapshot& s = h.next(m);
    assert_true(s.listeners[0].retired && s.snats[0].retired);
    assert_true(s.listeners[0].endpoint == listener);
    assert_true(s.snats[0].address == snat);
  }
  h.listeners.clear();
  h.snats.clear();
  const Snapshot& last = h.next(m);
  assert_true(last.listeners[0].retired && last.snats[0].retired);
  assert_true(last.listeners[0].endpoint.address.is_unspecified());
  assert_true(last.snats[0].address.is_unspecified());
  // They come back as anything new does.
  const Snapshot& again = h.next(sample_model());
  assert_true(again.listeners[0].endpoint == listener && !again.listeners[0].retired);
  assert_true(again.snats[0].address == snat && !again.snats[0].retired);
}

}  // namespace

#define WITH_HISTORY(f) cmocka_unit_test_setup_teardown(f, make_history, free_history)

int main() {
  const CMUnitTest tests[] = {
      WITH_HISTORY(contents),
      WITH_HISTORY(most_specific_network_wins),
      WITH_HISTORY(backends_share_a_gateway),
      WITH_HISTORY(table_depends_on_names_only),
      WITH_HISTORY(table_follows_changes),
      WITH_HISTORY(who_is_added_is_fresh),
      WITH_HISTORY(ids_are_stable),
      WITH_HISTORY(removed_backend_retires_and_revives),
      WITH_HISTORY(id_is_reused_when_unused),
      WITH_HISTORY(unused_at_once_is_still_not_given_away),
      WITH_HISTORY(pool_id_waits_for_its_flows),
      WITH_HISTORY(next_hop_id_waits_for_its_flows),
      WITH_HISTORY(full_tables_are_refused),
      WITH_HISTORY(removed_addresses),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
