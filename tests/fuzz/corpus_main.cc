// Plays or writes the seeds of a fuzz target without libFuzzer.
//
//   corpus_TARGET play FILE       every seed, every beginning of it, every byte of it changed
//   corpus_TARGET write FILE DIR  one binary file per seed, as libFuzzer reads them
//
// A line of FILE is one seed: hexadecimal bytes and "text" in any order, spaces between; a # ends
// it. "*N" repeats the token before it to N times. Empty lines do not count.
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "tests/fuzz/check.hh"

namespace {

using Seed = std::vector<uint8_t>;

bool append_token(const std::string& token, Seed& seed, Seed& last) {
  if (token.front() == '*') {
    const long times = std::atol(token.c_str() + 1);
    if (times < 1 || times > 70'000 || last.empty()) return false;
    for (long i = 1; i < times; ++i) seed.insert(seed.end(), last.begin(), last.end());
    return true;
  }
  last.clear();
  if (token.front() == '"') {
    last.assign(token.begin() + 1, token.end() - 1);
  } else {
    if (token.size() % 2 != 0) return false;
    for (size_t i = 0; i < token.size(); i += 2) {
      char* end = nullptr;
      const std::string pair = token.substr(i, 2);
      last.push_back(static_cast<uint8_t>(std::strtoul(pair.c_str(), &end, 16)));
      if (*end != '\0') return false;
    }
  }
  seed.insert(seed.end(), last.begin(), last.end());
  return true;
}

// Nothing: the line is wrong. An empty seed: the line holds none.
std::optional<Seed> parse_line(std::string_view line) {
  Seed seed;
  Seed last;
  while (true) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos || line[begin] == '#') return seed;
    line.remove_prefix(begin);
    size_t size = line.find_first_of(" \t");
    if (line.front() == '"') {
      const size_t quote = line.find('"', 1);
      if (quote == std::string_view::npos) return std::nullopt;
      size = quote + 1;
    }
    const std::string token(line.substr(0, size));
    if (!append_token(token, seed, last)) return std::nullopt;
    line.remove_prefix(token.size());
  }
}

std::optional<std::vector<Seed>> read_seeds(const char* path) {
  std::ifstream file(path);
  if (!file) {
    std::cerr << path << ": cannot be read\n";
    return std::nullopt;
  }
  std::vector<Seed> seeds;
  std::string line;
  for (int number = 1; std::getline(file, line); ++number) {
    auto seed = parse_line(line);
    if (!seed) {
      std::cerr << path << ":" << number << ": not a seed\n";
      return std::nullopt;
    }
    if (!seed->empty()) seeds.push_back(std::move(*seed));
  }
  return seeds;
}

void run(const Seed& input, size_t size) {
  const Seed copy = mqlb::fuzz::copy_of(input, size);
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

size_t play(const Seed& seed) {
  size_t runs = 0;
  const size_t step = mqlb::fuzz::cut_step(seed.size());
  for (size_t cut = 0; cut < seed.size(); cut += step, ++runs) run(seed, cut);
  run(seed, seed.size());
  Seed changed = seed;
  const auto try_at = [&](size_t at, int value) {
    changed[at] = static_cast<uint8_t>(value);
    run(changed, changed.size());
    ++runs;
  };
  for (size_t at = 0; at < seed.size(); at += step) {
    for (int bit = 0; bit < 8; ++bit) try_at(at, seed[at] ^ (1 << bit));
    for (const int value : {0x00, 0x7f, 0x80, 0xff, seed[at] + 1, seed[at] - 1}) try_at(at, value);
    changed[at] = seed[at];
  }
  return runs + 1;
}

int write(const std::vector<Seed>& seeds, const std::string& folder) {
  for (size_t i = 0; i < seeds.size(); ++i) {
    std::ofstream file(folder + "/seed-" + std::to_string(i), std::ios::binary);
    std::copy(seeds[i].begin(), seeds[i].end(), std::ostreambuf_iterator<char>(file));
    if (!file) {
      std::cerr << folder << ": cannot be written\n";
      return 1;
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  if (!(verb == "play" && argc == 3) && !(verb == "write" && argc == 4)) {
    std::cerr << "usage: " << argv[0] << " play FILE | write FILE DIR\n";
    return 2;
  }
  const auto seeds = read_seeds(argv[2]);
  if (!seeds || seeds->empty()) return 1;
  if (verb == "write") return write(*seeds, argv[3]);
  size_t runs = 0;
  for (const Seed& seed : *seeds) runs += play(seed);
  std::cout << seeds->size() << " seeds, " << runs << " inputs\n";
  return 0;
}
