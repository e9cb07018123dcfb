// Aosong DHT22 (AM2302): temperature and humidity over one wire of its own, told by the lengths of pulses. Measures when it
// is read, at most every two seconds.
#pragma once

#include <stdint.h>

#include "measurement.h"

namespace roost {

// The wire's pulses. A wire is a general pin, pulled up.
class PulseWire {
 public:
  // Hold the wire down for at least 1 ms, then let it go.
  virtual void call(uint8_t pin) = 0;
  // How long the wire stays at this level, from the end of the last pulse or call: 1 to 200 us, or 0 when longer.
  virtual uint8_t pulse(uint8_t pin, bool high) = 0;

 protected:
  ~PulseWire() = default;
};

class Dht22 {
 public:
  // Read a chip. Takes 7 ms. Not valid when it does not answer, stops, or its checksum or values are wrong.
  static Measurement read(PulseWire& wire, uint8_t pin) {
    wire.call(pin);
    // The wire rises; the chip answers by 80 us low and 80 us high.
    if (wire.pulse(pin, true) == 0 || wire.pulse(pin, false) == 0 || wire.pulse(pin, true) == 0) {
      return kNoMeasurement;
    }
    uint8_t bytes[5] = {};
    for (uint8_t bit = 0; bit < 40; ++bit) {
      const uint8_t gap = wire.pulse(pin, false);
      const uint8_t high = wire.pulse(pin, true);
      if (gap == 0 || high == 0) {
        return kNoMeasurement;
      }
      bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] << 1 | (high > kOneUs ? 1 : 0));
    }
    return decode(bytes);
  }

  // What five bytes say: humidity, temperature (sign and size) in tenths, sum.
  static Measurement decode(const uint8_t* bytes) {
    if (static_cast<uint8_t>(bytes[0] + bytes[1] + bytes[2] + bytes[3]) != bytes[4]) {
      return kNoMeasurement;
    }
    const uint16_t humidity = static_cast<uint16_t>(bytes[0] << 8 | bytes[1]);
    const uint16_t size = static_cast<uint16_t>((bytes[2] & 0x7F) << 8 | bytes[3]);
    const bool negative = (bytes[2] & 0x80) != 0;
    // A wire held down gives five zeros, whose sum is right; 0.0 C at 0.0 % is no air.
    const bool is_dead = humidity == 0 && size == 0;
    if (is_dead || humidity > 1000 || size > (negative ? 400 : 800)) {
      return kNoMeasurement;
    }
    const int16_t centi = static_cast<int16_t>(size * 10);
    return {true, static_cast<int16_t>(negative ? -centi : centi), true, static_cast<uint16_t>(humidity * 10)};
  }

 private:
  // A 0 is 26 to 28 us high, a 1 is 70 us.
  static constexpr uint8_t kOneUs = 48;
};

}  // namespace roost
