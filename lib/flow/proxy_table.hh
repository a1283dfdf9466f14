// A proxy's flow records: a fixed array with a free list. Owner: one proxy core.
#pragma once

#include <cstdint>
#include <memory>

#include "lib/base/result.hh"
#include "lib/flow/record.hh"

namespace mqlb::flow {

// With kGuard: what the client saw acknowledged before the splice, in client space. An ACK below it
// is a late one, as long as there can be any: until far more is acknowledged, or time has passed.
struct Guard {
  base::Seq32 known_ack;
  uint32_t since = 0;  // seconds
};

class ProxyTable {
 public:
  // Memory is taken at once, from DPDK's heap.
  [[nodiscard]] static base::Result<ProxyTable> create(uint32_t capacity);

  // A fresh record in state `free`, or kNoFlow when all are taken.
  [[nodiscard]] FlowIndex take();
  void give_back(FlowIndex index);

  [[nodiscard]] ProxyFlow& operator[](FlowIndex index) { return records_[index]; }
  [[nodiscard]] const ProxyFlow& operator[](FlowIndex index) const { return records_[index]; }
  [[nodiscard]] Guard& guard(FlowIndex index) { return guards_[index]; }
  [[nodiscard]] uint32_t capacity() const { return capacity_; }
  [[nodiscard]] uint32_t size() const { return size_; }

 private:
  struct DpdkDeleter {
    void operator()(void* p) const;
  };
  ProxyTable() = default;

  std::unique_ptr<ProxyFlow[], DpdkDeleter> records_;
  std::unique_ptr<Guard[], DpdkDeleter> guards_;
  uint32_t capacity_ = 0;
  uint32_t size_ = 0;
  uint32_t never_used_ = 0;        // records from here on were never taken
  FlowIndex free_head_ = kNoFlow;  // linked through worker_flow
};

}  // namespace mqlb::flow
