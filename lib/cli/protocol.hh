// What the daemon and its shell say to each other over the Unix socket.
//
// The client's first line chooses:
//   interactive   its further bytes are keys of a terminal, the daemon's are the screen
//   commands      each further line is a command; its answer is "ok N" or "error N", a line end,
//                 and N bytes of text. After `quit` the daemon closes.
#pragma once

#include <cstddef>
#include <string_view>

namespace mqlb::cli {

inline constexpr std::string_view kDefaultSocket = "/run/mqlb.sock";
inline constexpr std::string_view kInteractive = "interactive";
inline constexpr std::string_view kCommands = "commands";
inline constexpr std::string_view kOk = "ok";
inline constexpr std::string_view kError = "error";

// A command line: room for the longest Client ID (65,535 bytes) and the words around it.
inline constexpr size_t kMaxLine = 66'000;

}  // namespace mqlb::cli
