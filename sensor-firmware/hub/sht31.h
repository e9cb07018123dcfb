// Sensirion SHT31: temperature and humidity over I2C. One measurement at a time, started and fetched apart, so that
// nobody waits for the chip.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"
#include "measurement.h"

namespace roost {

class Sht31 {
 public:
  static constexpr uint8_t kFirstAddress = 0x44;   // ADDR pin low
  static constexpr uint8_t kSecondAddress = 0x45;  // ADDR pin high
  static constexpr uint8_t kMeasureMs = 20;        // data sheet: 15 ms at most at high repeatability

  // Whether the chip at an address is one: its status has a right checksum. Others have the same addresses.
  static bool is_there(I2cBus& bus, uint8_t address) {
    const uint8_t command[] = {0xF3, 0x2D};
    uint8_t b[3];
    return bus.write(address, command, sizeof command) && bus.read(address, b, sizeof b) && crc8(b) == b[2];
  }

  // Start a measurement: single shot, high repeatability, no clock stretching.
  static bool start(I2cBus& bus, uint8_t address) {
    const uint8_t command[] = {0x24, 0x00};
    return bus.write(address, command, sizeof command);
  }

  // Fetch a measurement started kMeasureMs ago. Not valid when the chip is silent or a checksum is wrong.
  static Measurement fetch(I2cBus& bus, uint8_t address) {
    uint8_t b[6];
    if (!bus.read(address, b, sizeof b) || crc8(b) != b[2] || crc8(b + 3) != b[5]) {
      return kNoMeasurement;
    }
    return {true, temperature_centi(word(b)), true, humidity_centi(word(b + 3))};
  }

  // CRC-8 of two bytes, polynomial 0x31 from 0xFF. BE EF gives 92.
  static uint8_t crc8(const uint8_t* two) {
    uint8_t crc = 0xFF;
    for (uint8_t i = 0; i < 2; ++i) {
      crc ^= two[i];
      for (uint8_t bit = 0; bit < 8; ++bit) {
        crc = static_cast<uint8_t>((crc & 0x80) ? (crc << 1) ^ 0x31 : crc << 1);
      }
    }
    return crc;
  }

  // -45 C + 175 C * raw / 65535, rounded to hundredths.
  static int16_t temperature_centi(uint16_t raw) {
    return static_cast<int16_t>(static_cast<int32_t>((17500UL * raw + 32767UL) / 65535UL) - 4500);
  }

  // 100 % * raw / 65535, rounded to hundredths.
  static uint16_t humidity_centi(uint16_t raw) {
    return static_cast<uint16_t>((10000UL * raw + 32767UL) / 65535UL);
  }

 private:
  static uint16_t word(const uint8_t* b) { return static_cast<uint16_t>((b[0] << 8) | b[1]); }
};

}  // namespace roost
