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
  if (listeners.size() == 1) return listeners[0];
  return base::fail("which listener stands for the captured server " + wire::to_string(captured) +
                    "? (--target ADDRESS:PORT)");
}

bool is_loopback(const wire::IpAddress& address) { return address.v4_bits() >> 24 == 127; }

// Gives out addresses: to each captured client of each multiple one, and a port that is free there.
class Addresses {
 public:
  Addresses(const PlayOptions& options, bool keep) : keep_(keep) {
    const wire::Prefix spare{wire::IpAddress::v4(kSpareNetwork), kSpareLength};
    const wire::Prefix network = options.client_network.value_or(spare);
    const uint32_t hosts = network.length >= 32 ? 1 : (1U << (32 - network.length));
    first_ = network.address.v4_bits() & ~(hosts - 1);
    // Neither the network's own address nor its broadcast.
    if (hosts > 2) {
      ++first_;
      hosts_ = hosts - 2;
    } else {
      hosts_ = hosts;
    }
  }

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
    if (!keep_ || !address.is_v4() || is_loopback(address)) {
      const auto [known, added] = of_client_.try_emplace({captured.address, client}, next_);
      if (added) ++next_;
      address = wire::IpAddress::v4(first_ + known->second % hosts_);
    }
    auto [it, _] = next_port_.try_emplace({address, captured.port}, captured.port);
    for (uint32_t tries = 0; tries < 65536; ++tries) {
      const uint16_t port = it->second++;
      if (port != 0 && used_.insert({address, port}).second) return wire::Endpoint{address, port};
    }
    return base::fail("no addresses and ports left for clients: --client-network must be larger");
  }

 private:
  bool keep_;
  uint32_t first_ = 0;
  uint32_t hosts_ = 1;
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

}  // namespace

base::Result<std::vector<Planned>> make_plan(const Capture& capture, const PlayOptions& options,
                                             const std::vector<wire::Endpoint>& listeners) {
  if (options.client_network && !options.client_network->address.is_v4()) {
    return base::fail("--client-network: clients are played over IPv4 only");
  }
  const std::vector<Recording>& recordings = capture.recordings;
  Addresses addresses(options, !options.client_network && options.clients == 1);
  std::vector<wire::Endpoint> targets;
  for (const Recording& r : recordings) {
    auto target = choose_target(r.server.endpoint, options, listeners);
    if (!target) return tl::unexpected(target.error());
    if (!target->address.is_v4()) return base::fail("clients are played over IPv4 only");
    targets.push_back(*target);
  }
  const std::vector<std::optional<size_t>> before = predecessors(recordings, targets);
  const double gap = static_cast<double>(recordings.size()) * 1e6 / options.rate;
  std::vector<Planned> plan;
  for (uint32_t client = 0; client < options.clients; ++client) {
    const auto wait = base::Duration(static_cast<int64_t>(static_cast<double>(client) * gap));
    const size_t first = plan.size();
    for (size_t i = 0; i < recordings.size(); ++i) {
      const wire::Endpoint& captured = recordings[i].client.endpoint;
      for (uint32_t n = 0; n < options.repeat; ++n) {
        auto local = n == 0 ? addresses.place(captured, client) : addresses.fresh(captured, client);
        if (!local) return tl::unexpected(local.error());
        Planned p{
            i,      client,    wait + begin_time(recordings[i], i, options.speed), std::nullopt,
            *local, targets[i]};
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
