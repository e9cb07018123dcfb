// TI TCA9548A: one I2C bus to eight, one bit of its only register for each channel.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"

namespace roost {

class Tca9548a {
 public:
  static constexpr uint8_t kAddress = 0x70;
  static constexpr uint8_t kChannels = 8;

  // Connect no channel. False when there is no such chip.
  static bool select_none(I2cBus& bus) {
    const uint8_t mask = 0;
    return bus.write(kAddress, &mask, 1);
  }

  // Connect one channel, 0 to 7, and no other. False when there is no such chip.
  static bool select(I2cBus& bus, uint8_t channel) {
    const uint8_t mask = static_cast<uint8_t>(1U << channel);
    return bus.write(kAddress, &mask, 1);
  }
};

}  // namespace roost
