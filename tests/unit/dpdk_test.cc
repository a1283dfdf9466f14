// The shell around the engine, as far as it works without the EAL: sleeping and being woken.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <thread>

#include "lib/dpdk/bell.hh"
#include "lib/dpdk/port_sockets.hh"
#include "tests/support/cmocka.hh"

namespace {

using mqlb::dpdk::Bell;
using mqlb::dpdk::PortSockets;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kLong{900};  // never reached where something wakes
constexpr milliseconds kShort{5};

struct Waited {
  bool good;
  bool over;  // nothing woke it
};

Waited wait(Bell& bell, milliseconds most) {
  const auto begin = steady_clock::now();
  const bool good = bell.wait(most);
  return {good, steady_clock::now() - begin >= most};
}

std::unique_ptr<Bell> make_bell() {
  auto bell = Bell::create();
  assert_true(bell.has_value());
  return std::move(*bell);
}

void test_rings(void**) {
  const struct {
    const char* what;
    bool announced, withdrawn;
    unsigned rings;
    bool wakes;
  } rows[] = {
      {"nobody rings", true, false, 0, false},
      {"one rings", true, false, 1, true},
      {"several ring", true, false, 3, true},
      {"nobody sleeps yet", false, false, 1, false},
      {"nobody sleeps any more", true, true, 1, false},
  };
  for (const auto& row : rows) {
    print_message("  %s\n", row.what);
    auto bell = make_bell();
    if (row.announced) bell->announce();
    if (row.withdrawn) bell->withdraw();
    assert_int_equal(bell->announced(), row.announced && !row.withdrawn);
    for (unsigned i = 0; i < row.rings; ++i) bell->ring();
    const Waited first = wait(*bell, row.wakes ? kLong : kShort);
    assert_true(first.good);
    assert_int_equal(first.over, !row.wakes);
    assert_true(wait(*bell, kShort).over);  // each ring wakes once
  }
}

void test_sockets(void**) {
  int pair[2];
  assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  auto bell = make_bell();
  bell->watch(pair[0]);
  assert_true(wait(*bell, kShort).over);
  char byte = 1;
  assert_int_equal(send(pair[1], &byte, 1, 0), 1);
  for (int i = 0; i < 2; ++i) {  // as long as the frame is there
    const Waited readable = wait(*bell, kLong);
    assert_true(readable.good);
    assert_false(readable.over);
  }
  assert_int_equal(recv(pair[0], &byte, 1, 0), 1);
  assert_true(wait(*bell, kShort).over);
  shutdown(pair[0], SHUT_RDWR);
  const Waited broken = wait(*bell, kLong);
  assert_false(broken.good);
  assert_false(broken.over);
  bell.reset();
  close(pair[0]);
  close(pair[1]);
}

// As a core does: look at everything; without work announce, look again, and only then wait.
void test_nothing_is_missed(void**) {
  constexpr uint64_t kRounds = 20'000;
  auto bell = make_bell();
  std::atomic<uint64_t> put{0};
  std::atomic<uint64_t> taken{0};
  std::thread ringer([&] {
    for (uint64_t i = 1; i <= kRounds; ++i) {
      put.store(i, std::memory_order_relaxed);
      bell->ring();
      while (taken.load(std::memory_order_acquire) < i) std::this_thread::yield();
    }
  });
  unsigned missed = 0;
  while (taken.load(std::memory_order_relaxed) < kRounds && missed < 3) {
    const uint64_t seen = put.load(std::memory_order_relaxed);
    if (seen > taken.load(std::memory_order_relaxed)) {
      bell->withdraw();
      taken.store(seen, std::memory_order_release);
    } else if (!bell->announced()) {
      bell->announce();
    } else if (wait(*bell, kLong).over) {
      ++missed;
    }
  }
  taken.store(kRounds, std::memory_order_release);
  ringer.join();
  assert_int_equal(missed, 0);
}

int packet_socket(unsigned interface_index) {
  const int fd = socket(AF_PACKET, SOCK_RAW, 0);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(interface_index);
  if (fd >= 0) bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return fd;
}

void test_port_sockets(void**) {
  const unsigned loopback = if_nametoindex("lo");
  const std::array fds{packet_socket(loopback), socket(AF_UNIX, SOCK_DGRAM, 0),
                       packet_socket(loopback)};
  if (fds[0] < 0) skip();  // needs CAP_NET_RAW
  PortSockets sockets;
  const struct {
    const char* what;
    const char* driver;
    unsigned interface;
    int expected;
  } rows[] = {
      {"another driver", "net_ring", loopback, PortSockets::kNone},
      {"another interface", "net_af_packet", loopback + 1000, PortSockets::kNone},
      {"the first queue", "net_af_packet", loopback, fds[0]},
      {"the second", "net_af_packet", loopback, fds[2]},
      {"no more", "net_af_packet", loopback, PortSockets::kNone},
      {"none of AF_XDP", "net_af_xdp", loopback, PortSockets::kNone},
  };
  for (const auto& row : rows) {
    print_message("  %s\n", row.what);
    assert_int_equal(sockets.claim(row.driver, row.interface), row.expected);
  }
  for (const int fd : fds) close(fd);
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(test_rings),
      cmocka_unit_test(test_sockets),
      cmocka_unit_test(test_nothing_is_missed),
      cmocka_unit_test(test_port_sockets),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
