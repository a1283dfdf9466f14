// Pools.
#include "lib/cli/command.hh"
#include "lib/cli/lookup.hh"

namespace mqlb::cli {
namespace {

using base::Result;
using config::Model;
using std::chrono::milliseconds;

Result<void> add_pool(Model& model, const Args& args) {
  if (find(model.pools, args.text("NAME"))) return exists("pool", args.text("NAME"));
  config::Pool pool;
  pool.name = args.text("NAME");
  pool.snat = args.text("SNAT");
  model.pools.push_back(std::move(pool));
  return {};
}

Result<void> remove_pool(Model& model, const Args& args) {
  return remove(model.pools, "pool", args.text("POOL"));
}

config::KeyPolicy key_policy(const Args& args) {
  using enum config::KeyPolicy;
  return args.choice(
      "KEY", {client_id, user_name, source_address, spread, round_robin, least_connections});
}

Result<void> set_key(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.key = key_policy(args); });
}

Result<void> set_fallback(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.fallback = key_policy(args); });
}

Result<void> set_proxy_protocol(Model& model, const Args& args) {
  using config::ProxyProtocol;
  return set_pool(model, args, [&](config::Pool& p) {
    p.proxy_protocol =
        args.choice("VERSION", {ProxyProtocol::none, ProxyProtocol::v1, ProxyProtocol::v2});
  });
}

Result<void> set_proxy_crc32c(Model& model, const Args& args) {
  return set_pool(model, args,
                  [&](config::Pool& p) { p.proxy_crc32c = args.text("SWITCH") == "on"; });
}

Result<void> set_proxy_unique_id(Model& model, const Args& args) {
  return set_pool(model, args,
                  [&](config::Pool& p) { p.proxy_unique_id = args.text("SWITCH") == "on"; });
}

Result<void> set_table_size(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.table_size = args.number<uint32_t>("N"); });
}

Result<void> set_hash_seed(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) { p.hash_seed = args.number<uint64_t>("N"); });
}

Result<void> set_connect_tries(Model& model, const Args& args) {
  return set_pool(model, args,
                  [&](config::Pool& p) { p.connect_tries = args.number<uint32_t>("N"); });
}

Result<void> set_connect_timeout(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) {
    p.connect_timeout = args.duration<milliseconds>("MILLISECONDS");
  });
}

Result<void> set_answer_timeout(Model& model, const Args& args) {
  return set_pool(model, args, [&](config::Pool& p) {
    p.answer_timeout = args.duration<milliseconds>("MILLISECONDS");
  });
}

}  // namespace

std::vector<Command> pool_commands() {
  constexpr Where anywhere = Where::anywhere;
  return {
      {"pool add NAME:name snat SNAT:snat", "adds a pool of backends, reached from a SNAT pool",
       anywhere, add_pool},
      {"pool remove POOL:pool", "removes a pool and its backends", anywhere, remove_pool},
      {"pool set POOL:pool key "
       "KEY:client-id|user-name|source-address|spread|round-robin|least-connections",
       "what picks a client's backend; spread: its whole address and port", anywhere, set_key},
      {"pool set POOL:pool fallback "
       "KEY:client-id|user-name|source-address|spread|round-robin|least-connections",
       "what picks the backend of a client whose key is empty", anywhere, set_fallback},
      {"pool set POOL:pool proxy-protocol VERSION:none|v1|v2", "the PROXY header that backends get",
       anywhere, set_proxy_protocol},
      {"pool set POOL:pool proxy-crc32c SWITCH:on|off", "puts a CRC32C into the v2 header",
       anywhere, set_proxy_crc32c},
      {"pool set POOL:pool proxy-unique-id SWITCH:on|off", "puts a UNIQUE_ID into the v2 header",
       anywhere, set_proxy_unique_id},
      {"pool set POOL:pool table-size N:table-size", "slots of the Maglev table, a prime", anywhere,
       set_table_size},
      {"pool set POOL:pool hash-seed N:hash-seed", "seed of the hash over keys", anywhere,
       set_hash_seed},
      {"pool set POOL:pool connect-tries N:connect-tries", "backends tried for one client",
       anywhere, set_connect_tries},
      {"pool set POOL:pool connect-timeout MILLISECONDS:connect-timeout",
       "time for one try to connect", anywhere, set_connect_timeout},
      {"pool set POOL:pool answer-timeout MILLISECONDS:answer-timeout",
       "time from there to a backend's first byte; 0: any", anywhere, set_answer_timeout},
  };
}

}  // namespace mqlb::cli
