// validate(): each row makes one mistake in a valid configuration and names the words that the
// message must hold.
#include <functional>

#include "lib/config/model.hh"
#include "lib/config/snapshot.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"

using mqlb::config::Model;
using mqlb::tests::endpoint;
using mqlb::tests::in_ipv6;
using mqlb::tests::ip;
using mqlb::tests::prefix;
using mqlb::tests::sample_model;
namespace config = mqlb::config;

namespace {

struct Mistake {
  const char* message;
  std::function<void(Model&)> make;
};

void check_all(const std::vector<Mistake>& mistakes) {
  for (const Mistake& mistake : mistakes) {
    Model m = sample_model();
    mistake.make(m);
    const auto r = config::validate(m);
    if (r) fail_msg("accepted, but should say: %s", mistake.message);
    if (r.error().message.find(mistake.message) == std::string::npos) {
      fail_msg("said: %s\nshould say: %s", r.error().message.c_str(), mistake.message);
    }
  }
}

void accepts_valid(void**) {
  const std::vector<Mistake> changes{
      {"nothing", [](Model&) {}},
      {"empty", [](Model& m) { m = {}; }},
      {"listener on a port's address",
       [](Model& m) { m.listeners[0].endpoint = endpoint("198.18.0.1:1883"); }},
      {"two listeners, one address",
       [](Model& m) {
         m.listeners.push_back(m.listeners[0]);
         m.listeners[1].name = "tls";
         m.listeners[1].endpoint.port = 8883;
       }},
      {"backends of both families",
       [](Model& m) {
         m.ports[1].addresses.push_back(prefix("2001:db8::1/64"));
         m.snat_pools[0].addresses.push_back(ip("2001:db8::100"));
         m.pools[0].backends.push_back({"six", endpoint("[2001:db8::11]:1883"), 5});
       }},
      {"pool without backends", [](Model& m) { m.pools[0].backends.clear(); }},
      {"a /31", [](Model& m) { m.ports[0].addresses = {prefix("198.18.0.0/31")}; }},
      {"pools that share a SNAT pool",
       [](Model& m) {
         m.pools.push_back(m.pools[0]);
         m.pools[1].name = "other";
       }},
  };
  for (const Mistake& change : changes) {
    Model m = sample_model();
    change.make(m);
    const auto r = config::validate(m);
    if (!r) fail_msg("%s: %s", change.message, r.error().message.c_str());
  }
}

void accepts_ipv6(void**) {
  const std::vector<Mistake> changes{
      {"everything", [](Model& m) { m = in_ipv6(m); }},
      {"clients alone",
       [](Model& m) {
         const Model six = in_ipv6(m);
         m.ports[0] = six.ports[0];
         m.listeners = six.listeners;
       }},
      {"brokers alone",
       [](Model& m) {
         const Model four = m;
         m = in_ipv6(m);
         m.ports[0] = four.ports[0];
         m.listeners = four.listeners;
       }},
      {"the smallest MTU",
       [](Model& m) {
         m = in_ipv6(m);
         m.ports[0].mtu = m.ports[1].mtu = 1280;
       }},
      {"a small MTU where IPv6 does not go",
       [](Model& m) {
         const Model six = in_ipv6(m);
         m.ports[0] = six.ports[0];
         m.listeners = six.listeners;
         m.ports[1].mtu = 576;
       }},
      {"a listener in no port's network",
       [](Model& m) { m.listeners[0].endpoint = endpoint("[2001:db8:ffff::1]:1883"); }},
      {"a backend behind a gateway of the link",
       [](Model& m) {
         m = in_ipv6(m);
         m.ports[1].addresses.push_back(prefix("fe80::1/64"));
         m.routes[0].gateway = ip("fe80::fe");
       }},
      {"backends of both families behind one listener",
       [](Model& m) {
         const Model six = in_ipv6(m);
         m.ports[1].addresses.push_back(six.ports[1].addresses[0]);
         m.routes.push_back(six.routes[0]);
         m.snat_pools[0].addresses.push_back(six.snat_pools[0].addresses[0]);
         for (mqlb::config::Backend b : six.pools[0].backends) {
           b.name += "-6";
           m.pools[0].backends.push_back(b);
         }
       }},
      {"the same listener for both families",
       [](Model& m) {
         const Model six = in_ipv6(m);
         m.ports[0].addresses.push_back(six.ports[0].addresses[0]);
         m.listeners.push_back(six.listeners[0]);
         m.listeners[1].name = "mqtt-6";
       }},
  };
  for (const Mistake& change : changes) {
    Model m = sample_model();
    change.make(m);
    const auto r = config::validate(m);
    if (!r) fail_msg("%s: %s", change.message, r.error().message.c_str());
  }
}

// The mistakes that IPv6 brings along, in a configuration of IPv6 alone.
void ipv6(void**) {
  const std::vector<Mistake> mistakes{
      {"of port 'clients': IPv6 needs an MTU of at least 1280",
       [](Model& m) { m.ports[0].mtu = 1279; }},
      {"of port 'brokers': IPv6 needs an MTU of at least 1280",
       [](Model& m) { m.ports[1].mtu = 1279; }},
      {"listener 'mqtt': IPv6 needs an MTU of at least 1280, and port 'clients', which its clients "
       "may come by, has 1279",
       [](Model& m) {
         m.ports[0].mtu = 1279;
         m.ports[0].addresses = {prefix("198.18.0.1/24")};
       }},
      {"port 'more', which its clients may come by, has 576",
       [](Model& m) {
         m.ports.push_back({"more", "net_af_packet2", config::PortRole::both, 576, {}});
       }},
      {"SNAT pool 'outside' has no IPv6 address to reach it from",
       [](Model& m) { m.snat_pools[0].addresses = {ip("198.18.1.100")}; }},
      {"backend 'four' of pool 'emqx': SNAT pool 'outside' has no IPv4 address to reach it from",
       [](Model& m) {
         m.ports[1].addresses.push_back(prefix("198.18.1.1/24"));
         m.pools[0].backends.push_back({"four", endpoint("198.18.1.11:1883")});
       }},
      {"no port's network and no route contains 2001:db8::1",
       [](Model& m) { m.pools[0].backends[0].endpoint = endpoint("[2001:db8::1]:1883"); }},
      // No route of the other family leads there, however short its prefix.
      {"no port's network and no route contains 198.18.1.11",
       [](Model& m) {
         m.routes.push_back({prefix("::/0"), in_ipv6(ip("198.18.1.254"))});
         m.pools[0].backends[0].endpoint = endpoint("198.18.1.11:1883");
       }},
      {"gateway 198.18.1.254 is of the other family",
       [](Model& m) { m.routes[0].gateway = ip("198.18.1.254"); }},
      {"is reached by port 'clients', which has role client",
       [](Model& m) { m.pools[0].backends[2].endpoint.address = in_ipv6(ip("198.18.0.20")); }},
      {":: is not the address of a host",
       [](Model& m) { m.listeners[0].endpoint = endpoint("[::]:1883"); }},
      {"is the anycast address of the network's routers",
       [](Model& m) { m.ports[0].addresses = {prefix("2001:db8:0:7::/64")}; }},
      {"fe80::7 is a link-local address",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("fe80::7")); }},
      {"ff02::1 is not the address of a host",
       [](Model& m) { m.pools[0].backends[0].endpoint = endpoint("[ff02::1]:1883"); }},
      {"ff0e::1 is not the address of a host",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("ff0e::1")); }},
      {"has host bits set: did you mean 2001:db8::/32?",
       [](Model& m) { m.routes[0].prefix = prefix("2001:db8::1/32"); }},
      {"is the address of listener 'mqtt'",
       [](Model& m) { m.snat_pools[0].addresses.push_back(m.listeners[0].endpoint.address); }},
  };
  for (const Mistake& mistake : mistakes) {
    Model m = in_ipv6(sample_model());
    mistake.make(m);
    const auto r = config::validate(m);
    if (r) fail_msg("accepted, but should say: %s", mistake.message);
    if (r.error().message.find(mistake.message) == std::string::npos) {
      fail_msg("said: %s\nshould say: %s", r.error().message.c_str(), mistake.message);
    }
  }
}

