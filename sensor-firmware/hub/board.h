// The board behind what the hub sees of it: I2C, serial port, EEPROM, fans, tachometers, general pins and the timing of
// single bits on them. Arduino only.
#pragma once

#include <Arduino.h>
#include <EEPROM.h>
#include <Wire.h>
#include <util/atomic.h>

#include "hub.h"
#include "pins.h"

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

class Eeprom final : public Memory {
 public:
  uint8_t read(uint16_t at) override { return EEPROM.read(at); }
  void write(uint16_t at, uint8_t byte) override { EEPROM.update(at, byte); }
};

// A general pin whose level others make too: pulled low or let go, never driven high. Its output bit stays 0.
class OpenPin {
 public:
  explicit OpenPin(uint8_t pin) : OpenPin(kGeneralPins[pin - 1], 0) {}

  void pull_low() { change([this] { *direction_ |= mask_; }); }
  void let_go() { change([this] { *direction_ &= static_cast<uint8_t>(~mask_); }); }
  bool is_high() const { return (*input_ & mask_) != 0; }

 private:
  OpenPin(uint8_t board_pin, int)
      : direction_(portModeRegister(digitalPinToPort(board_pin))),
        input_(portInputRegister(digitalPinToPort(board_pin))),
        mask_(digitalPinToBitMask(board_pin)) {}

  template <class Change>
  void change(Change apply) {
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { apply(); }
  }

  volatile uint8_t* direction_;
  volatile uint8_t* input_;
  uint8_t mask_;
};

// The times are those of Maxim's application note 126. Interrupts wait where a late edge would be another bit: at most
// 65 us, in which the serial port holds two bytes.
class OneWirePins final : public OneWireBus {
 public:
  bool reset(uint8_t pin) override {
    OpenPin line(pin);
    line.let_go();
    for (uint8_t waited = 0; !line.is_high(); ++waited) {
      if (waited == 100) {
        return false;
      }
      delayMicroseconds(2);
    }
    line.pull_low();
    delayMicroseconds(490);
    bool present = false;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) {
      line.let_go();
      delayMicroseconds(70);
      present = !line.is_high();
    }
    delayMicroseconds(410);
    return present;
  }

  void write_bit(uint8_t pin, bool bit) override {
    OpenPin line(pin);
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) {
      line.pull_low();
      delayMicroseconds(bit ? 6 : 62);
      line.let_go();
    }
    delayMicroseconds(bit ? 64 : 10);
  }

  bool read_bit(uint8_t pin) override {
    OpenPin line(pin);
    bool bit = false;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) {
      line.pull_low();
      delayMicroseconds(3);
      line.let_go();
      delayMicroseconds(8);
      bit = line.is_high();
    }
    delayMicroseconds(55);
    return bit;
  }
};

// Interrupts run on: one takes up to 10 us, and a 0 and a 1 of a DHT22 are 43 us apart. Each pulse is measured from the end
// of the one before, so that what the program does between them is not missing.
class PulsePins final : public PulseWire {
 public:
  void call(uint8_t pin) override {
    OpenPin line(pin);
    line.pull_low();
    delayMicroseconds(1200);
    line.let_go();
    began_us_ = static_cast<uint16_t>(micros());
  }

  uint8_t pulse(uint8_t pin, bool high) override {
    const OpenPin line(pin);
    while (line.is_high() == high) {
      if (since_last() > kLongestUs) {
        return 0;
      }
    }
    const uint16_t passed = since_last();
    began_us_ = static_cast<uint16_t>(began_us_ + passed);
    return static_cast<uint8_t>(passed == 0 ? 1 : passed > kLongestUs ? 0 : passed);
  }

 private:
  static constexpr uint8_t kLongestUs = 200;

  uint16_t since_last() const { return static_cast<uint16_t>(static_cast<uint16_t>(micros()) - began_us_); }

  uint16_t began_us_ = 0;
};

// Pulses of all tachometers, counted by count_tachometers() in the interrupt of a timer. Sampling instead of an interrupt
// for each edge: a line that swings like mad costs no more than one that rests.
struct Tachometers {
  volatile uint16_t pulses[kFans];
  uint8_t levels;
};
static Tachometers tachometers;

// 1953 times a second, so that 976 pulses a second can be told from each other.
inline void count_tachometers() {
  const uint8_t levels = read_tachometers();
  const uint8_t fell = static_cast<uint8_t>(tachometers.levels & ~levels);
  tachometers.levels = levels;
  for (uint8_t i = 0; fell != 0 && i < kFans; ++i) {
    if ((fell >> i & 1) != 0) {
      ++tachometers.pulses[i];
    }
  }
}

class OutputPins final : public Outputs {
 public:
  void begin() {
    for (uint8_t fan = 1; fan <= kFans; ++fan) {
      set_fan_timer(fan, Fans::kFull);
    }
    begin_fan_timers();
    for (uint8_t pin : kFanPins) {
      pinMode(pin, OUTPUT);
    }
    begin_tachometers();
    tachometers.levels = read_tachometers();
    // Two interrupts in each turn of the clock's timer, which does not mind.
    OCR0A = 64;
    OCR0B = 192;
    TIMSK0 |= _BV(OCIE0A) | _BV(OCIE0B);
  }

  void set_fan(uint8_t fan, uint16_t duty_centi) override { set_fan_timer(fan, duty_centi); }

  uint16_t fan_pulses(uint8_t fan) override {
    uint16_t pulses = 0;
    ATOMIC_BLOCK(ATOMIC_RESTORESTATE) { pulses = tachometers.pulses[fan - 1]; }
    return pulses;
  }

  // The level first: a pin that becomes an output must not pass through the other level.
  void drive_pin(uint8_t pin, bool high) override {
    digitalWrite(kGeneralPins[pin - 1], high ? HIGH : LOW);
    pinMode(kGeneralPins[pin - 1], OUTPUT);
  }

  void release_pin(uint8_t pin) override { pinMode(kGeneralPins[pin - 1], INPUT); }
};

}  // namespace roost
