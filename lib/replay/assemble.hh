// From a conversation to what a player needs of it, or to why it is not played.
#pragma once

#include <string_view>

#include "lib/replay/conversation.hh"
#include "lib/replay/recording.hh"

namespace mqlb::replay {

// The ends of a conversation as they are named in tables: its client's first, if that is known.
struct Ends {
  wire::Endpoint client;
  wire::Endpoint server;
};
[[nodiscard]] Ends ends_of(const Conversation& conversation, const std::deque<Heard>& heard);

// Marks the segments that became steps. File, record and beginning are for the caller to fill in.
// The error is one of the words that load() (recording.hh) lists.
[[nodiscard]] tl::expected<Recording, std::string_view> assemble(const Conversation& conversation,
                                                                 std::deque<Heard>& heard,
                                                                 const LoadOptions& options);

}  // namespace mqlb::replay
