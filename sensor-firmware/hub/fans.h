// Drives fans and counts how they turn. Full is where they start, and where they go when nobody cares for them.
#pragma once

#include <stdint.h>

#include "outputs.h"
#include "settings.h"

namespace roost {

class Fans {
 public:
  static constexpr uint16_t kFull = 10000;
  static constexpr uint16_t kWindowMs = 2000;

  Fans(Outputs& out, const Settings& settings) : out_(out), settings_(settings) {}

  void begin(uint32_t now_ms) {
    window_began_ms_ = now_ms;
    full();
    for (uint8_t fan = 1; fan <= kFans; ++fan) {
      state_[fan - 1].counted = out_.fan_pulses(fan);
    }
  }

  void set(uint8_t fan, uint16_t duty_centi) {
    known_ = static_cast<uint8_t>(known_ | mask(fan));
    drive(fan, duty_centi);
  }

  void full() {
    for (uint8_t fan = 1; fan <= kFans; ++fan) {
      drive(fan, kFull);
    }
  }

  // Count the pulses of a window that has ended. True when one has.
  bool count(uint32_t now_ms) {
    const uint32_t passed = now_ms - window_began_ms_;
    if (passed < kWindowMs) {
      return false;
    }
    window_began_ms_ = now_ms;
    counted_ = true;
    for (uint8_t fan = 1; fan <= kFans; ++fan) {
      State& state = state_[fan - 1];
      const uint16_t all = out_.fan_pulses(fan);
      const uint16_t pulses = static_cast<uint16_t>(all - state.counted);
      state.counted = all;
      const uint32_t rpm = pulses * 60000UL / (passed * settings_.tach_pulses);
      state.rpm = static_cast<uint16_t>(rpm > kMaxRpm ? kMaxRpm : rpm);
      if (pulses != 0) {
        known_ = static_cast<uint8_t>(known_ | mask(fan));
      }
    }
    return true;
  }

  // Bit n - 1: fan n turned, was set, or is expected.
  uint8_t known() const { return static_cast<uint8_t>(known_ | settings_.fans_expected); }
  uint16_t duty(uint8_t fan) const { return state_[fan - 1].duty_centi; }
  // Whether rpm() means something.
  bool is_counted() const { return counted_; }
  uint16_t rpm(uint8_t fan) const { return state_[fan - 1].rpm; }

 private:
  static constexpr uint16_t kMaxRpm = 60000;

  struct State {
    uint16_t duty_centi;
    uint16_t counted;
    uint16_t rpm;
  };

  static uint8_t mask(uint8_t fan) { return static_cast<uint8_t>(1U << (fan - 1)); }

  void drive(uint8_t fan, uint16_t duty_centi) {
    state_[fan - 1].duty_centi = duty_centi;
    out_.set_fan(fan, duty_centi);
  }

  Outputs& out_;
  const Settings& settings_;
  State state_[kFans] = {};
  uint32_t window_began_ms_ = 0;
  uint8_t known_ = 0;
  bool counted_ = false;
};

}  // namespace roost
