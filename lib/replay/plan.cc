#include "lib/replay/plan.hh"

#include <algorithm>
#include <set>

#include "lib/replay/script.hh"

namespace mqlb::replay {
namespace {

base::Result<wire::Endpoint> choose_target(const wire::Endpoint& captured,
                                           const PlayOptions& options,
                                           const std::vector<wire::Endpoint>& listeners) {
  if (options.target) return *options.target;
  if (std::find(listeners.begin(), listeners.end(), captured) != listeners.end()) return captured;
  std::vector<wire::Endpoint> same_port;
  std::copy_if(listeners.begin(), listeners.end(), std::back_inserter(same_port),
               [&](const wire::Endpoint& l) { return l.port == captured.port; });
  if (same_port.size() == 1) return same_port[0];
  // A service that is offered over both families has a listener for each.
  std::erase_if(same_port, [&](const wire::Endpoint& l) {
    return family_of(l.address) != family_of(captured.address);
  });
  if (same_port.size() == 1) return same_port[0];
  if (listeners.size() == 1) return listeners[0];
  return base::fail("which listener stands for the captured server " + wire::to_string(captured) +
                    "? (--target ADDRESS:PORT)");
}

wire::Prefix prefix(const char* text) { return *wire::Prefix::parse(text); }

// Whether a captured client can be played from its own address: those of a loopback, and in IPv6 of
// one link or of no host, lead nowhere from here.
bool is_usable(const wire::IpAddress& address) {
  static const wire::Prefix loopback = prefix("127.0.0.0/8");
  static const wire::Prefix loopback_v6 = prefix("::1/128");
  static const wire::Prefix link_local = prefix("fe80::/10");
  if (address.is_v4()) return !loopback.contains(address);
  return !loopback_v6.contains(address) && !link_local.contains(address) &&
         !address.is_multicast_or_broadcast() && !address.is_unspecified();
}

// Gives out addresses of one family: to each captured client of each multiple one, and a port that
// is free there.
class Addresses {
 public:
  Addresses(const PlayOptions& options, Family family)
      : family_(family),
        keep_(!options.client_network && options.clients == 1),
        hosts_(options.client_network.value_or(spare_network(family))) {}

  // Where a captured client's place is; the same each time.
  base::Result<wire::Endpoint> place(const wire::Endpoint& captured, uint32_t client) {
    const auto known = places_.find({captured, client});
    if (known != places_.end()) return known->second;
    auto local = fresh(captured, client);
    if (local) places_.emplace(std::pair(captured, client), *local);
    return local;
  }

  // Its address with a port that nobody has used.
  base::Result<wire::Endpoint> fresh(const wire::Endpoint& captured, uint32_t client) {
    wire::IpAddress address = captured.address;
    if (!keep_ || family_of(address) != family_ || !is_usable(address)) {
      const auto [known, added] = of_client_.try_emplace({captured.address, client}, next_);
      if (added) ++next_;
      address = hosts_[known->second];
    }
    auto [it, _] = next_port_.try_emplace({address, captured.port}, captured.port);
    for (uint32_t tries = 0; tries < 65536; ++tries) {
      const uint16_t port = it->second++;
      if (port != 0 && used_.insert({address, port}).second) return wire::Endpoint{address, port};
    }
    return base::fail("no addresses and ports left for clients: --client-network must be larger");
  }

