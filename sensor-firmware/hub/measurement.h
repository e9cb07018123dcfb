// What a chip measured.
#pragma once

#include <stdint.h>

namespace roost {

struct Measurement {
  bool valid;                 // false: the chip gave no value; the others mean nothing
  int16_t temperature_centi;  // hundredths of a degree Celsius
  bool has_humidity;          // false: such a chip measures none
  uint16_t humidity_centi;    // hundredths of a percent of relative humidity
};

constexpr Measurement kNoMeasurement = {false, 0, false, 0};

}  // namespace roost
