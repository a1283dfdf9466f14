#include "lib/cli/matcher.hh"

#include <cmdline.h>

#include <cassert>
#include <cstring>
#include <map>
#include <new>

namespace mqlb::cli {
namespace {

// What parse() of a token leaves in librte_cmdline's result buffer: where its word is in the line.
struct Found {
  const char* begin;
  size_t size;
};

constexpr size_t kMostTokens = CMDLINE_PARSE_RESULT_BUFSIZE / sizeof(Found);

}  // namespace

struct Matcher::Private {
  // The header first: librte_cmdline passes tokens as pointers to it.
  struct TokenNode {
    cmdline_token_hdr header;
    const Token* token;
    Private* owner;
  };
  struct Instruction {
    const Form* form;
    Private* owner;
    std::vector<TokenNode> nodes;
    std::unique_ptr<std::byte[]> memory;  // of the cmdline_parse_inst_t
  };

  Private();
  ~Private() { cmdline_free(line); }
  void build(const Form& form);
  const std::vector<std::string>& known(const Token& token);

  static const TokenNode& node(cmdline_token_hdr* header) {
    return *reinterpret_cast<const TokenNode*>(header);
  }
  static int parse(cmdline_token_hdr* header, const char* text, void* out, unsigned size);
  static int count_choices(cmdline_token_hdr* header);
  static int copy_choice(cmdline_token_hdr* header, int index, char* out, unsigned size);
  static int copy_help(cmdline_token_hdr* header, char* out, unsigned size);
  static void on_match(void* result, cmdline* line, void* data);

  std::vector<std::unique_ptr<Instruction>> instructions;
  std::vector<cmdline_parse_inst_t*> context;  // ends with null
  cmdline* line = nullptr;
  cmdline_token_ops operations{parse, count_choices, copy_choice, copy_help};
  Match matched;
  const config::Model* model = nullptr;  // during complete()
  std::map<const ArgumentType*, std::vector<std::string>> known_names;
};

Matcher::Private::Private() {
  for (const Form& form : forms()) build(form);
  context.push_back(nullptr);
  // No descriptors: it parses and completes, and prints nothing.
  line = cmdline_new(context.data(), "", -1, -1);
  if (!line) throw std::bad_alloc();
}

void Matcher::Private::build(const Form& form) {
  assert(form.tokens.size() <= kMostTokens);
  auto made = std::make_unique<Instruction>();
  made->form = &form;
  made->owner = this;
  for (size_t i = 0; i < form.tokens.size(); ++i) {
    const auto offset = static_cast<unsigned>(i * sizeof(Found));
    made->nodes.push_back({{&operations, offset}, &form.tokens[i], this});
  }
  const size_t count = made->nodes.size() + 1;
  const size_t size = sizeof(cmdline_parse_inst_t) + count * sizeof(cmdline_token_hdr*);
  made->memory = std::make_unique<std::byte[]>(size);
  auto* instruction = reinterpret_cast<cmdline_parse_inst_t*>(made->memory.get());
  instruction->f = on_match;
  instruction->data = made.get();
  instruction->help_str = form.command->help.data();
  for (size_t i = 0; i < made->nodes.size(); ++i) instruction->tokens[i] = &made->nodes[i].header;
  context.push_back(instruction);
  instructions.push_back(std::move(made));
}

// The length of the word that `text` begins with, or -1 when it is none that the token may be.
int Matcher::Private::parse(cmdline_token_hdr* header, const char* text, void* out, unsigned size) {
  const Token& token = *node(header).token;
  size_t length = 0;
  if (token.is_rest()) {
    length = std::strcspn(text, "\r\n");
    while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) --length;
  } else {
    while (cmdline_isendoftoken(text[length]) == 0) ++length;
  }
  if (length == 0) return -1;
  if (!token.type) {
    bool found = false;
    for (const std::string& word : token.words) found |= word == std::string_view(text, length);
    if (!found) return -1;
  }
  const Found word{text, length};
  if (out && size >= sizeof word) std::memcpy(out, &word, sizeof word);
  return static_cast<int>(length);
}

const std::vector<std::string>& Matcher::Private::known(const Token& token) {
  if (!token.type) return token.words;
  const auto [entry, is_new] = known_names.try_emplace(token.type);
  if (is_new && token.type->known && model) entry->second = token.type->known(*model);
  return entry->second;
}

int Matcher::Private::count_choices(cmdline_token_hdr* header) {
  const TokenNode& n = node(header);
  return static_cast<int>(n.owner->known(*n.token).size());
}

int Matcher::Private::copy_choice(cmdline_token_hdr* header, int index, char* out, unsigned size) {
  const TokenNode& n = node(header);
  const std::string& word = n.owner->known(*n.token)[static_cast<size_t>(index)];
  if (word.size() + 2 > size) return -1;  // a blank is put behind it
  std::memcpy(out, word.c_str(), word.size() + 1);
  return 0;
}

int Matcher::Private::copy_help(cmdline_token_hdr* header, char* out, unsigned size) {
  const Token& token = *node(header).token;
  const std::string text = token.type ? token.name + ": " + describe(*token.type) : token.shown();
  const size_t length = text.copy(out, size - 1);
  out[length] = '\0';
  return 0;
}

void Matcher::Private::on_match(void* result, cmdline*, void* data) {
  const auto& instruction = *static_cast<const Instruction*>(data);
  Match& match = instruction.owner->matched;
  match.form = instruction.form;
  for (size_t i = 0; i < instruction.nodes.size(); ++i) {
    Found word;
    std::memcpy(&word, static_cast<const char*>(result) + i * sizeof word, sizeof word);
    match.words.emplace_back(word.begin, word.size);
  }
}

Matcher::Matcher() : private_(std::make_unique<Private>()) {}
Matcher::~Matcher() = default;

std::optional<Matcher::Match> Matcher::match(std::string_view line) {
  const std::string terminated = std::string(line) + "\n";
  private_->matched = {};
  if (cmdline_parse(private_->line, terminated.c_str()) < 0) return std::nullopt;
  return std::move(private_->matched);
}

int Matcher::complete(const config::Model& model, const char* text, int* state, char* out,
                      unsigned size) {
  if (*state <= 0) private_->known_names.clear();
  private_->model = &model;
  return cmdline_complete(private_->line, text, state, out, size);
}

}  // namespace mqlb::cli
