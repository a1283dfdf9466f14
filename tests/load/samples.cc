#include "tests/load/samples.hh"

#include <fcntl.h>
#include <unistd.h>

#include "lib/cli/unique_fd.hh"
#include "tests/load/json.hh"

namespace mqlb::load {

std::string read_samples(std::span<const std::string> paths) {
  std::string out = "[";
  for (const std::string& path : paths) {
    if (out.size() > 1) out += ", ";
    const cli::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::string text;
    char room[4096];
    ssize_t n = 0;
    while (fd && (n = read(fd.get(), room, sizeof room)) > 0) {
      text.append(room, static_cast<size_t>(n));
    }
    out += fd && n == 0 ? quoted(text) : "null";
  }
  return out + "]";
}

}  // namespace mqlb::load
