// The hub's own I2C bus and, with a TCA9548A, its eight channels.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"
#include "tca9548a.h"

namespace roost {

class I2cSegments {
 public:
  // Channel 0 is the hub's own bus, 1 to 8 are the multiplexer's.
  static constexpr uint8_t kChannels = 1 + Tca9548a::kChannels;

  explicit I2cSegments(I2cBus& bus) : bus_(bus) {}

  I2cBus& bus() { return bus_; }

  // Look for the multiplexer. One that was seen stays known: while it is silent its channels fail.
  void find_multiplexer() { has_multiplexer_ = Tca9548a::select_none(bus_) || has_multiplexer_; }
  bool has_multiplexer() const { return has_multiplexer_; }

  // Connect a channel and no other.
  bool reach(uint8_t channel) {
    if (channel != 0) {
      return Tca9548a::select(bus_, static_cast<uint8_t>(channel - 1));
    }
    if (has_multiplexer_) {
      Tca9548a::select_none(bus_);
    }
    return true;
  }

 private:
  I2cBus& bus_;
  bool has_multiplexer_ = false;
};

}  // namespace roost
