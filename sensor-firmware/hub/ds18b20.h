// Maxim DS18B20 (and DS1822): temperature over 1-Wire, with power of its own. Many on one line.
#pragma once

#include <stdint.h>

#include "measurement.h"
#include "one_wire.h"

namespace roost {

class Ds18b20 {
 public:
  static constexpr uint16_t kMeasureMs = 750;  // data sheet: at most, at 12 bits

  // Whether a chip of this number is one.
  static bool is_family(uint8_t family) { return family == 0x28 || family == 0x22; }

  // Start a measurement of one chip. False when no chip answers.
  static bool start(OneWireBus& bus, uint8_t pin, const uint8_t* rom) {
    if (!bus.select(pin, rom)) {
      return false;
    }
    bus.write_byte(pin, 0x44);
    return true;
  }

  // Fetch a measurement started kMeasureMs ago.
  static Measurement fetch(OneWireBus& bus, uint8_t pin, const uint8_t* rom) {
    if (!bus.select(pin, rom)) {
      return kNoMeasurement;
    }
    bus.write_byte(pin, 0xBE);
    uint8_t scratchpad[9];
    for (uint8_t& byte : scratchpad) {
      byte = bus.read_byte(pin);
    }
    return decode(scratchpad);
  }

  // What a scratchpad says. Not valid when its checksum is wrong, when the line was held down (all zeros have a right
  // checksum), when the chip lost its power since the start (85 C is what it then says) and when no chip can be so
  // cold or hot (-127 C is what a lost one is read as).
  static Measurement decode(const uint8_t* scratchpad) {
    const uint8_t configuration = scratchpad[4];
    const bool is_whole = one_wire_crc8(scratchpad, 8) == scratchpad[8] && (configuration & 0x9F) == 0x1F;
    const int16_t raw = static_cast<int16_t>(static_cast<uint16_t>(scratchpad[1] << 8 | scratchpad[0]));
    if (!is_whole || raw == kPowerOn || raw < -55 * 16 || raw > 125 * 16) {
      return kNoMeasurement;
    }
    // Below 12 bits the last ones mean nothing: 9 bits leave 3 out.
    const uint8_t unused = static_cast<uint8_t>(3 - (configuration >> 5 & 3));
    const int16_t kept = static_cast<int16_t>(raw & ~((1 << unused) - 1));
    return {true, temperature_centi(kept), false, 0};
  }

  // Sixteenths of a degree as hundredths, rounded away from 0.
  static int16_t temperature_centi(int16_t raw) {
    const int32_t quarters = static_cast<int32_t>(raw) * 25;
    return static_cast<int16_t>((quarters + (raw < 0 ? -2 : 2)) / 4);
  }

 private:
  static constexpr int16_t kPowerOn = 85 * 16;
};

}  // namespace roost
