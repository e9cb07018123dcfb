// Fans, their tachometers and the general pins, as their rules see them. Numbers begin with 1, as on the line.
#pragma once

#include <stdint.h>

namespace roost {

class Outputs {
 public:
  // Drive a fan with 0 to 10000 hundredths of a percent.
  virtual void set_fan(uint8_t fan, uint16_t duty_centi) = 0;
  // Pulses of a fan's tachometer since the start. Wraps.
  virtual uint16_t fan_pulses(uint8_t fan) = 0;
  // Make a general pin an output with this level.
  virtual void drive_pin(uint8_t pin, bool high) = 0;
  // Make a general pin an input that nothing pulls.
  virtual void release_pin(uint8_t pin) = 0;

 protected:
  ~Outputs() = default;
};

}  // namespace roost
