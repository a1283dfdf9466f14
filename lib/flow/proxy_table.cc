#include "lib/flow/proxy_table.hh"

#include <rte_malloc.h>

namespace mqlb::flow {

void ProxyTable::DpdkDeleter::operator()(void* p) const { rte_free(p); }

base::Result<ProxyTable> ProxyTable::create(uint32_t capacity) {
  ProxyTable table;
  table.capacity_ = capacity;
  table.records_.reset(static_cast<ProxyFlow*>(
      rte_zmalloc("mqlb_proxy_flows", size_t{capacity} * sizeof(ProxyFlow), 64)));
  table.guards_.reset(
      static_cast<Guard*>(rte_zmalloc("mqlb_guards", size_t{capacity} * sizeof(Guard), 64)));
  if (!table.records_ || !table.guards_) {
    return base::fail("no memory for " + std::to_string(capacity) +
                      " broker flows (more DPDK memory: -m, or hugepages)");
  }
  return table;
}

FlowIndex ProxyTable::take() {
  FlowIndex index = free_head_;
  if (index != kNoFlow) {
    free_head_ = records_[index].worker_flow;
  } else if (never_used_ < capacity_) {
    index = never_used_++;
  } else {
    return kNoFlow;
  }
  records_[index] = ProxyFlow{};
  ++size_;
  return index;
}

void ProxyTable::give_back(FlowIndex index) {
  records_[index].state = ProxyState::free;
  records_[index].worker_flow = free_head_;
  free_head_ = index;
  --size_;
}

}  // namespace mqlb::flow