void ports(void**) {
  check_all({
      {"port 'clients' is there twice", [](Model& m) { m.ports[1].name = "clients"; }},
      {"port 'a b': a name has", [](Model& m) { m.ports[1].name = "a b"; }},
      {"port '': a name has", [](Model& m) { m.ports[1].name = ""; }},
      {"a name has 1 to 48", [](Model& m) { m.ports[1].name = std::string(49, 'x'); }},
      {"port 'brokers': device 'net_af_packet0' belongs to another port",
       [](Model& m) { m.ports[1].device = m.ports[0].device; }},
      {"'net #1' is not the name of a device", [](Model& m) { m.ports[1].device = "net #1"; }},
      {"mtu of port 'clients' is 575: it must be from 576 to 9216",
       [](Model& m) { m.ports[0].mtu = 575; }},
      {"mtu of port 'clients' is 9217", [](Model& m) { m.ports[0].mtu = 9217; }},
      {"198.18.1.1 is there twice",
       [](Model& m) { m.ports[0].addresses.push_back(prefix("198.18.1.1/32")); }},
      {"network 198.18.1.0/24 is on two ports, 'clients' and 'brokers'",
       [](Model& m) { m.ports[0].addresses.push_back(prefix("198.18.1.2/24")); }},
      {"224.0.0.1 is not the address of a host",
       [](Model& m) { m.ports[0].addresses.push_back(prefix("224.0.0.1/24")); }},
      {"198.18.0.255/24 of port 'clients' is the network's own or its broadcast address",
       [](Model& m) { m.ports[0].addresses = {prefix("198.18.0.255/24")}; }},
      {"198.18.0.0/24 of port 'clients' is the network's own",
       [](Model& m) { m.ports[0].addresses = {prefix("198.18.0.0/24")}; }},
      {"length of at least 1", [](Model& m) { m.ports[0].addresses = {prefix("198.18.0.1/0")}; }},
      {"IPv6 needs an MTU of at least 1280",
       [](Model& m) {
         m.ports[0].mtu = 1279;
         m.ports[0].addresses.push_back(prefix("2001:db8::1/64"));
       }},
      {"at most 16 are possible", [](Model& m) { m.ports.resize(17); }},
      {"core 1 is there twice",
       [](Model& m) {
         m.cores = {{1, {}}, {1, {}}};
       }},
      {"no core is a proxy",
       [](Model& m) {
         m.cores = {{1, config::CoreRole::worker}};
       }},
      {"no core is a worker",
       [](Model& m) {
         m.cores = {{1, config::CoreRole::proxy}};
       }},
      {"the lcore of a core is 128",
       [](Model& m) {
         m.cores = {{128, {}}};
       }},
  });
}

