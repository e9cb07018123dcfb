// Which chip is which probe.
//
// With a multiplexer at 0x70 the chip (0x44) on its channel c is probe c + 1. Without one the chip at 0x44 is probe 1 and
// the chip at 0x45 is probe 2. A number means the same place until the hub restarts: once a multiplexer was seen, a
// silent one makes its probes fail and does not renumber them; once a chip was seen without a multiplexer, one that is
// plugged in later is not used.
//
// Every probe is tried in every round, so that a chip that comes (back) is found. A probe is known, and worth a reading,
// from the first time its chip answered.
#pragma once

#include <stdint.h>

#include "i2c_bus.h"
#include "measurement.h"
#include "sht31.h"
#include "tca9548a.h"

namespace roost {

constexpr uint8_t kMaxProbes = 8;

class ProbeTable {
 public:
  explicit ProbeTable(I2cBus& bus) : bus_(bus) {}

  // Start a measurement of a probe, 1 to kMaxProbes.
  void start(uint8_t probe) {
    started_ = reach(probe) && Sht31::start(bus_, address(probe));
    if (started_) {
      known_ = static_cast<uint8_t>(known_ | mask(probe));
    }
  }

  // What start() measured, Sht31::kMeasureMs later. Not valid when the chip failed; never an older value.
  Measurement fetch(uint8_t probe) {
    const bool can = started_;
    started_ = false;
    return can && reach(probe) ? Sht31::fetch(bus_, address(probe)) : kNoMeasurement;
  }

  // Whether the probe's chip answered since the hub started.
  bool is_known(uint8_t probe) const { return (known_ & mask(probe)) != 0; }

 private:
  enum class Wiring : uint8_t { kUnknown, kDirect, kMultiplexed };

  static uint8_t mask(uint8_t probe) { return static_cast<uint8_t>(1U << (probe - 1)); }

  uint8_t address(uint8_t probe) const {
    return wiring_ == Wiring::kDirect && probe == 2 ? Sht31::kSecondAddress : Sht31::kFirstAddress;
  }

  // Make the probe's chip reachable, deciding how the probes are wired while nothing was found yet.
  bool reach(uint8_t probe) {
    if (known_ == 0 && wiring_ != Wiring::kMultiplexed) {
      wiring_ = Tca9548a::select(bus_, 0) ? Wiring::kMultiplexed : Wiring::kDirect;
    }
    return wiring_ == Wiring::kMultiplexed ? Tca9548a::select(bus_, static_cast<uint8_t>(probe - 1)) : probe <= 2;
  }

  I2cBus& bus_;
  Wiring wiring_ = Wiring::kUnknown;
  uint8_t known_ = 0;
  bool started_ = false;
};

}  // namespace roost
