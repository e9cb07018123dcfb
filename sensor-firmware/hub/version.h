// What the hub says of itself in its hello.
#pragma once

#include <stdint.h>

namespace roost {

constexpr uint8_t kProtocolVersion = 1;
constexpr char kFirmware[] = "roost-hub/0.1.0";
// What this firmware can do, joined by '+'.
constexpr char kCapabilities[] = "sht31+mux";

}  // namespace roost
