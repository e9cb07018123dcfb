// What a person can set, kept in EEPROM. Keys and ranges are in PROTOCOL.md.
#pragma once

#include <stdint.h>

#include "place.h"

namespace roost {

constexpr uint8_t kFans = 4;
constexpr uint8_t kRelays = 8;
// General pins: each a relay, a 1-Wire line or a DHT22. As many as relays, whose number is the pin's.
constexpr uint8_t kPins = kRelays;

enum class Role : uint8_t { kUnused = 0, kRelay = 1, kOneWire = 2, kDht22 = 3 };

constexpr uint8_t kFansExpectedKey = 1;
constexpr uint8_t kTachPulsesKey = 2;
constexpr uint8_t kSilenceKey = 3;
constexpr uint8_t kActiveLowKey = 4;
constexpr uint8_t kFirstRoleKey = 11;
constexpr uint8_t kFirstProbeKey = 21;

struct Settings {
  uint8_t fans_expected = 0;
  uint8_t tach_pulses = 2;
  uint8_t silence_s = 30;
  uint8_t relays_active_low = 0xFF;
  uint8_t roles[kPins] = {static_cast<uint8_t>(Role::kOneWire), static_cast<uint8_t>(Role::kDht22)};

  // The role of a general pin, 1 to kPins.
  Role role(uint8_t pin) const { return static_cast<Role>(roles[pin - 1]); }

  // The value of a key; false when it is none of these.
  bool get(uint8_t key, uint16_t& value) const {
    const uint8_t* place = const_cast<Settings*>(this)->find(key);
    if (place != nullptr) {
      value = *place;
    }
    return place != nullptr;
  }

  // False, and nothing changed, when there is no such key or the value is out of its range.
  bool set(uint8_t key, uint16_t value) {
    uint8_t* place = find(key);
    if (place == nullptr || !in_range(key, value)) {
      return false;
    }
    *place = static_cast<uint8_t>(value);
    return true;
  }

 private:
  uint8_t* find(uint8_t key) {
    switch (key) {
      case kFansExpectedKey: return &fans_expected;
      case kTachPulsesKey: return &tach_pulses;
      case kSilenceKey: return &silence_s;
      case kActiveLowKey: return &relays_active_low;
      default: return key >= kFirstRoleKey && key < kFirstRoleKey + kPins ? &roles[key - kFirstRoleKey] : nullptr;
    }
  }

  static bool in_range(uint8_t key, uint16_t value) {
    switch (key) {
      case kFansExpectedKey: return value < 1U << kFans;
      case kTachPulsesKey: return value >= 1 && value <= 8;
      case kSilenceKey: return value >= 5 && value <= 30;
      case kActiveLowKey: return value <= 0xFF;
      default: return value <= static_cast<uint8_t>(Role::kDht22);
    }
  }
};

}  // namespace roost
