#include "lib/cli/model_text.hh"

#include <type_traits>

#include "lib/cli/lookup.hh"

namespace mqlb::cli {
namespace {

using config::Model;

std::string text(const std::string& word) { return word; }
std::string text(bool on) { return on ? "on" : "off"; }
template <typename Integer>
requires std::is_integral_v<Integer> std::string text(Integer n) { return std::to_string(n); }
template <typename Rep, typename Period>
std::string text(std::chrono::duration<Rep, Period> d) {
  return std::to_string(d.count());
}
template <typename T>
requires std::is_enum_v<T> std::string text(T value) { return std::string(to_string(value)); }

// "PREFIX VALUE" unless the value is the default.
template <typename T>
void put_set(std::string& out, const std::string& prefix, const T& value, const T& standard) {
  if (value != standard) out += prefix + " " + text(value) + "\n";
}

void put_ports(std::string& out, const Model& model) {
  for (const config::Port& port : model.ports) {
    out += "port add " + port.name + " device " + port.device + " role " + text(port.role) + "\n";
    put_set(out, "port set " + port.name + " mtu", port.mtu, config::Port{}.mtu);
  }
  for (const config::Core& core : model.cores) {
    out += "core add " + text(core.lcore) + " role " + text(core.role) + "\n";
  }
  for (const config::Port& port : model.ports) {
    for (const wire::Prefix& own : port.addresses) {
      out += "address add " + port.name + " " + to_string(own) + "\n";
    }
  }
  for (const config::Route& route : model.routes) {
    out += "route add " + to_string(route.prefix) + " via " + to_string(route.gateway) + "\n";
  }
}

// Addresses that follow each other as one range.
void put_snat(std::string& out, const config::SnatPool& pool) {
  const std::string add = "snat add " + pool.name;
  for (size_t i = 0; i < pool.addresses.size();) {
    size_t last = i;
    while (last + 1 < pool.addresses.size() &&
           pool.addresses[last + 1] == successor(pool.addresses[last]) &&
           pool.addresses[last + 1].is_v4() == pool.addresses[i].is_v4()) {
      ++last;
    }
    const std::string first = to_string(pool.addresses[i]);
    out += last == i ? add + " address " + first + "\n"
                     : add + " range " + first + " " + to_string(pool.addresses[last]) + "\n";
    i = last + 1;
  }
  const config::SnatPool standard;
  if (pool.first_port != standard.first_port || pool.last_port != standard.last_port) {
    out += "snat set " + pool.name + " ports " + text(pool.first_port) + " " +
           text(pool.last_port) + "\n";
  }
}

void put_check(std::string& out, const std::string& set, const config::Check& check) {
  const config::Check standard;
  put_set(out, set + "check", check.kind, standard.kind);
  put_set(out, set + "check-interval", check.interval, standard.interval);
  put_set(out, set + "check-timeout", check.timeout, standard.timeout);
  put_set(out, set + "check-rise", check.rise, standard.rise);
  put_set(out, set + "check-fall", check.fall, standard.fall);
  put_set(out, set + "check-initial", check.initial, standard.initial);
  put_set(out, set + "check-mqtt-version", check.mqtt_version, standard.mqtt_version);
  put_set(out, set + "check-user", check.user, standard.user);
  put_set(out, set + "check-password", check.password, standard.password);
  put_set(out, set + "check-client-id", check.client_id, standard.client_id);
  put_set(out, set + "check-http-port", check.http_port, standard.http_port);
  put_set(out, set + "check-http-path", check.http_path, standard.http_path);
  put_set(out, set + "check-http-status", check.http_status, standard.http_status);
}

void put_backend(std::string& out, const config::Pool& pool, const config::Backend& b) {
  const config::Backend standard;
  const std::string set = "backend set " + pool.name + " " + b.name + " ";
  out += "backend add " + pool.name + " " + b.name + " " + to_string(b.endpoint);
  if (b.weight != standard.weight) out += " weight " + text(b.weight);
  out += "\n";
  if (b.state == config::AdminState::drain) {
    out += set + "state drain" + (b.drain_rate > 0 ? " rate " + text(b.drain_rate) : "") + "\n";
  } else {
    put_set(out, set + "state", b.state, standard.state);
  }
  put_set(out, set + "backup", b.backup, standard.backup);
  put_set(out, set + "max-connections", b.max_connections, standard.max_connections);
}

void put_pool(std::string& out, const config::Pool& pool) {
  const config::Pool standard;
  const std::string set = "pool set " + pool.name + " ";
  out += "pool add " + pool.name + " snat " + pool.snat + "\n";
  put_set(out, set + "key", pool.key, standard.key);
  put_set(out, set + "fallback", pool.fallback, standard.fallback);
  put_set(out, set + "proxy-protocol", pool.proxy_protocol, standard.proxy_protocol);
  put_set(out, set + "proxy-crc32c", pool.proxy_crc32c, standard.proxy_crc32c);
  put_set(out, set + "proxy-unique-id", pool.proxy_unique_id, standard.proxy_unique_id);
  put_set(out, set + "table-size", pool.table_size, standard.table_size);
  put_set(out, set + "hash-seed", pool.hash_seed, standard.hash_seed);
  put_set(out, set + "connect-tries", pool.connect_tries, standard.connect_tries);
  put_set(out, set + "connect-timeout", pool.connect_timeout, standard.connect_timeout);
  put_set(out, set + "answer-timeout", pool.answer_timeout, standard.answer_timeout);
  put_check(out, set, pool.check);
  put_set(out, set + "slow-start", pool.slow_start, standard.slow_start);
  put_set(out, set + "load-factor", pool.load_factor, standard.load_factor);
  put_set(out, set + "close-rate", pool.close_rate, standard.close_rate);
  put_set(out, set + "close-on-down", pool.close_on_down, standard.close_on_down);
  put_set(out, set + "max-fails", pool.max_fails, standard.max_fails);
  put_set(out, set + "fail-timeout", pool.fail_timeout, standard.fail_timeout);
  for (const config::Backend& b : pool.backends) put_backend(out, pool, b);
}

// The first condition makes the rule, the others are added to it.
void put_rule(std::string& out, const config::Listener& listener, const config::Rule& rule) {
  std::vector<std::string> conditions;
  if (!rule.client_id.empty()) conditions.push_back("client-id " + rule.client_id);
  if (!rule.user_name.empty()) conditions.push_back("user-name " + rule.user_name);
  if (rule.version) conditions.push_back("protocol " + text(*rule.version));
  const std::string name = listener.name + " " + rule.name + " ";
  out += "rule add " + name + conditions[0] + " pool " + rule.pool + "\n";
  for (size_t i = 1; i < conditions.size(); ++i) out += "rule set " + name + conditions[i] + "\n";
}

void put_rate(std::string& out, const std::string& prefix, const config::RateLimit& limit) {
  if (limit == config::RateLimit{}) return;
  out += prefix + " " + to_text(limit) + "\n";
}

void put_admission(std::string& out, const std::string& set, const config::Listener& listener) {
  const config::Admission& a = listener.admission;
  const config::Admission standard;
  put_set(out, set + "max-connections", a.max_connections, standard.max_connections);
  put_rate(out, set + "connect-rate", a.connect_rate);
  put_set(out, set + "source-connections", a.source_connections, standard.source_connections);
  put_rate(out, set + "source-rate", a.source_rate);
  if (a.source_v4_bits != standard.source_v4_bits || a.source_v6_bits != standard.source_v6_bits) {
    out += set + "source-prefix " + text(a.source_v4_bits) + " " + text(a.source_v6_bits) + "\n";
  }
  if (a.client_id_connects != standard.client_id_connects ||
      a.client_id_period != standard.client_id_period) {
    out += set + "client-id-rate " + client_id_rate_text(a) + "\n";
  }
  put_set(out, set + "refuse", a.refuse, standard.refuse);
  for (const wire::Prefix& p : a.allow) {
    out += "allow add " + listener.name + " " + to_string(p) + "\n";
  }
  for (const wire::Prefix& p : a.deny) {
    out += "deny add " + listener.name + " " + to_string(p) + "\n";
  }
}

void put_listener(std::string& out, const config::Listener& listener) {
  const config::Listener standard;
  const std::string set = "listener set " + listener.name + " ";
  out += "listener add " + listener.name + " " + to_string(listener.endpoint) + " pool " +
         listener.pool + "\n";
  put_set(out, set + "max-connect", listener.max_connect_bytes, standard.max_connect_bytes);
  put_set(out, set + "connect-deadline", listener.connect_deadline, standard.connect_deadline);
  put_set(out, set + "mode", listener.mode, standard.mode);
  put_set(out, set + "idle-timeout", listener.idle_timeout, standard.idle_timeout);
  put_admission(out, set, listener);
  for (const config::Rule& rule : listener.rules) put_rule(out, listener, rule);
}

void put_settings(std::string& out, const config::Settings& s) {
  const config::Settings standard;
  put_set(out, "set poll", s.poll, standard.poll);
  put_set(out, "set poll-pause", s.poll_pause, standard.poll_pause);
  put_set(out, "set idle-floor", s.idle_floor, standard.idle_floor);
  put_set(out, "set idle-max", s.idle_max, standard.idle_max);
  put_set(out, "set closing-timeout", s.closing_timeout, standard.closing_timeout);
  put_set(out, "set half-close-timeout", s.half_close_timeout, standard.half_close_timeout);
  put_set(out, "set snat-quarantine", s.snat_quarantine, standard.snat_quarantine);
  put_set(out, "set max-flows", s.max_flows, standard.max_flows);
  put_set(out, "set max-connecting", s.max_connecting, standard.max_connecting);
  put_set(out, "set rst-per-second", s.rst_per_second, standard.rst_per_second);
}

}  // namespace

std::string to_commands(const Model& model) {
  std::string out;
  put_ports(out, model);
  for (const config::SnatPool& pool : model.snat_pools) put_snat(out, pool);
  for (const config::Pool& pool : model.pools) put_pool(out, pool);
  for (const config::Listener& listener : model.listeners) put_listener(out, listener);
  put_settings(out, model.settings);
  return out;
}

std::string to_text(const config::RateLimit& limit) {
  return text(limit.rate) + (limit.burst == 0 ? "" : " burst " + text(limit.burst));
}

std::string client_id_rate_text(const config::Admission& a) {
  return text(a.client_id_connects) + " per " + text(a.client_id_period);
}

}  // namespace mqlb::cli
