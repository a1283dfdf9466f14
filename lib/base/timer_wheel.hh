// Timers for the few connections that are being opened: a hashed wheel with one slot a millisecond
// (Varghese and Lauck, 1987, scheme 6).
//
// Intrusive: a timed object derives from TimerNode, and the wheel owns nothing. Arming, moving and
// stopping cost O(1). One thread. (rte_timer reads the TSC itself, so it cannot run on a virtual
// clock.)
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lib/base/time.hh"

namespace mqlb::base {

struct TimerNode {
  TimerNode* previous = nullptr;  // null: not armed
  TimerNode* next = nullptr;
  int64_t due = 0;  // tick, milliseconds
};

class TimerWheel {
 public:
  TimerWheel() : slots_(kSlots) {
    for (TimerNode& head : slots_) head.previous = head.next = &head;
  }
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Due at the first millisecond tick at or after `when`.
  void arm(TimerNode& node, Instant when) {
    stop(node);
    node.due = std::max(tick_of(when + Duration(999)), now_ + 1);
    link(node);
  }
  void stop(TimerNode& node) {
    if (node.previous == nullptr) return;
    node.previous->next = node.next;
    node.next->previous = node.previous;
    node.previous = node.next = nullptr;
  }
  // Calls due(node) for every timer that is due, unarmed before the call; due may arm timers.
  template <typename Due>
  void advance(Instant now, Due&& due) {
    const int64_t target = tick_of(now);
    // After a pause longer than the wheel each slot is visited once.
    int64_t from = std::max(now_ + 1, target - static_cast<int64_t>(kSlots) + 1);
    for (; from <= target; ++from) {
      now_ = from;
      expire(slots_[static_cast<size_t>(from) % kSlots], target, due);
    }
    now_ = std::max(now_, target);
  }

 private:
  static constexpr size_t kSlots = 4096;

  static int64_t tick_of(Instant t) { return t.time_since_epoch().count() / 1000; }

  void link(TimerNode& node) {
    TimerNode& head = slots_[static_cast<size_t>(node.due) % kSlots];
    node.previous = head.previous;
    node.next = &head;
    head.previous->next = &node;
    head.previous = &node;
  }

  template <typename Due>
  void expire(TimerNode& head, int64_t target, Due&& due) {
    // Taken off first, so that timers armed meanwhile for this slot wait for the next round.
    TimerNode batch;
    batch.previous = batch.next = &batch;
    if (head.next == &head) return;
    batch.next = head.next;
    batch.previous = head.previous;
    batch.next->previous = &batch;
    batch.previous->next = &batch;
    head.previous = head.next = &head;
    while (batch.next != &batch) {
      TimerNode& node = *batch.next;
      stop(node);
      if (node.due <= target) {
        due(node);
      } else {
        link(node);
      }
    }
  }

  int64_t now_ = 0;
  std::vector<TimerNode> slots_;
};

}  // namespace mqlb::base