void routes_and_snat(void**) {
  check_all({
      {"route 198.19.0.1/16 has host bits set: did you mean 198.19.0.0/16?",
       [](Model& m) { m.routes[0].prefix = prefix("198.19.0.1/16"); }},
      {"route 198.19.0.0/16 is there twice", [](Model& m) { m.routes.push_back(m.routes[0]); }},
      {"gateway 2001:db8::1 is of the other family",
       [](Model& m) { m.routes[0].gateway = ip("2001:db8::1"); }},
      {"route 198.19.0.0/16: 198.18.1.1 is the address of port 'brokers'",
       [](Model& m) { m.routes[0].gateway = ip("198.18.1.1"); }},
      {"gateway 198.18.2.1 is in no network",
       [](Model& m) {
         m.pools[0].backends.pop_back();
         m.routes[0].gateway = ip("198.18.2.1");
       }},
      {"SNAT pool 'outside' has no address", [](Model& m) { m.snat_pools[0].addresses.clear(); }},
      {"SNAT pool 'outside': 198.18.1.1 is the address of port 'brokers'",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("198.18.1.1")); }},
      {"SNAT pool 'outside': 198.18.0.10 is the address of listener 'mqtt'",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("198.18.0.10")); }},
      {"SNAT pool 'two': 198.18.1.100 is the address of SNAT pool 'outside'",
       [](Model& m) {
         m.snat_pools.push_back({"two", {ip("198.18.1.100")}, 1024, 65535});
       }},
      {"SNAT pool 'outside': 198.18.1.100 is the address of SNAT pool 'outside'",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("198.18.1.100")); }},
      {"0.0.0.0 is not the address of a host",
       [](Model& m) { m.snat_pools[0].addresses.push_back(ip("0.0.0.0")); }},
      {"the first port, 2000, is above the last, 1999",
       [](Model& m) {
         m.snat_pools[0].first_port = 2000;
         m.snat_pools[0].last_port = 1999;
       }},
      {"first port of SNAT pool 'outside' is 0: it must be from 1 to 65535",
       [](Model& m) { m.snat_pools[0].first_port = 0; }},
      {"more than 1024 SNAT addresses",
       [](Model& m) {
         for (uint32_t i = 0; i < 1023; ++i) {
           m.snat_pools[0].addresses.push_back(mqlb::wire::IpAddress::v4(0xc6130000U + i));
         }
       }},
  });
}

