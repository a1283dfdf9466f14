#include "app/mqlb-replay/live.hh"

#include <rte_ethdev.h>
#include <sys/prctl.h>

#include <array>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "lib/dpdk/clock.hh"
#include "lib/dpdk/mbuf_io.hh"
#include "lib/dpdk/ports.hh"

namespace mqlb::app {
namespace {

constexpr uint16_t kBurst = 32;
constexpr size_t kProgressStep = 16;  // connections
constexpr base::Duration kLongestRest{200};
// Longer than this between two looks at the ports, the machine did something else.
constexpr base::Duration kLongestAbsence{100'000};

volatile std::sig_atomic_t stop_requested = 0;
void request_stop(int) { stop_requested = 1; }

config::Port port_model(const std::string& name, const std::string& device, config::PortRole role) {
  config::Port port;
  port.name = name;
  port.device = device;
  port.role = role;
  return port;
}

// Stands still while the process does: else it would give up on answers that have long arrived.
class PatientClock {
 public:
  base::Instant now() {
    const base::Instant real = clock_.now();
    absent_ += std::max(base::Duration(0), real - last_ - kLongestAbsence);
    last_ = real;
    return real - absent_;
  }

 private:
  dpdk::Clock clock_;
  base::Instant last_ = clock_.now();
  base::Duration absent_{0};
};

class Live {
 public:
  explicit Live(dpdk::Ports& ports)
      : ports_(ports), io_(ports, 0, nullptr, nullptr), output_(io_, counters_) {}

  void send(config::PortId port, base::Bytes bytes) {
    engine::Frame frame;
    // Without a buffer the frame is lost, as on a full link; players repeat what counts.
    if (!output_.allocate(frame)) return;
    if (bytes.size() > frame.capacity) {
      output_.drop(frame, base::Drop::over_mtu);
      return;
    }
    std::copy(bytes.begin(), bytes.end(), frame.data);
    frame.length = static_cast<uint16_t>(bytes.size());
    output_.transmit(port, frame);
  }

  void run(replay::Session& session, const replay::Progress& progress) {
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
    session.start(clock_.now());
    output_.flush();
    size_t told = 0;
    while (stop_requested == 0 && !session.finished(clock_.now())) {
      const size_t work = poll(session);
      session.advance(clock_.now());
      output_.flush();
      if (session.ended() >= told + kProgressStep) {
        told = session.ended();
        progress(told);
      }
      if (work == 0) rest(session.deadline() - clock_.now());
    }
    session.abandon(clock_.now());
    output_.flush();
  }

  // What else the operator should know of the frames.
  void tell(const replay::Session& session) {
    if (const uint64_t n = session.damaged_frames(); n > 0) {
      std::fprintf(stderr,
                   "mqlb-replay: %" PRIu64
                   " frames came with a wrong checksum or too large: offloads of the other side?\n",
                   n);
    }
    if (const uint64_t n = not_sent(); n > 0) {
      std::fprintf(stderr,
                   "mqlb-replay: %" PRIu64 " frames could not be sent: the port is too slow\n", n);
    }
  }

 private:
  size_t poll(replay::Session& session) {
    std::array<rte_mbuf*, kBurst> mbufs;
    size_t work = 0;
    for (const dpdk::RxQueue& queue : ports_.queues_of(0)) {
      const uint16_t n = rte_eth_rx_burst(queue.dpdk_port, queue.queue, mbufs.data(), kBurst);
      for (uint16_t i = 0; i < n; ++i) {
        if (mbufs[i]->nb_segs == 1) {
          const engine::Frame frame = dpdk::frame_of(mbufs[i], queue.port);
          session.receive(queue.port, frame.bytes(), clock_.now());
        }
        rte_pktmbuf_free(mbufs[i]);
      }
      work += n;
    }
    return work;
  }

  [[nodiscard]] uint64_t not_sent() {
    uint64_t n = 0;
    for (const base::Drop reason :
         {base::Drop::tx_full, base::Drop::no_buffer, base::Drop::over_mtu}) {
      n += counters_[reason].value();
    }
    return n;
  }

  static void rest(base::Duration until_deadline) {
    const base::Duration pause = std::min(until_deadline, kLongestRest);
    if (pause <= base::Duration(1)) return;
    const timespec time{0, static_cast<long>(pause.count()) * 1000};
    nanosleep(&time, nullptr);
  }

  dpdk::Ports& ports_;
  PatientClock clock_;
  base::CoreCounters counters_;
  dpdk::MbufIo io_;
  engine::Output output_;
};

}  // namespace

base::Result<replay::OfflineResult> play_live(const Arguments& arguments,
                                              const replay::Capture& capture,
                                              const std::vector<replay::Planned>& plan,
                                              const replay::Progress& progress) {
  const bool one_port =
      arguments.broker_port.empty() || arguments.broker_port == arguments.client_port;
  std::vector<config::Port> models{
      port_model("clients", arguments.client_port, config::PortRole::both)};
  if (!one_port) {
    models.push_back(port_model("brokers", arguments.broker_port, config::PortRole::both));
  }
  const std::array cores{config::CoreRole::both};
  auto ports = dpdk::Ports::start(models, cores);
  if (!ports) return tl::unexpected(ports.error());

  replay::SessionSetup setup;
  setup.client_mac = ports->mac(0);
  setup.broker_mac = ports->mac(one_port ? 0 : 1);
  setup.gateway = arguments.gateway;
  setup.plays_brokers = !arguments.broker_port.empty();
  setup.brokers = arguments.brokers;
  Live live(*ports);
  replay::Session session(
      capture, plan, arguments.play, std::move(setup),
      [&live](config::PortId port, base::Bytes frame) { live.send(port, frame); });
  std::signal(SIGINT, request_stop);
  std::signal(SIGTERM, request_stop);
  live.run(session, progress);
  live.tell(session);
  if (stop_requested != 0) std::fputs("mqlb-replay: interrupted\n", stderr);
  if (!session.failure().empty()) return base::fail(session.failure());
  replay::OfflineResult result;
  result.rows = session.rows();
  return result;
}

}  // namespace mqlb::app
