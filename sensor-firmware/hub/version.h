// What the hub says of itself in its hello.
#pragma once

#include <stdint.h>

namespace roost {

constexpr uint8_t kProtocolVersion = 1;
constexpr char kFirmware[] = "roost-hub/0.2.0";
// What this firmware can do, joined by '+'.
constexpr char kCapabilities[] = "sht31+bme280+ds18b20+dht22+mux+fans+relays";

static_assert(sizeof kFirmware - 1 <= 32, "PROTOCOL.md");
static_assert(sizeof kCapabilities - 1 <= 48, "PROTOCOL.md");

}  // namespace roost
