// The board's I2C bus behind I2cBus, and its serial port behind LineSink. Arduino only.
#pragma once

#include <Arduino.h>
#include <Wire.h>

#include "hub.h"
#include "i2c_bus.h"

namespace roost {

class WireBus final : public I2cBus {
 public:
  void begin() {
    Wire.begin();
    Wire.setClock(400000);
    // A chip that holds the bus down must not hang the hub.
    Wire.setWireTimeout(5000, true);
  }

  bool write(uint8_t address, const uint8_t* bytes, uint8_t count) override {
    Wire.beginTransmission(address);
    Wire.write(bytes, count);
    return Wire.endTransmission() == 0;
  }

  bool read(uint8_t address, uint8_t* bytes, uint8_t count) override {
    if (Wire.requestFrom(address, count) != count) {
      return false;
    }
    for (uint8_t i = 0; i < count; ++i) {
      bytes[i] = static_cast<uint8_t>(Wire.read());
    }
    return true;
  }
};

class SerialSink final : public LineSink {
 public:
  void begin() { Serial.begin(115200); }
  uint8_t room() const override { return static_cast<uint8_t>(Serial.availableForWrite()); }
  void send(const char* bytes, uint8_t length) override { Serial.write(bytes, length); }
};

}  // namespace roost
