// The command table: every command in its good form, every argument in a bad one, what wrong lines
// are answered, help and completion.
#include <set>
#include <sstream>

#include "lib/cli/grammar.hh"
#include "lib/cli/interpreter.hh"
#include "tests/support/cmocka.hh"
#include "tests/support/fake_runtime.hh"

using mqlb::tests::FakeRuntime;
namespace cli = mqlb::cli;

namespace {

using Kind = cli::ArgumentType::Kind;

// Each may follow the sample configuration. The text must be in the answer.
struct Good {
  const char* line;
  const char* answer;
};

const Good kGood[] = {
    {"port add third device net_null0 role both", "start-up file only"},
    {"core add 3 role proxy", "start-up file only"},
    {"set max-flows 5000", "start-up file only"},
    {"port set brokers mtu 1300", ""},
    {"address add clients 198.18.9.1/24", ""},
    {"address remove clients 198.18.0.1/24", ""},
    {"route add 203.0.113.0/24 via 198.18.1.254", ""},
    {"route add 0.0.0.0/0 via 198.18.1.254", ""},
    {"snat add outside address 198.18.1.105", ""},
    {"snat add outside range 198.18.1.110 198.18.1.120", ""},
    {"snat set outside ports 2000 3000", ""},
    {"pool add other snat outside", ""},
    {"pool set emqx key user-name", ""},
    {"pool set emqx fallback spread", ""},
    {"pool set emqx proxy-protocol v1", ""},
    {"pool set emqx proxy-crc32c off", ""},
    {"pool set emqx proxy-unique-id off", ""},
    {"pool set emqx table-size 509", ""},
    {"pool set emqx hash-seed 18446744073709551615", ""},
    {"pool set emqx connect-tries 16", ""},
    {"pool set emqx connect-timeout 250", ""},
    {"pool set emqx answer-timeout 20000", ""},
    {"pool set emqx check mqtt", ""},
    {"pool set emqx check-interval 250", ""},
    {"pool set emqx check-timeout 100", ""},
    {"pool set emqx check-rise 4", ""},
    {"pool set emqx check-fall 4", ""},
    {"pool set emqx check-initial down", ""},
    {"pool set emqx check-mqtt-version 5", ""},
    {"pool set emqx check-user two words # not a comment", ""},
    {"pool set emqx check-client-id probe.", ""},
    {"pool set emqx check-http-port 8081", ""},
    {"pool set emqx check-http-path /status?x=1", ""},
    {"pool set emqx check-http-status 204", ""},
    {"show health", "connection refused"},
    {"show checks", "availability_check"},
    {"backend add emqx broker3 198.18.1.13:1883", ""},
    {"backend add emqx broker3 198.18.1.13:1883 weight 3", ""},
    {"backend set emqx broker1 weight 9", ""},
    {"backend set emqx broker1 state maintenance", ""},
    {"backend set emqx broker1 state down", ""},
    {"backend set emqx broker1 state drain", ""},
    {"backend set emqx broker1 state drain rate 500", ""},
    {"backend set emqx broker1 backup on", ""},
    {"backend set emqx broker1 max-connections 10000", ""},
    {"pool set emqx slow-start 30", ""},
    {"pool set emqx load-factor 125", ""},
    {"pool set emqx close-rate 100", ""},
    {"pool set emqx close-on-down off", ""},
    {"pool set emqx max-fails 3", ""},
    {"pool set emqx fail-timeout 5000", ""},
    {"backend remove emqx broker1", ""},
    {"listener add second 198.18.0.10:8883 pool emqx", ""},
    {"listener set mqtt max-connect 4096", ""},
    {"listener set mqtt connect-deadline 3000", ""},
    {"listener set mqtt mode tcp", ""},
    {"listener set mqtt idle-timeout 600", ""},
    {"rule add mqtt cars client-id car-* pool emqx", ""},
    {"rule add mqtt bob user-name bob pool emqx", ""},
    {"rule add mqtt new protocol 5.0 pool emqx", ""},
    {"listener set mqtt max-connections 5000", ""},
    {"listener set mqtt connect-rate 1000 burst 50", ""},
    {"listener set mqtt source-connections 10", ""},
    {"listener set mqtt source-rate 5", ""},
    {"listener set mqtt source-prefix 24", ""},
    {"listener set mqtt source-prefix 32 56", ""},
    {"listener set mqtt client-id-rate 5 per 60", ""},
    {"listener set mqtt refuse reset", ""},
    {"allow add mqtt 198.18.0.0/16", ""},
    {"deny add mqtt 2001:db8::/32", ""},
    {"listener remove mqtt", ""},
    {"set poll busy", ""},
    {"set idle-floor 60", ""},
    {"set idle-max 3600", ""},
    {"set closing-timeout 5", ""},
    {"set half-close-timeout 100", ""},
    {"set snat-quarantine 30", ""},
    {"set max-connecting 100", ""},
    {"set rst-per-second 10", ""},
    {"set poll-pause 200", ""},
    {"show version", "mqlb"},
    {"show ports", "net_af_packet0"},
    {"show cores", "both"},
    {"show buffers", "8191"},
    {"show addresses", "198.18.0.1/24"},
    {"show routes", "198.19.0.0/16"},
    {"show neighbours", "resolving"},
    {"show snat", "64512"},
    {"show pools", "client-id"},
    {"show backends", "BYTES-TO-CLIENT"},
    {"show listeners", "198.18.0.10:1883"},
    {"show json listeners", "\"connections\": 4, \"max_connections\": "},
    {"show rules", "emqx"},
    {"show client-ids", "198.18.0.78"},
    {"show sources", "198.18.0.79/32"},
    {"show json sources", "\"reason\": \"rate\", \"refused\": 7, \"denied\": 1, "},
    {"show flows", "198.18.0.77:4000"},
    {"show flows backend broker1", "198.18.0.77:4000"},
    {"show flows listener mqtt", "198.18.0.77:4000"},
    {"show flows client-id a b", "198.18.0.77:4000"},
    {"show counters", "bad_checksum"},
    {"show counters all", "not_ip"},
    {"show route client-id  two  words # not a comment \t ", "<two  words # not a comment>"},
    {"show route pool emqx client-id x", "<x>"},
    {"show json route client-id x", "\"because\": \"takes it\""},
    {"show json route listener mqtt client-id x", "\"rule\": \"mqtt\""},
    {"show json route listener mqtt user-name u client-id x", "\"rule\": \"mqttu\""},
    {"show json route listener mqtt protocol 5.0 client-id x", "\"rule\": \"mqtt5\""},
    {"show json route listener mqtt protocol 5.0 user-name u client-id x", "\"rule\": \"mqttu5\""},
    {"show config", "pool add emqx snat outside"},
    {"show json backends", "{\"pool\": \"emqx\", \"backend\": \"broker1\""},
    {"show json route client-id \"x\"", "\"endpoint\": \"<\\\"x\\\">\""},
    {"help", "backend add POOL NAME ENDPOINT [weight N]"},
    {"help pool set", "pool set POOL key client-id|user-name|source-address"},
    {"quit", ""},
    {"shutdown", "stops"},
};

// In an order that a model can follow, for those that need a preparation.
const Good kPrepared[] = {
    {"rule set mqtt new client-id car-*", "rule add mqtt new protocol 5.0 pool emqx"},
    {"rule set mqtt new user-name bob", "rule add mqtt new protocol 5.0 pool emqx"},
    {"rule set mqtt new protocol 3.1", "rule add mqtt new protocol 5.0 pool emqx"},
    {"rule set mqtt new pool emqx", "rule add mqtt new protocol 5.0 pool emqx"},
    {"rule remove mqtt new", "rule add mqtt new protocol 5.0 pool emqx"},
    {"allow remove mqtt 198.18.0.0/16", "allow add mqtt 198.18.0.0/16"},
    {"deny remove mqtt 198.18.0.0/16", "deny add mqtt 198.18.0.0/16"},
    {"pool remove other", "pool add other snat outside"},
    {"snat remove spare", "snat add spare address 198.18.1.200"},
    {"route remove 203.0.113.0/24", "route add 203.0.113.0/24 via 198.18.1.254"},
    {"pool set emqx proxy-crc32c on", "pool set emqx proxy-protocol v2"},
    {"pool set emqx check-password s e c r e t", "pool set emqx check-user u"},
    {"pool set emqx check-login none", "pool set emqx check-user u"},
};

void every_command_in_its_good_form(void**) {
  std::set<const cli::Command*> seen;
  cli::Parser parser;
  for (const Good& row : kGood) {
    FakeRuntime runtime;
    cli::Interpreter interpreter(runtime);
    const cli::Reply reply = interpreter.execute(row.line);
    const auto invocation = parser.parse(row.line);
    if (!invocation || !invocation->command) fail_msg("%s: does not parse", row.line);
    seen.insert(invocation->command);
    const bool startup = invocation->command->where == cli::Where::startup;
    if (reply.ok == startup || reply.text.find(row.answer) == std::string::npos) {
      fail_msg("%s: %s", row.line, reply.text.c_str());
    }
    if (invocation->command->edit && !startup) {
      assert_true(reply.text.empty());
      assert_false(runtime.current == mqlb::tests::sample_model() &&
                   std::string_view(row.line).find(" off") == std::string_view::npos);
    }
    assert_int_equal(runtime.stopped, std::string_view(row.line) == "shutdown");
    assert_int_equal(reply.quit, std::string_view(row.line) == "quit");
  }
  for (const Good& row : kPrepared) {
    FakeRuntime runtime;
    cli::Interpreter interpreter(runtime);
    assert_true(interpreter.execute(row.answer).ok);
    const cli::Reply reply = interpreter.execute(row.line);
    if (!reply.ok) fail_msg("%s: %s", row.line, reply.text.c_str());
    seen.insert(parser.parse(row.line)->command);
  }
  for (const cli::Command& command : cli::commands()) {
    if (!seen.contains(&command)) fail_msg("not executed: %s", cli::usage(command).c_str());
  }
}

// Every word of every good line is replaced by one that cannot be there.
void every_argument_in_a_bad_form(void**) {
  cli::Matcher matcher;
  for (const Good& row : kGood) {
    const auto match = matcher.match(row.line);
    assert_true(match.has_value());
    for (size_t i = 0; i < match->words.size(); ++i) {
      const cli::Token& token = match->form->tokens[i];
      if (token.is_rest() || (token.type && token.type->name == "device")) continue;
      std::string line;
      for (size_t w = 0; w < match->words.size(); ++w) {
        line += (w == i ? "n!pe" : match->words[w]) + " ";
      }
      FakeRuntime runtime;
      cli::Interpreter interpreter(runtime);
      const cli::Reply reply = interpreter.execute(line);
      const bool takes_anything =
          token.type && token.type->kind == Kind::text &&
          (std::string_view(row.line).starts_with("show flows") || token.type->name == "pattern" ||
           token.type->name == "user-name");
      if (reply.ok != takes_anything) fail_msg("accepted: %s", line.c_str());
      if (takes_anything) continue;
      assert_true(runtime.current == mqlb::tests::sample_model());
      const std::string wanted = token.type ? std::string("n!pe")
                                 : i == 0 && token.words.size() == 1
                                     ? "unknown word 'n!pe', expected"
                                     : "'n!pe', expected";
      const bool no_pool = reply.text.find("there is no such pool") != std::string::npos;
      if (reply.text.find(wanted) == std::string::npos && !no_pool) {
        fail_msg("%s: %s", line.c_str(), reply.text.c_str());
      }
    }
  }
}

void wrong_lines(void**) {
  const struct {
    std::string line;
    const char* message;
  } rows[] = {
      {"backend ad emqx", "unknown word 'ad', expected add, remove or set\n"},
      {"frobnicate", "unknown word 'frobnicate', expected port, core, address"},
      {"backend add emqx", "incomplete command, expected NAME\n"},
      {"backend add emqx b4 198.18.1.14:1883 weight", "incomplete command, expected N\n"},
      {"pool set emqx key user",
       "unknown word 'user', expected client-id, user-name, source-address"},
      {"show version now", "word 'now' is too much\n"},
      {"show route client-id", "incomplete command, expected ID\n"},
      {"backend add emqx b4 198.18.1.14:1883 weight 0", "N: '0' is not a number from 1 to 1000\n"},
      {"port set brokers mtu 70000", "BYTES: '70000' is not a number from 576 to 9216\n"},
      {"set idle-max 99999999999999999999", "is not a number from"},
      {"set idle-max -1", "is not a number from"},
      {"backend add emqx b4 198.18.1.14", "ENDPOINT: '198.18.1.14' is not ADDRESS:PORT"},
      {"backend add emqx b/4 198.18.1.14:1883", "NAME: 'b/4' is not a new name"},
      {"route add 198.20.0.0/33 via 198.18.1.254", "PREFIX: "},
      {"snat add outside range 198.18.1.9 198.18.1.8", "198.18.1.8 does not come after"},
      {"snat add outside range 198.18.1.9 2001:db8::1", "does not come after"},
      {"snat add outside range 10.0.0.0 10.255.255.255", "at most 1024 addresses"},
      {"snat remove outside", "pool 'emqx' uses SNAT pool 'outside', which does not exist"},
      {"pool remove emqx", "listener 'mqtt' uses pool 'emqx', which does not exist"},
      {"pool add emqx snat outside", "pool 'emqx' exists already"},
      {"listener add mqtt 198.18.0.10:99 pool emqx", "listener 'mqtt' exists already"},
      {"backend add emqx far 198.18.1.99:1883", "backend 'far' exists already"},
      {"address add clients 198.18.0.1/24", "address '198.18.0.1/24' exists already"},
      {"route add 198.19.0.0/16 via 198.18.1.254", "route '198.19.0.0/16' exists already"},
      {"backend set emqx broker1 state drain rate 0", "is not a number from 1 to"},
      {"backend set emqx nobody backup on", "there is no backend of pool 'emqx' 'nobody'"},
      {"rule add mqtt any protocol 4 pool emqx", "unknown word '4', expected 3.1, 3.1.1 or 5.0"},
      {"rule add mqtt any client-id * pool nowhere", "which does not exist"},
      {"rule set mqtt nothing client-id x", "there is no rule of listener 'mqtt' 'nothing'"},
      {"pool set emqx load-factor 100", "it must be above 100 percent, or 0"},
      {"backend remove emqx nobody", "there is no backend of pool 'emqx' 'nobody'"},
      {"deny remove mqtt 198.18.0.0/16",
       "there is no prefix in this list of listener 'mqtt': '198.18.0.0/16'"},
      {"deny add mqtt 198.18.0.1/16", "did you mean 198.18.0.0/16?"},
      {"allow add none 198.18.0.0/16", "there is no listener 'none'"},
      {"listener set mqtt source-prefix 0", "is not a number from 1 to 32"},
      {"help nothing", "no command begins with 'nothing'"},
      {std::string("show\0version", 12), "control character"},
      {"show \x1b[2J", "control character"},
      {std::string(70000, 'x'), "..."},
  };
  FakeRuntime runtime;
  cli::Interpreter interpreter(runtime);
  for (const auto& row : rows) {
    const cli::Reply reply = interpreter.execute(row.line);
    assert_false(reply.ok);
    if (reply.text.find(row.message) == std::string::npos || reply.text.size() > 400) {
      fail_msg("%s: %s", row.line.c_str(), reply.text.c_str());
    }
  }
  for (const char* blank : {"", "   ", "# comment", "\t # show version"}) {
    const cli::Reply reply = interpreter.execute(blank);
    assert_true(reply.ok && reply.text.empty());
  }
}

void long_client_ids_arrive_whole(void**) {
  FakeRuntime runtime;
  cli::Interpreter interpreter(runtime);
  const std::string id = "caf\xc3\xa9 " + std::string(65000, 'y') + "z";
  const cli::Reply reply = interpreter.execute("show route client-id " + id);
  assert_true(reply.ok);
  assert_true(reply.text.find("<" + id + ">") != std::string::npos);
}

// Each pool is asked for under its own seed.
void flows_of_a_client_are_hashed_with_the_pools_seed(void**) {
  FakeRuntime runtime;
  runtime.current.pools[0].hash_seed = 42;
  runtime.current.pools.push_back(runtime.current.pools[0]);
  runtime.current.pools[1].name = "other";
  runtime.current.pools[1].hash_seed = 43;
  cli::Interpreter interpreter(runtime);
  const cli::Reply reply = interpreter.execute("show json flows client-id device 7");
  assert_true(reply.ok);
  assert_int_equal(runtime.asked.size(), 2);
  for (size_t i = 0; i < 2; ++i) {
    assert_true(runtime.asked[i].client_id_hash ==
                mqlb::maglev::hash_key(mqlb::base::as_bytes("device 7"), 42 + i));
  }
  // The fake's flow is of pool emqx: shown once, not again for the other seed.
  assert_int_equal(std::count(reply.text.begin(), reply.text.end(), '{'), 1);
}

void tables_are_aligned(void**) {
  FakeRuntime runtime;
  cli::Interpreter interpreter(runtime);
  assert_string_equal(interpreter.execute("show neighbours").text.c_str(),
                      "PORT     ADDRESS      MAC  STATE      AGE-SECONDS\n"
                      "brokers  198.18.1.11  -    resolving            4\n");
  assert_string_equal(interpreter.execute("show json neighbours").text.c_str(),
                      "[\n  {\"port\": \"brokers\", \"address\": \"198.18.1.11\", \"mac\": \"\", "
                      "\"state\": \"resolving\", \"age_seconds\": 4}\n]\n");
  runtime.flow_count = 100;
  assert_non_null(strstr(interpreter.execute("show flows").text.c_str(), "(the first 100)"));
  assert_null(strstr(interpreter.execute("show sources").text.c_str(), "of"));
  runtime.source_count = 101;
  const std::string sources = interpreter.execute("show sources").text;
  assert_non_null(strstr(sources.c_str(), "(the busiest 100 of 101)"));
  assert_int_equal(std::count(sources.begin(), sources.end(), '\n'), 102);
  runtime.flow_count = 0;
  assert_string_equal(interpreter.execute("show json flows").text.c_str(), "[]\n");
}

void help_and_reference_list_all(void**) {
  const std::string help = cli::help_text("");
  const std::string reference = cli::reference();
  for (const cli::Command& command : cli::commands()) {
    const std::string usage = cli::usage(command);
    if (help.find(usage) == std::string::npos) fail_msg("not in help: %s", usage.c_str());
    assert_false(command.help.empty());
    assert_non_null(strstr(reference.c_str(), std::string(command.help).c_str()));
    assert_true((command.edit == nullptr) != (command.run == nullptr));
  }
  const auto lines = static_cast<size_t>(std::count(help.begin(), help.end(), '\n'));
  assert_int_equal(lines, cli::commands().size());
  assert_true(cli::help_text("backend set").starts_with("backend set POOL BACKEND weight N"));
}

void completion(void**) {
  const struct {
    const char* typed;
    std::vector<std::string> added;  // one: what TAB adds; several: the words it lists
  } rows[] = {
      {"backe", {"nd "}},
      {"backend r", {"emove "}},
      {"backend remove e", {"mqx "}},
      {"backend remove emqx f", {"ar "}},
      {"backend remove emqx broker", {"broker1", "broker2"}},
      {"pool set emqx key ",
       {"client-id", "user-name", "source-address", "spread", "round-robin", "least-connections"}},
      {"pool set emqx key u", {"ser-name "}},
      {"route remove ", {"198.19.0.0/16"}},
      {"show json neigh", {"bours "}},
      {"listener add x 198.18.0.11:1 pool e", {"mqx "}},
      {"nonsense ", {}},
  };
  FakeRuntime runtime;
  cli::Interpreter interpreter(runtime);
  for (const auto& row : rows) {
    char out[256] = "";
    int state = 0;
    int result = interpreter.complete(row.typed, &state, out, sizeof out);
    if (row.added.empty()) {
      assert_int_equal(result, 0);
    } else if (result == 2) {
      assert_int_equal(row.added.size(), 1);
      assert_string_equal(out, row.added[0].c_str());
    } else {
      for (const std::string& word : row.added) {
        if (result != 1) fail_msg("%s: %s is not listed", row.typed, word.c_str());
        assert_true(std::string_view(out).starts_with(word));
        result = interpreter.complete(row.typed, &state, out, sizeof out);
      }
      assert_int_equal(result, 0);
    }
  }
}

void use_of_snat_ports(void** /*state*/) {
  const struct {
    uint64_t in_use, quarantined, capacity, percent;
    const char* state;
  } table[] = {
      {0, 0, 100, 0, "ok"},        {79, 0, 100, 79, "ok"},          {40, 40, 100, 80, "warning"},
      {98, 1, 100, 99, "warning"}, {60, 40, 100, 100, "exhausted"}, {0, 0, 0, 100, "exhausted"},
  };
  for (const auto& row : table) {
    cli::SnatRow snat;
    snat.in_use = row.in_use;
    snat.quarantined = row.quarantined;
    snat.capacity = row.capacity;
    assert_int_equal(snat.used_percent(), row.percent);
    assert_string_equal(std::string(snat.state()).c_str(), row.state);
  }
}

}  // namespace

int main() {
  const CMUnitTest tests[] = {
      cmocka_unit_test(use_of_snat_ports),
      cmocka_unit_test(every_command_in_its_good_form),
      cmocka_unit_test(every_argument_in_a_bad_form),
      cmocka_unit_test(wrong_lines),
      cmocka_unit_test(long_client_ids_arrive_whole),
      cmocka_unit_test(flows_of_a_client_are_hashed_with_the_pools_seed),
      cmocka_unit_test(tables_are_aligned),
      cmocka_unit_test(help_and_reference_list_all),
      cmocka_unit_test(completion),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
