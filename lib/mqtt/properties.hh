// The properties of a CONNECT (MQTT 5.0 sections 2.2.2, 3.1.2.11 and 3.1.3.2), checked and skipped:
// routing needs none of their values.
#pragma once

#include "lib/mqtt/cursor.hh"

namespace mqlb::mqtt {

enum class PropertySet : uint8_t { connect, will };

// Reads the Property Length and the properties. False: refused or not all at hand.
[[nodiscard]] bool skip_properties(Cursor& cursor, PropertySet set);

}  // namespace mqlb::mqtt