void pools(void**) {
  check_all({
      {"pool 'emqx' is there twice", [](Model& m) { m.pools.push_back(m.pools[0]); }},
      {"pool 'emqx' uses SNAT pool 'inside', which does not exist",
       [](Model& m) { m.pools[0].snat = "inside"; }},
      {"table-size of pool 'emqx' is 65536: it must be a prime",
       [](Model& m) { m.pools[0].table_size = 65536; }},
      {"table-size of pool 'emqx' is 2: it must be from 3",
       [](Model& m) { m.pools[0].table_size = 2; }},
      {"table-size of pool 'emqx' is 3: it must be above the number of backends",
       [](Model& m) { m.pools[0].table_size = 3; }},
      {"load-factor of pool 'emqx' is 100: it must be above 100 percent, or 0",
       [](Model& m) { m.pools[0].load_factor = 100; }},
      {"close-rate of pool 'emqx' is 0", [](Model& m) { m.pools[0].close_rate = 0; }},
      {"fail-timeout of pool 'emqx' is 99",
       [](Model& m) { m.pools[0].fail_timeout = std::chrono::milliseconds(99); }},
      {"slow-start of pool 'emqx' is 86401",
       [](Model& m) { m.pools[0].slow_start = std::chrono::seconds(86'401); }},
      {"max-connections of backend 'broker1' of pool 'emqx' is 100000001",
       [](Model& m) { m.pools[0].backends[0].max_connections = 100'000'001; }},
      {"connect-tries of pool 'emqx' is 17: it must be from 1 to 16",
       [](Model& m) { m.pools[0].connect_tries = 17; }},
      {"connect-timeout of pool 'emqx' is 9",
       [](Model& m) { m.pools[0].connect_timeout = std::chrono::milliseconds(9); }},
      {"check-interval of pool 'emqx' is 99: it must be from 100",
       [](Model& m) { m.pools[0].check.interval = std::chrono::milliseconds(99); }},
      {"check-interval of pool 'emqx' is -1",
       [](Model& m) { m.pools[0].check.interval = std::chrono::milliseconds(-1); }},
      {"check-timeout of pool 'emqx' is 9",
       [](Model& m) { m.pools[0].check.timeout = std::chrono::milliseconds(9); }},
      {"check-rise of pool 'emqx' is 0: it must be from 1 to 100",
       [](Model& m) { m.pools[0].check.rise = 0; }},
      {"check-fall of pool 'emqx' is 101", [](Model& m) { m.pools[0].check.fall = 101; }},
      {"check-http-port of pool 'emqx' is 0", [](Model& m) { m.pools[0].check.http_port = 0; }},
      {"check-http-status of pool 'emqx' is 600",
       [](Model& m) { m.pools[0].check.http_status = 600; }},
      {"check-http-path of pool 'emqx' is 'status': it must begin with '/'",
       [](Model& m) { m.pools[0].check.http_path = "status"; }},
      {"check-http-path of pool 'emqx' is '/",
       [](Model& m) { m.pools[0].check.http_path = "/a b"; }},
      {"check-http-path of pool 'emqx' is '/",
       [](Model& m) { m.pools[0].check.http_path = "/" + std::string(256, 'x'); }},
      {"check-client-id of pool 'emqx' must have 1 to 48",
       [](Model& m) { m.pools[0].check.client_id.clear(); }},
      {"check-user of pool 'emqx' is longer than 256 bytes",
       [](Model& m) { m.pools[0].check.user = std::string(257, 'u'); }},
      {"check-user of pool 'emqx' is not UTF-8", [](Model& m) { m.pools[0].check.user = "\xff"; }},
      {"check-password of pool 'emqx' needs check-user",
       [](Model& m) { m.pools[0].check.password = "secret"; }},
      {"SNAT pool 'outside' has fewer than 32 ports",
       [](Model& m) {
         m.snat_pools[0].last_port = 1024 + 30;
         m.pools[0].check.kind = mqlb::config::CheckKind::tcp;
       }},
      {"connect-timeout of pool 'emqx' is negative",
       [](Model& m) { m.pools[0].connect_timeout = std::chrono::milliseconds(-1); }},
      {"proxy-crc32c needs proxy-protocol v2", [](Model& m) { m.pools[0].proxy_crc32c = true; }},
      {"proxy-unique-id needs proxy-protocol v2",
       [](Model& m) {
         m.pools[0].proxy_protocol = config::ProxyProtocol::v1;
         m.pools[0].proxy_unique_id = true;
       }},
      {"backend 'broker1' of pool 'emqx' is there twice",
       [](Model& m) { m.pools[0].backends[1].name = "broker1"; }},
      {"backend 'broker2' of pool 'emqx' has the same endpoint as backend 'broker1'",
       [](Model& m) { m.pools[0].backends[1].endpoint = m.pools[0].backends[0].endpoint; }},
      {"weight of backend 'far' of pool 'emqx' is 0: it must be from 1 to 1000",
       [](Model& m) { m.pools[0].backends[2].weight = 0; }},
      {"is 1001: it must be from 1 to 1000",
       [](Model& m) { m.pools[0].backends[2].weight = 1001; }},
      {"198.18.0.10 is the address of listener 'mqtt'",
       [](Model& m) { m.pools[0].backends[2].endpoint = endpoint("198.18.0.10:1883"); }},
      {"198.18.1.100 is the address of SNAT pool 'outside'",
       [](Model& m) { m.pools[0].backends[2].endpoint = endpoint("198.18.1.100:1883"); }},
      {"backend 'far' of pool 'emqx': no port's network and no route contains 198.19.7.7",
       [](Model& m) { m.routes.clear(); }},
      {"198.18.0.20 is reached by port 'clients', which has role client",
       [](Model& m) { m.pools[0].backends[2].endpoint = endpoint("198.18.0.20:1883"); }},
      {"backend 'far' of pool 'emqx': SNAT pool 'outside' has no IPv6 address to reach it from",
       [](Model& m) {
         m.ports[1].addresses.push_back(prefix("2001:db8::1/64"));
         m.pools[0].backends[2].endpoint = endpoint("[2001:db8::11]:1883");
       }},
      {"there are more than 2048 backends",
       [](Model& m) {
         m.ports[1].addresses[0].length = 16;
         m.pools[0].table_size = 65537;
         m.pools[0].backends.resize(2049);
       }},
  });
}

void listeners_and_settings(void**) {
  using std::chrono::microseconds;
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  check_all({
      {"connect-rate of listener 'mqtt' is 1000001: it must be from 0 to 1000000",
       [](Model& m) { m.listeners[0].admission.connect_rate.rate = 1'000'001; }},
      {"burst of source-rate of listener 'mqtt' is 1000001",
       [](Model& m) { m.listeners[0].admission.source_rate.burst = 1'000'001; }},
      {"source-connections of listener 'mqtt' is 1000001",
       [](Model& m) { m.listeners[0].admission.source_connections = 1'000'001; }},
      {"source-prefix of listener 'mqtt' is 33: it must be from 1 to 32",
       [](Model& m) { m.listeners[0].admission.source_v4_bits = 33; }},
      {"source-prefix of listener 'mqtt' is 0: it must be from 1 to 128",
       [](Model& m) { m.listeners[0].admission.source_v6_bits = 0; }},
      {"period of client-id-rate of listener 'mqtt' is 0: it must be from 1 to 3600",
       [](Model& m) { m.listeners[0].admission.client_id_period = {}; }},
      {"listener 'mqtt' has client-id-rate, but reads no CONNECT in mode tcp",
       [](Model& m) {
         m.listeners[0].mode = config::ListenerMode::tcp;
         m.listeners[0].admission.client_id_connects = 1;
       }},
      {"allow of listener 'mqtt': 198.18.0.1/24 has host bits set: did you mean 198.18.0.0/24?",
       [](Model& m) { m.listeners[0].admission.allow = {prefix("198.18.0.1/24")}; }},
      {"deny of listener 'mqtt': 198.18.0.0/24 is there twice",
       [](Model& m) {
         m.listeners[0].admission.deny = {prefix("198.18.0.0/24"), prefix("198.18.0.0/24")};
       }},
      {"deny of listener 'mqtt' has more than 65536 prefixes",
       [](Model& m) { m.listeners[0].admission.deny.resize(65'537); }},
      {"listener 'mqtt' is there twice", [](Model& m) { m.listeners.push_back(m.listeners[0]); }},
      {"listener 'b' has the same endpoint as listener 'mqtt'",
       [](Model& m) {
         m.listeners.push_back(m.listeners[0]);
         m.listeners[1].name = "b";
       }},
      {"listener 'mqtt' uses pool 'none', which does not exist",
       [](Model& m) { m.listeners[0].pool = "none"; }},
      {"listener 'mqtt' has rules, but reads no CONNECT in mode tcp",
       [](Model& m) {
         m.listeners[0].mode = config::ListenerMode::tcp;
         m.listeners[0].rules = {{"r", "emqx", "*", "", {}}};
       }},
      {"rule 'r' of listener 'mqtt' is met by every client",
       [](Model& m) {
         m.listeners[0].rules = {{"r", "emqx", "", "", {}}};
       }},
      {"rule 'r' of listener 'mqtt' uses pool 'none', which does not exist",
       [](Model& m) {
         m.listeners[0].rules = {{"r", "none", "*", "", {}}};
       }},
      {"rule 'r' is there twice",
       [](Model& m) {
         m.listeners[0].rules = {{"r", "emqx", "a", "", {}}, {"r", "emqx", "b", "", {}}};
       }},
      {"user-name of rule 'r' of listener 'mqtt': a pattern has at most 128 characters",
       [](Model& m) {
         m.listeners[0].rules = {{"r", "emqx", "", "a b", {}}};
       }},
      {"client-id of rule 'r' of listener 'mqtt': a pattern has at most 128 characters",
       [](Model& m) {
         m.listeners[0].rules = {{"r", "emqx", std::string(129, 'a'), "", {}}};
       }},
      {"idle-timeout of listener 'mqtt' is 259201",
       [](Model& m) { m.listeners[0].idle_timeout = std::chrono::seconds(259'201); }},
      {"listener 'mqtt': 0.0.0.0 is not the address of a host",
       [](Model& m) { m.listeners[0].endpoint = endpoint("0.0.0.0:1883"); }},
      {"max-connect of listener 'mqtt' is 127: it must be from 128",
       [](Model& m) { m.listeners[0].max_connect_bytes = 127; }},
      {"connect-deadline of listener 'mqtt' is 99",
       [](Model& m) { m.listeners[0].connect_deadline = milliseconds(99); }},
      {"idle-floor is 0", [](Model& m) { m.settings.idle_floor = seconds(0); }},
      {"idle-max is 119: it must not be below idle-floor, which is 120",
       [](Model& m) { m.settings.idle_max = seconds(119); }},
      {"closing-timeout is 601", [](Model& m) { m.settings.closing_timeout = seconds(601); }},
      {"half-close-timeout is 0", [](Model& m) { m.settings.half_close_timeout = seconds(0); }},
      {"snat-quarantine is 3601", [](Model& m) { m.settings.snat_quarantine = seconds(3601); }},
      {"max-flows is 0", [](Model& m) { m.settings.max_flows = 0; }},
      {"max-connecting is 0", [](Model& m) { m.settings.max_connecting = 0; }},
      {"poll-pause is 0", [](Model& m) { m.settings.poll_pause = microseconds(0); }},
      {"poll-pause is 10001", [](Model& m) { m.settings.poll_pause = microseconds(10'001); }},
      {"rst-per-second is 10000001", [](Model& m) { m.settings.rst_per_second = 10'000'001; }},
  });
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(accepts_valid),
      cmocka_unit_test(accepts_ipv6),
      cmocka_unit_test(ipv6),
      cmocka_unit_test(ports),
      cmocka_unit_test(routes_and_snat),
      cmocka_unit_test(pools),
      cmocka_unit_test(listeners_and_settings),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
