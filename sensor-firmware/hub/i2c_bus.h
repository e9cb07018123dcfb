// The I2C bus as the drivers see it, so that they can be tested on a PC.
#pragma once

#include <stdint.h>

namespace roost {

class I2cBus {
 public:
  // Write bytes to a chip. False when the address or a byte was not acknowledged, or the bus hung.
  virtual bool write(uint8_t address, const uint8_t* bytes, uint8_t count) = 0;
  // Read exactly `count` bytes from a chip. False when it did not acknowledge, or the bus hung.
  virtual bool read(uint8_t address, uint8_t* bytes, uint8_t count) = 0;

 protected:
  ~I2cBus() = default;
};

}  // namespace roost
