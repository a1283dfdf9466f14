// Objects of the model by name, and steps through addresses, for the handlers of commands.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "lib/base/result.hh"
#include "lib/cli/command.hh"
#include "lib/wire/address.hh"

namespace mqlb::cli {

template <typename Object>
Object* find(std::vector<Object>& objects, const std::string& name) {
  const auto i =
      std::find_if(objects.begin(), objects.end(), [&](const Object& o) { return o.name == name; });
  return i == objects.end() ? nullptr : &*i;
}

[[nodiscard]] inline tl::unexpected<base::Error> missing(const std::string& kind,
                                                         const std::string& name) {
  return base::fail("there is no " + kind + " '" + name + "'");
}

[[nodiscard]] inline tl::unexpected<base::Error> exists(const std::string& kind,
                                                        const std::string& name) {
  return base::fail(kind + " '" + name + "' exists already");
}

template <typename Object>
[[nodiscard]] base::Result<void> remove(std::vector<Object>& objects, const std::string& kind,
                                        const std::string& name) {
  if (std::erase_if(objects, [&](const Object& o) { return o.name == name; }) > 0) return {};
  return missing(kind, name);
}

// One setting of the pool that the command names.
template <typename Change>
[[nodiscard]] base::Result<void> set_pool(config::Model& model, const Args& args, Change change) {
  config::Pool* pool = find(model.pools, args.text("POOL"));
  if (!pool) return missing("pool", args.text("POOL"));
  change(*pool);
  return {};
}

// One setting of the backend that the command names.
template <typename Change>
[[nodiscard]] base::Result<void> set_backend(config::Model& model, const Args& args,
                                             Change change) {
  config::Pool* pool = find(model.pools, args.text("POOL"));
  if (!pool) return missing("pool", args.text("POOL"));
  config::Backend* backend = find(pool->backends, args.text("BACKEND"));
  if (!backend) return missing("backend of pool '" + pool->name + "'", args.text("BACKEND"));
  change(*backend);
  return {};
}

// The address after this one; the first of all after the last.
[[nodiscard]] inline wire::IpAddress successor(const wire::IpAddress& address) {
  std::array<uint8_t, 16> octets = address.octets();
  for (size_t i = octets.size(); i-- > 0;) {
    if (++octets[i] != 0) break;
  }
  return wire::IpAddress::load_v6(octets.data());
}

}  // namespace mqlb::cli
