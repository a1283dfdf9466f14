// Start-up files: errors with their lines, and configurations that survive being written and read.
#include "lib/cli/interpreter.hh"
#include "lib/cli/model_text.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/models.hh"
#include "tests/support/temporary_directory.hh"

using mqlb::config::Model;
using mqlb::tests::endpoint;
using mqlb::tests::ip;
using mqlb::tests::prefix;
using mqlb::tests::sample_model;
using mqlb::tests::TemporaryDirectory;
namespace cli = mqlb::cli;
namespace config = mqlb::config;

namespace {

int make_directory(void** state) {
  *state = new TemporaryDirectory;
  return 0;
}

int remove_directory(void** state) {
  delete static_cast<TemporaryDirectory*>(*state);
  return 0;
}

const char* const kExample =
    "# what the quickstart uses\n"
    "\n"
    "listener add mqtt 198.18.0.10:1883 pool emqx   # before its pool\r\n"
    "port add clients device net_af_packet0 role client\n"
    "port add brokers device net_af_packet1 role backend\n"
    "address add clients 198.18.0.1/24\n"
    "address add brokers 198.18.1.1/24\n"
    "snat add outside range 198.18.1.100 198.18.1.101\n"
    "pool add emqx snat outside\n"
    "pool set emqx proxy-protocol v2\n"
    "\tbackend add emqx broker1 198.18.1.11:1883\n"
    "backend add emqx broker2 198.18.1.12:1883";

void example_is_read(void** state) {
  const auto& directory = *static_cast<TemporaryDirectory*>(*state);
  Model m;
  const auto errors = cli::run_script(directory.write("mqlb.conf", kExample), m);
  if (!errors.empty()) fail_msg("%s", errors[0].c_str());
  assert_int_equal(m.ports.size(), 2);
  assert_int_equal(m.snat_pools[0].addresses.size(), 2);
  assert_int_equal(m.pools[0].backends.size(), 2);
  assert_true(m.pools[0].proxy_protocol == config::ProxyProtocol::v2);
  assert_true(m.listeners[0].endpoint == endpoint("198.18.0.10:1883"));
}

void errors_name_file_and_line(void** state) {
  const auto& directory = *static_cast<TemporaryDirectory*>(*state);
  const struct {
    std::string text;
    std::vector<std::string> errors;  // behind the file's name
  } rows[] = {
      {"pool ad x\n# fine\n\nset idle-max 0\nshow version\nbackend add nowhere a 198.18.1.1:1",
       {":1: unknown word 'ad', expected add, remove or set",
        ":4: SECONDS: '0' is not a number from 1 to 259200",
        ":5: this is possible in the shell only", ":6: there is no pool 'nowhere'"}},
      {"pool add emqx snat none\n", {": pool 'emqx' uses SNAT pool 'none', which does not exist"}},
      {std::string("set poll\0 busy\n", 15), {":1: the line has a control character"}},
      {std::string(100000, '\xff') + "\n", {":1: unknown word '"}},
      {"pool add a snat b\npool add a snat b\n", {":2: pool 'a' exists already"}},
  };
  for (const auto& row : rows) {
    Model m;
    const std::string path = directory.write("bad.conf", row.text);
    const auto errors = cli::run_script(path, m);
    assert_int_equal(errors.size(), row.errors.size());
    for (size_t i = 0; i < errors.size(); ++i) {
      if (!errors[i].starts_with(path + row.errors[i])) fail_msg("%s", errors[i].c_str());
    }
  }
}

void unreadable_files(void** state) {
  const auto& directory = *static_cast<TemporaryDirectory*>(*state);
  Model m;
  const auto gone = cli::run_script(directory.file("none.conf"), m);
  assert_int_equal(gone.size(), 1);
  assert_non_null(strstr(gone[0].c_str(), "none.conf: No such file"));
  const auto folder = cli::run_script(directory.file(""), m);
  assert_int_equal(folder.size(), 1);
  assert_non_null(strstr(folder[0].c_str(), "Is a directory"));
  assert_true(cli::run_script("/dev/null", m).empty());
}

Model all_settings_changed() {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  Model m = sample_model();
  m.ports[0].role = config::PortRole::both;
  m.ports[1].addresses.push_back(prefix("2001:db8::1/64"));
  m.cores = {{1, config::CoreRole::worker}, {2, config::CoreRole::proxy}, {3, {}}};
  m.routes.push_back({prefix("::/0"), ip("2001:db8::fe")});
  m.snat_pools.push_back({"more",
                          {ip("198.18.1.200"), ip("198.18.1.150"), ip("198.18.1.151"),
                           ip("2001:db8::a"), ip("2001:db8::b")},
                          5000,
                          6000});
  config::Pool pool;
  pool.name = "all";
  pool.key = config::KeyPolicy::source_address;
  pool.fallback = config::KeyPolicy::spread;
  pool.proxy_protocol = config::ProxyProtocol::v2;
  pool.proxy_crc32c = true;
  pool.proxy_unique_id = true;
  pool.snat = "more";
  pool.table_size = 509;
  pool.hash_seed = UINT64_MAX;
  pool.connect_tries = 5;
  pool.connect_timeout = milliseconds(777);
  pool.check = {config::CheckKind::mqtt,
                milliseconds(1001),
                milliseconds(1002),
                3,
                4,
                config::CheckInitial::down,
                config::CheckMqtt::v5,
                "a user # of mine",
                "s e c r e t",
                "probe.",
                8081,
                "/healthy?all=1",
                204};
  pool.slow_start = seconds(60);
  pool.load_factor = 125;
  pool.close_rate = 50;
  pool.close_on_down = config::CloseOnDown::off;
  pool.max_fails = 7;
  pool.fail_timeout = milliseconds(8000);
  pool.backends = {{"a", endpoint("[2001:db8::11]:1883"), 7, config::AdminState::drain, 500},
                   {"b", endpoint("198.18.1.77:1"), 1, config::AdminState::maintenance, 0, true, 9},
                   {"c", endpoint("198.18.1.78:1"), 1, config::AdminState::drain},
                   {"d", endpoint("198.18.1.79:1"), 1, config::AdminState::down}};
  m.pools.push_back(pool);
  m.pools.push_back(m.pools[0]);
  m.pools[2].name = "third";
  m.pools[2].key = config::KeyPolicy::least_connections;
  m.pools[2].fallback = config::KeyPolicy::round_robin;
  m.pools[2].proxy_protocol = config::ProxyProtocol::v1;
  m.pools[2].check.kind = config::CheckKind::http;
  m.listeners.push_back({"six",
                         endpoint("[2001:db8:1::10]:8883"),
                         "all",
                         4096,
                         milliseconds(500),
                         config::ListenerMode::tcp,
                         seconds(90),
                         {}});
  m.listeners[0].admission = {1,
                              {2, 3},
                              4,
                              {5, 0},
                              24,
                              56,
                              6,
                              seconds(7),
                              config::Refusal::reset,
                              {prefix("198.18.0.0/15"), prefix("2001:db8::/32")},
                              {prefix("198.19.0.0/16")}};
  m.listeners[1].admission.source_rate = {8, 9};
  m.listeners[1].admission.source_v6_bits = 128;
  m.listeners[0].rules = {{"first", "third", "car-*", "b?b", mqlb::mqtt::Version::v5_0},
                          {"second", "all", "", "bob", {}},
                          {"last", "third", "", "", mqlb::mqtt::Version::v3_1}};
  m.settings = {config::PollMode::busy,
                std::chrono::microseconds(10),
                seconds(11),
                seconds(12),
                seconds(13),
                seconds(14),
                seconds(15),
                16,
                17,
                18};
  return m;
}

void round_trip(void** state) {
  const auto& directory = *static_cast<TemporaryDirectory*>(*state);
  for (const Model& model : {Model{}, sample_model(), all_settings_changed()}) {
    assert_true(config::validate(model).has_value());
    const std::string text = cli::to_commands(model);
    Model again;
    const auto errors = cli::run_script(directory.write("again.conf", text), again);
    if (!errors.empty()) fail_msg("%s", errors[0].c_str());
    if (again != model) fail_msg("differs:\n%s\n%s", text.c_str(), cli::to_commands(again).c_str());
  }
  // What has its default value is not said.
  const std::string text = cli::to_commands(sample_model());
  assert_null(strstr(text.c_str(), "set idle"));
  assert_null(strstr(text.c_str(), "weight"));
  assert_non_null(strstr(text.c_str(), "snat add outside range 198.18.1.100 198.18.1.101\n"));
}

}  // namespace

#define WITH_DIRECTORY(f) cmocka_unit_test_setup_teardown(f, make_directory, remove_directory)

int main() {
  const CMUnitTest tests[] = {
      WITH_DIRECTORY(example_is_read),
      WITH_DIRECTORY(errors_name_file_and_line),
      WITH_DIRECTORY(unreadable_files),
      WITH_DIRECTORY(round_trip),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
