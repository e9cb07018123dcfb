// NXP PCF8574 and PCF8574A: eight pins over I2C, as relay boards have them. Its pins are high when it gets power, and keep
// their levels while the hub restarts.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"

namespace roost {

class Pcf8574 {
 public:
  // The address of the first one that answers, or 0.
  static uint8_t find(I2cBus& bus) {
    for (uint8_t i = 0; i < 16; ++i) {
      const uint8_t address = static_cast<uint8_t>((i < 8 ? 0x20 : 0x38 - 8) + i);
      uint8_t levels;
      if (bus.read(address, &levels, 1)) {
        return address;
      }
    }
    return 0;
  }

  // Set the levels of all pins.
  static bool write(I2cBus& bus, uint8_t address, uint8_t levels) { return bus.write(address, &levels, 1); }
};

}  // namespace roost
