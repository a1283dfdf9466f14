#include "lib/dpdk/rss.hh"

#include <rte_ethdev.h>

#include <algorithm>
#include <bit>

#include "lib/flow/steering.hh"

namespace mqlb::dpdk {
namespace {

// Frames that may come while the table is being written, and such that a device takes for no TCP.
constexpr uint64_t kForgiven = 64;
constexpr size_t kUsualKeyBytes = 40;  // of devices that do not say

// The form in which DPDK has tables.
std::vector<rte_eth_rss_reta_entry64> groups_for(size_t entries) {
  std::vector<rte_eth_rss_reta_entry64> groups((entries + RTE_ETH_RETA_GROUP_SIZE - 1) /
                                               RTE_ETH_RETA_GROUP_SIZE);
  for (size_t i = 0; i < entries; ++i) {
    groups[i / RTE_ETH_RETA_GROUP_SIZE].mask |= uint64_t{1} << i % RTE_ETH_RETA_GROUP_SIZE;
  }
  return groups;
}

}  // namespace

const char* to_string(Spread spread) {
  switch (spread) {
    case Spread::one_core:
      return "one-core";
    case Spread::one_queue:
      return "one-queue";
    case Spread::hand_over:
      return "hand-over";
    case Spread::rss:
      return "rss";
    case Spread::rss_mismatch:
      return "rss-mismatch";
  }
  return "";
}

Spread judge(Spread spread, uint64_t missteered) {
  return spread == Spread::rss && missteered > kForgiven ? Spread::rss_mismatch : spread;
}

bool RssAbility::foretells() const {
  return (functions & RTE_ETH_RSS_NONFRAG_IPV4_TCP) != 0 &&
         key_bytes >= flow::Toeplitz::kKeyBytes && key_bytes <= std::tuple_size_v<RssKey> &&
         std::has_single_bit(entries);
}

RssAbility rss_ability(const rte_eth_dev_info& info) {
  return {info.flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP),
          info.hash_key_size == 0 ? kUsualKeyBytes : info.hash_key_size, info.reta_size};
}

bool EthRssDevice::write_hash(uint64_t functions, std::span<const uint8_t> key) {
  rte_eth_rss_conf conf{};
  conf.rss_key = const_cast<uint8_t*>(key.data());
  conf.rss_key_len = static_cast<uint8_t>(key.size());
  conf.rss_hf = functions;
  return rte_eth_dev_rss_hash_update(port_, &conf) == 0;
}

bool EthRssDevice::read_hash(uint64_t& functions, std::span<uint8_t> key) {
  rte_eth_rss_conf conf{};
  conf.rss_key = key.data();
  conf.rss_key_len = static_cast<uint8_t>(key.size());
  if (rte_eth_dev_rss_hash_conf_get(port_, &conf) != 0) return false;
  functions = conf.rss_hf;
  return true;
}

bool EthRssDevice::write_table(std::span<const uint16_t> queues) {
  auto groups = groups_for(queues.size());
  for (size_t i = 0; i < queues.size(); ++i) {
    groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] = queues[i];
  }
  return rte_eth_dev_rss_reta_update(port_, groups.data(), static_cast<uint16_t>(queues.size())) ==
         0;
}

bool EthRssDevice::read_table(std::span<uint16_t> queues) {
  auto groups = groups_for(queues.size());
  if (rte_eth_dev_rss_reta_query(port_, groups.data(), static_cast<uint16_t>(queues.size())) != 0) {
    return false;
  }
  for (size_t i = 0; i < queues.size(); ++i) {
    queues[i] = groups[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE];
  }
  return true;
}

std::vector<uint16_t> rss_table(size_t entries, size_t period, uint16_t queues) {
  std::vector<uint16_t> table(entries);
  for (size_t i = 0; i < entries; ++i) table[i] = static_cast<uint16_t>(i % period % queues);
  return table;
}

// A device that refuses to be written may have what was asked for all the same: from its
// configuration before the start. What it says in the end counts.
Spread program_rss(RssDevice& device, const RssAbility& ability, std::span<const uint8_t> key,
                   std::span<const uint16_t> table) {
  device.write_hash(ability.functions, key);
  device.write_table(table);
  uint64_t functions = 0;
  std::vector<uint8_t> key_there(key.size());
  std::vector<uint16_t> table_there(table.size(), UINT16_MAX);
  if (!device.read_hash(functions, key_there) || !device.read_table(table_there)) {
    return Spread::hand_over;
  }
  const bool same = (functions & RTE_ETH_RSS_NONFRAG_IPV4_TCP) != 0 &&
                    std::equal(key.begin(), key.end(), key_there.begin()) &&
                    std::equal(table.begin(), table.end(), table_there.begin());
  return same ? Spread::rss : Spread::rss_mismatch;
}

}  // namespace mqlb::dpdk
