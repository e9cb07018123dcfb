// The EEPROM as the journals see it.
#pragma once

#include <stdint.h>

namespace roost {

class Memory {
 public:
  virtual uint8_t read(uint16_t at) = 0;
  // Write one byte, if it differs. Waits until it is there: up to 4 ms.
  virtual void write(uint16_t at, uint8_t byte) = 0;

 protected:
  ~Memory() = default;
};

}  // namespace roost
