// Relays: the eight pins of a PCF8574 when there is one, else the general pins whose role it is.
//
// Which are on is kept in EEPROM and set again at the start, so that a restart of the hub cuts nobody's power for longer
// than the restart itself; a PCF8574 holds its pins even then.
#pragma once

#include <stdint.h>

#include "frame.h"
#include "i2c_bus.h"
#include "layout.h"
#include "outputs.h"
#include "pcf8574.h"
#include "settings.h"

namespace roost {

class Relays {
 public:
  Relays(Outputs& pins, I2cBus& bus, Memory& memory, const Settings& settings)
      : pins_(pins), bus_(bus), memory_(memory), settings_(settings) {}

  void begin() {
    kRelayJournal.load(memory_, on_);
    refresh();
    apply_roles();
  }

  // Bit n - 1: there is a relay n.
  uint8_t there() const { return expander_ != 0 ? 0xFF : pin_relays_; }
  // Bit n - 1: relay n is on.
  uint8_t on() const { return static_cast<uint8_t>(on_ & there()); }

  // Switch a relay, 1 to kRelays.
  AckCode set(uint8_t relay, bool on) {
    const uint8_t mask = static_cast<uint8_t>(1U << (relay - 1));
    if ((there() & mask) == 0) {
      return AckCode::kInvalid;
    }
    const uint8_t wanted = static_cast<uint8_t>(on ? on_ | mask : on_ & ~mask);
    if (expander_ != 0) {
      if (!Pcf8574::write(bus_, expander_, levels(wanted))) {
        return AckCode::kFailed;
      }
    } else {
      pins_.drive_pin(relay, (levels(wanted) & mask) != 0);
    }
    keep(wanted);
    return AckCode::kDone;
  }

  // Look for a PCF8574, or tell the one there is its levels again: it may have lost its power.
  void refresh() {
    if (expander_ == 0) {
      expander_ = Pcf8574::find(bus_);
      if (expander_ != 0) {
        apply_roles();
      }
    }
    if (expander_ != 0) {
      Pcf8574::write(bus_, expander_, levels(on_));
    }
  }

  // The settings may have changed: give each general pin the level of its role.
  void apply_roles() {
    uint8_t relays = 0;
    uint8_t forgotten = 0;
    for (uint8_t pin = 1; pin <= kPins; ++pin) {
      const uint8_t mask = static_cast<uint8_t>(1U << (pin - 1));
      if (expander_ == 0 && settings_.role(pin) == Role::kRelay) {
        relays = static_cast<uint8_t>(relays | mask);
        pins_.drive_pin(pin, (levels(on_) & mask) != 0);
      } else if ((pin_relays_ & mask) != 0) {
        pins_.release_pin(pin);
        // One that is a relay again later begins switched off. A PCF8574 takes the relays over as they are.
        forgotten = static_cast<uint8_t>(expander_ == 0 ? forgotten | mask : 0);
      }
    }
    pin_relays_ = relays;
    keep(static_cast<uint8_t>(on_ & ~forgotten));
  }

 private:
  uint8_t levels(uint8_t on) const { return static_cast<uint8_t>(on ^ settings_.relays_active_low); }

  void keep(uint8_t on) {
    if (on != on_) {
      on_ = on;
      kRelayJournal.save(memory_, on_);
    }
  }

  Outputs& pins_;
  I2cBus& bus_;
  Memory& memory_;
  const Settings& settings_;
  uint8_t on_ = 0;
  uint8_t pin_relays_ = 0;
  uint8_t expander_ = 0;
};

}  // namespace roost
