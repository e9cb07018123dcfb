// Which chip is which probe, and measuring with each kind.
//
// A number is bound to a place when a chip is first found there, and the bond is kept in EEPROM: chips that are plugged in
// another order, or missing when the hub starts, keep their numbers. See PROTOCOL.md, "Numbers of probes".
//
//   kind             start()                                 fetch(), kFetchMs later
//   SHT31, BME280    starts a measurement                    fetches it
//   DS18B20          fetches the last one, starts the next   gives what was fetched; nothing in the first round
//   DHT22            measures, every other round             gives it; nothing in the rounds between
#pragma once

#include <stdint.h>

#include "bme280.h"
#include "dht22.h"
#include "ds18b20.h"
#include "i2c_segments.h"
#include "layout.h"
#include "measurement.h"
#include "one_wire.h"
#include "place.h"
#include "settings.h"
#include "sht31.h"

namespace roost {

// What chips hang on.
struct Wires {
  I2cBus& i2c;
  OneWireBus& one_wire;
  PulseWire& pulse;
};

class ProbeTable {
 public:
  // From start() to fetch(): the slowest chip on I2C.
  static constexpr uint8_t kFetchMs = 20;
  static_assert(Sht31::kMeasureMs <= kFetchMs && Bme280::kMeasureMs <= kFetchMs, "chips have their time");

  ProbeTable(const Wires& wires, Memory& memory, const Settings& settings)
      : segments_(wires.i2c), one_wire_(wires.one_wire), pulse_(wires.pulse), memory_(memory), settings_(settings) {}

  // Read the bonds.
  void begin() {
    for (uint8_t probe = 1; probe <= kMaxProbes; ++probe) {
      Place& place = places_[probe - 1];
      if (!probe_journal(probe).load(memory_, place) || place.kind > Kind::kDht22) {
        place = Place::none();
      }
      rest(probe);
    }
  }

  // Start a measurement of a probe, 1 to kMaxProbes. Call once a second for each.
  void start(uint8_t probe) {
    const Place& place = places_[probe - 1];
    result_ = kNoMeasurement;
    is_started_ = false;
    has_news_ = is_known(probe);
    switch (place.kind) {
      case Kind::kNone: break;
      case Kind::kSht31:
        is_started_ = segments_.reach(place.code[0]) && Sht31::start(segments_.bus(), place.code[1]);
        break;
      case Kind::kBme280:
        is_started_ = segments_.reach(place.code[0]) && Bme280::start(segments_.bus(), place.code[1]);
        break;
      case Kind::kDs18b20: turn_ds18b20(probe); break;
      case Kind::kDht22:
        has_news_ = extra_[probe - 1] == 0;
        if (!has_news_) {
          --extra_[probe - 1];
          break;
        }
        extra_[probe - 1] = 1;
        if (has_role(place.code[0], Role::kDht22)) {
          result_ = Dht22::read(pulse_, place.code[0]);
        }
        break;
    }
  }

  // What start() measured. False when there is nothing to tell now. A measurement that failed is not valid; an older one
  // is never given again.
  bool fetch(uint8_t probe, Measurement& out) {
    const Place& place = places_[probe - 1];
    if (is_started_ && segments_.reach(place.code[0])) {
      result_ = place.kind == Kind::kSht31 ? Sht31::fetch(segments_.bus(), place.code[1])
                                           : Bme280::fetch(segments_.bus(), place.code[1]);
    }
    const bool had_news = has_news_;
    is_started_ = false;
    has_news_ = false;
    out = is_in_range(result_) ? result_ : kNoMeasurement;
    result_ = kNoMeasurement;
    return had_news;
  }

  bool is_known(uint8_t probe) const { return places_[probe - 1].kind != Kind::kNone; }
  const Place& place(uint8_t probe) const { return places_[probe - 1]; }

  // The number a place is bound to, or 0.
  uint8_t find(const Place& place) const {
    for (uint8_t probe = 1; probe <= kMaxProbes; ++probe) {
      if (places_[probe - 1] == place) {
        return probe;
      }
    }
    return 0;
  }

  // Bind a place to a number: this one if it is free (0: any), else the lowest free one. 0 when none is free.
  uint8_t bind(const Place& place, uint8_t preferred) {
    uint8_t number = preferred != 0 && !is_known(preferred) ? preferred : 0;
    for (uint8_t probe = 1; probe <= kMaxProbes && number == 0; ++probe) {
      number = is_known(probe) ? 0 : probe;
    }
    if (number != 0) {
      keep(number, place);
    }
    return number;
  }

  // Set a number free.
  void forget(uint8_t probe) {
    if (is_known(probe)) {
      keep(probe, Place::none());
    }
  }

  // A DS18B20 was seen on the line of this general pin. Its number does not say where it is.
  void seen_on(uint8_t probe, uint8_t pin) { extra_[probe - 1] = pin; }

  I2cSegments& segments() { return segments_; }
  OneWireBus& one_wire() { return one_wire_; }
  PulseWire& pulse() { return pulse_; }

 private:
  // What a reading may carry. Some chips can tell of more, where they say themselves that they are not exact.
  static bool is_in_range(const Measurement& m) {
    return m.temperature_centi >= -4000 && m.temperature_centi <= 12500 && m.humidity_centi <= 10000;
  }

  static uint8_t mask(uint8_t probe) { return static_cast<uint8_t>(1U << (probe - 1)); }

  // A pin that was given another role since must be left alone: it may be a relay now.
  bool has_role(uint8_t pin, Role role) const { return pin >= 1 && pin <= kPins && settings_.role(pin) == role; }

  // A DHT22 that was just read, or just got its power, says nothing for 2 s.
  void rest(uint8_t probe) { extra_[probe - 1] = places_[probe - 1].kind == Kind::kDht22 ? 2 : 0; }

  // The measurement that was started a second ago, and the next one.
  void turn_ds18b20(uint8_t probe) {
    const uint8_t seen_on = extra_[probe - 1];
    const uint8_t line = has_role(seen_on, Role::kOneWire) ? seen_on : 0;
    const uint8_t* rom = places_[probe - 1].code;
    const bool was_started = (measures_ & mask(probe)) != 0;
    if (was_started && line != 0) {
      result_ = Ds18b20::fetch(one_wire_, line, rom);
    }
    const bool is_started = line != 0 && Ds18b20::start(one_wire_, line, rom);
    measures_ = static_cast<uint8_t>(is_started ? measures_ | mask(probe) : measures_ & ~mask(probe));
    has_news_ = was_started || !is_started;
  }

  void keep(uint8_t probe, const Place& place) {
    places_[probe - 1] = place;
    rest(probe);
    measures_ = static_cast<uint8_t>(measures_ & ~mask(probe));
    probe_journal(probe).save(memory_, place);
  }

  I2cSegments segments_;
  OneWireBus& one_wire_;
  PulseWire& pulse_;
  Memory& memory_;
  const Settings& settings_;
  Place places_[kMaxProbes] = {};
  // Of a DS18B20 the general pin it was seen on, or 0; of a DHT22 the rounds it is left in peace.
  uint8_t extra_[kMaxProbes] = {};
  // Bit n - 1: the DS18B20 measures.
  uint8_t measures_ = 0;
  Measurement result_ = kNoMeasurement;
  bool is_started_ = false;
  bool has_news_ = false;
};

}  // namespace roost
