// Finds chips that have no number yet: goes round all places where one can be, a step at a time.
//
//   own bus 0x44 0x45 0x76 0x77 -> channel 0 to 7, the same addresses -> general pin 1 to 8 by role -> own bus …
//
// Places that have a number cost no step, but for 1-Wire lines: only a search tells on which line a DS18B20 is.
#pragma once

#include <stdint.h>

#include "probe_table.h"
#include "settings.h"

namespace roost {

class ProbeSearch {
 public:
  ProbeSearch(ProbeTable& probes, const Settings& settings) : probes_(probes), settings_(settings) {}

  // Look at one place. The number of the probe that was found there and has a number from now on, or 0. A step takes at
  // most 16 ms (a DS18B20). A round ends with a step.
  uint8_t step() {
    for (uint8_t looked = 0; looked < kPlaces; ++looked) {
      uint8_t found = 0;
      const uint8_t at = at_;
      const bool spent = at < kI2cPlaces ? look_at_i2c(at, found)
                                         : look_at_pin(static_cast<uint8_t>(at - kI2cPlaces + 1), found);
      if (spent || at_ == 0) {
        return found;
      }
    }
    return 0;
  }

  // Look at all places once.
  void whole_round() {
    do {
      step();
    } while (at_ != 0);
  }

 private:
  static constexpr uint8_t kAddresses = 4;
  static constexpr uint8_t kI2cPlaces = I2cSegments::kChannels * kAddresses;
  static constexpr uint8_t kPlaces = kI2cPlaces + kPins;

  void advance() { at_ = static_cast<uint8_t>((at_ + 1) % kPlaces); }

  // Whether a chip was spoken to.
  bool look_at_i2c(uint8_t at, uint8_t& found) {
    const uint8_t channel = static_cast<uint8_t>(at / kAddresses);
    const uint8_t index = static_cast<uint8_t>(at % kAddresses);
    const uint8_t bit = static_cast<uint8_t>(1U << index);
    I2cSegments& segments = probes_.segments();
    if (at == 0) {
      on_own_bus_ = 0;
      segments.find_multiplexer();
    }
    advance();
    const Place place = candidate(channel, index);
    if (channel == 0 && probes_.find(place) != 0) {
      on_own_bus_ |= bit;
    }
    // Through the multiplexer the own bus is heard too.
    const bool hidden = channel != 0 && (!segments.has_multiplexer() || (on_own_bus_ & bit) != 0);
    if (hidden || probes_.find(place) != 0) {
      return false;
    }
    if (!segments.reach(channel) || !answers(place)) {
      return true;
    }
    if (channel == 0) {
      on_own_bus_ |= bit;
    }
    found = probes_.bind(place, channel != 0 ? channel : static_cast<uint8_t>(1 + index % 2));
    return true;
  }

  static Place candidate(uint8_t channel, uint8_t index) {
    switch (index) {
      case 0: return Place::i2c(Kind::kSht31, channel, Sht31::kFirstAddress);
      case 1: return Place::i2c(Kind::kSht31, channel, Sht31::kSecondAddress);
      case 2: return Place::i2c(Kind::kBme280, channel, Bme280::kFirstAddress);
      default: return Place::i2c(Kind::kBme280, channel, Bme280::kSecondAddress);
    }
  }

  bool answers(const Place& place) {
    I2cBus& bus = probes_.segments().bus();
    return place.kind == Kind::kSht31 ? Sht31::is_there(bus, place.code[1]) : Bme280::is_there(bus, place.code[1]);
  }

  // Whether a chip was spoken to.
  bool look_at_pin(uint8_t pin, uint8_t& found) {
    switch (settings_.role(pin)) {
      case Role::kUnused:
      case Role::kRelay: advance(); return false;
      case Role::kOneWire: look_at_line(pin, found); return true;
      case Role::kDht22: break;
    }
    advance();
    const Place place = Place::pin(pin);
    if (probes_.find(place) != 0) {
      return false;
    }
    if (Dht22::read(probes_.pulse(), pin).valid) {
      found = probes_.bind(place, 0);
    }
    return true;
  }

  // One chip of a line; the line is left after its last one.
  void look_at_line(uint8_t pin, uint8_t& found) {
    if (search_.is_done()) {
      search_.restart();
    }
    if (search_.next(probes_.one_wire(), pin) && Ds18b20::is_family(search_.rom()[0])) {
      const Place place = Place::one_wire(search_.rom());
      uint8_t probe = probes_.find(place);
      if (probe == 0) {
        probe = found = probes_.bind(place, 0);
      }
      if (probe != 0) {
        probes_.seen_on(probe, pin);
      }
    }
    if (search_.is_done()) {
      advance();
    }
  }

  ProbeTable& probes_;
  const Settings& settings_;
  OneWireSearch search_;
  uint8_t at_ = 0;
  uint8_t on_own_bus_ = 0;
};

}  // namespace roost
