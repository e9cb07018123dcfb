// Bosch BME280: temperature and humidity over I2C. Each chip carries its own calibration, by which its raw values become
// hundredths; it is read with each measurement, so that nothing is kept that another chip in its place could falsify.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"
#include "measurement.h"

namespace roost {

class Bme280 {
 public:
  static constexpr uint8_t kFirstAddress = 0x76;   // SDO low
  static constexpr uint8_t kSecondAddress = 0x77;  // SDO high
  static constexpr uint8_t kMeasureMs = 20;        // data sheet: 6.4 ms at most for temperature and humidity once

  struct Calibration {
    uint16_t t1;
    int16_t t2, t3;
    uint8_t h1, h3;
    int16_t h2, h4, h5;
    int8_t h6;
  };

  // Whether the chip at an address is one; others have the same addresses and another id (BMP280, BME680).
  static bool is_there(I2cBus& bus, uint8_t address) {
    uint8_t id;
    return read(bus, address, kId, &id, 1) && id == 0x60;
  }

  // Start one measurement of temperature and humidity, none of pressure; then the chip sleeps.
  static bool start(I2cBus& bus, uint8_t address) {
    return write(bus, address, kControlHumidity, 0x01) && write(bus, address, kControl, 0x21);
  }

  // Fetch a measurement started kMeasureMs ago. The chip's bytes carry no checksum: its id is read again, and values that
  // were not measured, or that no such chip can measure, are not valid.
  static Measurement fetch(I2cBus& bus, uint8_t address) {
    Calibration c;
    uint8_t status, b[5];
    if (!is_there(bus, address) || !calibration(bus, address, c) || !read(bus, address, kStatus, &status, 1) ||
        (status & kMeasuring) != 0 || !read(bus, address, kTemperature, b, sizeof b)) {
      return kNoMeasurement;
    }
    const int32_t temperature = static_cast<int32_t>(b[0]) << 12 | static_cast<int32_t>(b[1]) << 4 | b[2] >> 4;
    const int32_t humidity = static_cast<int32_t>(b[3]) << 8 | b[4];
    if (temperature == kNoTemperature || humidity == kNoHumidity) {
      return kNoMeasurement;
    }
    const int32_t fine = fine_temperature(c, temperature);
    const int32_t centi = temperature_centi(fine);
    if (centi < -4000 || centi > 8500) {
      return kNoMeasurement;
    }
    return {true, static_cast<int16_t>(centi), true, humidity_centi(c, fine, humidity)};
  }

  // The data sheet's compensation, chapter 4.2.3, whose result both others begin with: 5120ths of a degree.
  static int32_t fine_temperature(const Calibration& c, int32_t raw) {
    const int32_t t1 = c.t1;
    const int32_t linear = ((raw >> 3) - t1 * 2) * c.t2 >> 11;
    const int32_t offset = (raw >> 4) - t1;
    const int32_t square = ((offset * offset) >> 12) * c.t3 >> 14;
    return linear + square;
  }

  static int32_t temperature_centi(int32_t fine) { return (fine * 5 + 128) >> 8; }

  static uint16_t humidity_centi(const Calibration& c, int32_t fine, int32_t raw) {
    const int32_t t = fine - 76800;
    const int32_t measured = (raw * 16384 - static_cast<int32_t>(c.h4) * 1048576 - static_cast<int32_t>(c.h5) * t + 16384) >> 15;
    const int32_t by_temperature = ((((t * c.h6) >> 10) * (((t * c.h3) >> 11) + 32768)) >> 10) + 2097152;
    const int32_t scaled = measured * ((by_temperature * c.h2 + 8192) >> 14);
    const int32_t bent = scaled - (((((scaled >> 15) * (scaled >> 15)) >> 7) * c.h1) >> 4);
    // 1024ths of a percent, 12 bits up.
    const int32_t bounded = bent < 0 ? 0 : bent > 419430400 ? 419430400 : bent;
    return static_cast<uint16_t>(((bounded >> 12) * 100 + 512) >> 10);
  }

 private:
  static constexpr uint8_t kTemperatureCalibration = 0x88;
  static constexpr uint8_t kHumidityCalibration1 = 0xA1;
  static constexpr uint8_t kId = 0xD0;
  static constexpr uint8_t kHumidityCalibration = 0xE1;
  static constexpr uint8_t kControlHumidity = 0xF2;
  static constexpr uint8_t kStatus = 0xF3;
  static constexpr uint8_t kMeasuring = 0x08;
  static constexpr uint8_t kControl = 0xF4;
  static constexpr uint8_t kTemperature = 0xFA;
  static constexpr int32_t kNoTemperature = 0x80000;
  static constexpr int32_t kNoHumidity = 0x8000;

  static bool write(I2cBus& bus, uint8_t address, uint8_t at, uint8_t value) {
    const uint8_t bytes[] = {at, value};
    return bus.write(address, bytes, sizeof bytes);
  }

  static bool read(I2cBus& bus, uint8_t address, uint8_t at, uint8_t* bytes, uint8_t count) {
    return bus.write(address, &at, 1) && bus.read(address, bytes, count);
  }

  static int16_t word(const uint8_t* b) { return static_cast<int16_t>(static_cast<uint16_t>(b[1] << 8 | b[0])); }

  static bool calibration(I2cBus& bus, uint8_t address, Calibration& c) {
    uint8_t t[6], h[7];
    if (!read(bus, address, kTemperatureCalibration, t, sizeof t) ||
        !read(bus, address, kHumidityCalibration1, &c.h1, 1) ||
        !read(bus, address, kHumidityCalibration, h, sizeof h)) {
      return false;
    }
    c.t1 = static_cast<uint16_t>(word(t));
    c.t2 = word(t + 2);
    c.t3 = word(t + 4);
    c.h2 = word(h);
    c.h3 = h[2];
    // Two numbers of twelve bits share a byte; the upper eight bits carry the sign.
    c.h4 = static_cast<int16_t>(static_cast<int8_t>(h[3]) * 16 + (h[4] & 0xF));
    c.h5 = static_cast<int16_t>(static_cast<int8_t>(h[5]) * 16 + (h[4] >> 4));
    c.h6 = static_cast<int8_t>(h[6]);
    return true;
  }
};

}  // namespace roost