 private:
  Family family_;
  bool keep_;
  HostAddresses hosts_;
  uint32_t next_ = 0;
  std::map<std::pair<wire::IpAddress, uint32_t>, uint32_t> of_client_;
  std::map<std::pair<wire::Endpoint, uint32_t>, wire::Endpoint> places_;
  std::map<wire::Endpoint, uint16_t> next_port_;
  std::set<wire::Endpoint> used_;
};

// Which recording came to its end before another of the same client, or is played from the same
// address and port to the same target. Played faster, or with longer waits, that must stay so.
std::vector<std::optional<size_t>> predecessors(const std::vector<Recording>& recordings,
                                                const std::vector<wire::Endpoint>& targets) {
  std::vector<std::optional<size_t>> out(recordings.size());
  std::map<std::string, size_t> last_of_id;
  std::map<std::pair<wire::Endpoint, wire::Endpoint>, size_t> last_of_addresses;
  const auto end = [&](size_t i) {
    const std::vector<Step>& steps = recordings[i].client.steps;
    return recordings[i].begins + (steps.empty() ? base::Duration(0) : steps.back().at);
  };
  for (size_t i = 0; i < recordings.size(); ++i) {
    const Recording& r = recordings[i];
    const std::string id = identify(r.client.stream).client_id;
    if (!id.empty()) {
      const auto [known, added] = last_of_id.try_emplace(id, i);
      if (!added && end(known->second) <= r.begins) out[i] = known->second;
      known->second = i;
    }
    const auto [known, added] = last_of_addresses.try_emplace({r.client.endpoint, targets[i]}, i);
    if (!added) out[i] = std::max(out[i].value_or(0), known->second);
    known->second = i;
  }
  return out;
}

// When a recording begins: without gaps, what came one after the other still does so.
base::Duration begin_time(const Recording& r, size_t index, double speed) {
  if (speed <= 0) return base::Duration(static_cast<int64_t>(index));
  return base::Duration(static_cast<int64_t>(static_cast<double>(r.begins.count()) / speed));
}

// Where each recording is played to.
base::Result<std::vector<wire::Endpoint>> choose_targets(
    const std::vector<Recording>& recordings, const PlayOptions& options,
    const std::vector<wire::Endpoint>& listeners) {
  const auto& network = options.client_network;
  std::vector<wire::Endpoint> targets;
  for (const Recording& r : recordings) {
    const auto target = choose_target(r.server.endpoint, options, listeners);
    if (!target) return tl::unexpected(target.error());
    if (network && family_of(network->address) != family_of(target->address)) {
      return base::fail("--client-network: clients of " + wire::to_string(*target) +
                        " cannot have addresses of " + wire::to_string(*network));
    }
    targets.push_back(*target);
  }
  return targets;
}

}  // namespace

wire::Prefix spare_network(Family family) {
  return prefix(family == Family::ipv4 ? "198.18.128.0/17" : "2001:db8:ffff::/64");
}

HostAddresses::HostAddresses(const wire::Prefix& network)
    : network_(network.address.octets()), is_v4_(network.address.is_v4()) {
  const unsigned length = network.length + (is_v4_ ? 96U : 0U);
  for (unsigned bit = length; bit < 128; ++bit) {
    network_[bit / 8] &= static_cast<uint8_t>(~(0x80U >> (bit % 8)));
  }
  // More than 2^32 are never asked for.
  count_ = uint64_t{1} << std::min(128 - length, 32U);
  if (count_ <= 2) return;  // RFC 3021, RFC 6164: a link between two
  // Neither the network's own address, in IPv6 that of its routers (RFC 4291 section 2.6.1), nor
  // its broadcast, which IPv6 does not have.
  first_ = 1;
  count_ -= is_v4_ ? 2 : 1;
}

wire::IpAddress HostAddresses::operator[](uint32_t n) const {
  std::array<uint8_t, 16> octets = network_;
  uint8_t* low = octets.data() + 12;
  base::store_be32(low, base::load_be32(low) | static_cast<uint32_t>(first_ + n % count_));
  return wire::IpAddress::load_v6(octets.data());
}

base::Result<std::vector<Planned>> make_plan(const Capture& capture, const PlayOptions& options,
                                             const std::vector<wire::Endpoint>& listeners) {
  const std::vector<Recording>& recordings = capture.recordings;
  const auto targets = choose_targets(recordings, options, listeners);
  if (!targets) return tl::unexpected(targets.error());
  Addresses of_ipv4(options, Family::ipv4);
  Addresses of_ipv6(options, Family::ipv6);
  const std::vector<std::optional<size_t>> before = predecessors(recordings, *targets);
  const double gap = static_cast<double>(recordings.size()) * 1e6 / options.rate;
  std::vector<Planned> plan;
  for (uint32_t client = 0; client < options.clients; ++client) {
    const auto wait = base::Duration(static_cast<int64_t>(static_cast<double>(client) * gap));
    const size_t first = plan.size();
    for (size_t i = 0; i < recordings.size(); ++i) {
      const wire::Endpoint& captured = recordings[i].client.endpoint;
      const wire::Endpoint& target = (*targets)[i];
      Addresses& addresses = target.address.is_v4() ? of_ipv4 : of_ipv6;
      for (uint32_t n = 0; n < options.repeat; ++n) {
        auto local = n == 0 ? addresses.place(captured, client) : addresses.fresh(captured, client);
        if (!local) return tl::unexpected(local.error());
        Planned p{i,      client, wait + begin_time(recordings[i], i, options.speed), std::nullopt,
                  *local, target};
        if (n > 0) {
          p.after = plan.size() - 1;
        } else if (before[i]) {
          p.after = first + *before[i] * options.repeat + (options.repeat - 1);
        }
        plan.push_back(p);
      }
    }
  }
  return plan;
}

}  // namespace mqlb::replay
