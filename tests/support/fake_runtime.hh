// A daemon for tests of the command line: it keeps the model and answers with canned rows.
#pragma once

#include <vector>

#include "lib/cli/runtime.hh"
#include "lib/maglev/maglev.hh"
#include "tests/support/models.hh"

namespace mqlb::tests {

class FakeRuntime : public cli::Runtime {
 public:
  config::Model current = sample_model();
  bool stopped = false;
  size_t flow_count = 1;    // rows that flows() has
  size_t source_count = 1;  // of sources()
  std::vector<cli::FlowFilter> asked;

  const config::Model& model() const override { return current; }
  base::Result<void> apply(const config::Model& model) override {
    if (auto r = config::validate(model); !r) return r;
    current = model;
    return {};
  }
  std::vector<cli::CounterRow> counters() override {
    return {{"drop", "bad_checksum", "checksum is wrong", 7}, {"drop", "not_ip", "not IP", 0}};
  }
  std::vector<cli::PortRow> ports() override {
    return {{"clients", "net_af_packet0", "client", "02:00:00:00:00:01", "up", 1500, 10, 1000, 0, 0,
             20, 2000, 3, "rss", 4}};
  }
  std::vector<cli::CoreRow> cores() override { return {{1, "both", 100, 90, 10, 0, 5, 1}}; }
  std::vector<cli::BufferRow> buffers() override { return {{"frames", 8191, 12}}; }
  std::vector<cli::NeighbourRow> neighbours() override {
    return {{"brokers", "198.18.1.11", "", "resolving", 4}};
  }
  std::vector<cli::BackendRow> backends() override {
    return {{"emqx", "broker1", "198.18.1.11:1883", "active", 1, 0.5, 5, 6, 0, 5, 100, 200},
            {"emqx", "broker2", "198.18.1.12:1883", "active", 1, 0.5, 11111, 6, 0, 5, 100, 200}};
  }
  std::vector<cli::HealthRow> health() override {
    return {{"emqx", "broker1", "198.18.1.11:1883", "mqtt", "down", 12, "failed",
             "connection refused", 1234, 56, 10, 4, 1, 2, "mss 1460 sack"}};
  }
  std::vector<cli::ListenerRow> listeners() override {
    cli::ListenerRow row{"mqtt", "198.18.0.10:1883", "emqx", "active", 5, 6, 5, 1};
    row.connections = 4;
    return {row};
  }
  std::vector<cli::ClientIdRow> client_ids() override {
    return {{"mqtt", "device\\x00", "fight", 7, 6, 0, 2, "198.18.0.77", "198.18.0.78", 5, 1}};
  }
  std::vector<cli::SourceRow> sources() override {
    return std::vector<cli::SourceRow>(source_count,
                                       {"mqtt", "198.18.0.79/32", "rate", 1, 2, 4, 3, 20, 60, 1});
  }
  std::vector<cli::SnatRow> snats() override {
    return {{"outside", "198.18.1.100", "1024-65535", "broker1", 5, 1, 64512}};
  }
  std::vector<cli::FlowRow> flows(const cli::FlowFilter& filter) override {
    asked.push_back(filter);
    cli::FlowRow row;
    row.client = "198.18.0.77:4000";
    row.pool = "emqx";
    row.client_id_hash = filter.client_id_hash.value_or(0xabc);
    return std::vector<cli::FlowRow>(flow_count, row);
  }
  base::Result<cli::RouteAnswer> route(const cli::RouteQuery& query) override {
    if (!query.pool.empty() && query.pool != "emqx") return base::fail("there is no such pool");
    if (!query.listener.empty() && query.listener != "mqtt") {
      return base::fail("no listener '" + query.listener + "'");
    }
    cli::RouteAnswer answer{"emqx", "broker2", "<" + query.client_id + ">", 0x12, {"far"}};
    answer.rule = query.listener + query.user_name;
    if (query.version == mqtt::Version::v5_0) answer.rule += "5";
    answer.because = "takes it";
    return answer;
  }
  void request_stop() override { stopped = true; }
};

}  // namespace mqlb::tests
