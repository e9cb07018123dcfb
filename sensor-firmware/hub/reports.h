// Lines that wait for room on the serial line. What waits is a mask, not the lines: each is made when it is its turn, from
// what is true then, so that a flood of queries makes no queue.
#pragma once

#include <stdint.h>

#include "fans.h"
#include "frame.h"
#include "probe_table.h"
#include "relays.h"
#include "settings.h"
#include "version.h"

namespace roost {

// Where the hub's lines go.
class LineSink {
 public:
  // Bytes that can be taken without waiting.
  virtual uint8_t room() const = 0;
  virtual void send(const char* bytes, uint8_t length) = 0;

 protected:
  ~LineSink() = default;
};

class Reports {
 public:
  Reports(LineSink& out, const Fans& fans, const Relays& relays, const ProbeTable& probes, const Settings& settings)
      : out_(out), fans_(fans), relays_(relays), probes_(probes), settings_(settings) {}

  void hello() { hello_ = true; }
  // Everything there is to say but readings and settings.
  void everything() {
    hello_ = status_ = true;
    places_ = 0xFF;
    turning_ = 0xFF;
  }
  void status() { status_ = true; }
  void place(uint8_t probe) { places_ = static_cast<uint8_t>(places_ | 1U << (probe - 1)); }
  void turning() { turning_ = 0xFF; }
  // False when there is no such setting.
  bool setting(uint8_t key) {
    uint16_t value;
    if (!value_of(key, value)) {
      return false;
    }
    keys_ |= 1UL << key;
    return true;
  }

  // Send at most one line that waits, if there is room.
  void speak(uint32_t uptime_s, bool silent) {
    if (hello_) {
      hello_ = !sent(Frame::hello(seq_, kProtocolVersion, kFirmware, kCapabilities));
    } else if (keys_ != 0) {
      const uint8_t key = lowest(keys_);
      uint16_t value = 0;
      value_of(key, value);
      keys_ &= ~(static_cast<uint32_t>(sent(Frame::setting(seq_, key, value))) << key);
    } else if (status_) {
      status_ = !sent(Frame::status(seq_, uptime_s, relays_.on(), relays_.there(), silent));
    } else if (places_ != 0) {
      const uint8_t probe = static_cast<uint8_t>(lowest(places_) + 1);
      if (!probes_.is_known(probe) || sent(Frame::identity(seq_, probe, probes_.place(probe)))) {
        places_ = static_cast<uint8_t>(places_ & ~(1U << (probe - 1)));
      }
    } else if (turning_ != 0) {
      speak_of_fan(static_cast<uint8_t>(lowest(turning_) + 1));
    }
  }

  // Send a reading, or leave it out without room: the next one is a second away.
  void reading(uint8_t probe, const Measurement& measured) {
    sent(Frame::reading(seq_, probe, probes_.place(probe).kind, measured));
  }

  // Answer a command, or leave it out without room: the host asks again.
  void answer(uint16_t command_seq, AckCode code) {
    const Frame frame = Frame::ack(command_seq, code);
    if (has_room(frame)) {
      out_.send(frame.bytes(), frame.length());
    }
  }

 private:
  // A sink that has so much room takes any line at once, or after the 5 ms in which it sends what is over.
  static constexpr uint8_t kEnough = 60;

  bool has_room(const Frame& frame) const {
    return out_.room() >= (frame.length() < kEnough ? frame.length() : kEnough);
  }

  // Send a line of the hub's own sequence.
  bool sent(const Frame& frame) {
    if (!has_room(frame)) {
      return false;
    }
    out_.send(frame.bytes(), frame.length());
    ++seq_;
    return true;
  }

  void speak_of_fan(uint8_t fan) {
    const bool known = fan <= kFans && (fans_.known() >> (fan - 1) & 1) != 0;
    if (!known || sent(Frame::fan(seq_, fan, fans_.duty(fan), fans_.is_counted(), fans_.rpm(fan)))) {
      turning_ = static_cast<uint8_t>(turning_ & ~(1U << (fan - 1)));
    }
  }

  bool value_of(uint8_t key, uint16_t& value) const {
    if (key >= kFirstProbeKey && key < kFirstProbeKey + kMaxProbes) {
      value = probes_.is_known(static_cast<uint8_t>(key - kFirstProbeKey + 1)) ? 1 : 0;
      return true;
    }
    return settings_.get(key, value);
  }

  static uint8_t lowest(uint32_t mask) {
    uint8_t bit = 0;
    while ((mask >> bit & 1) == 0) {
      ++bit;
    }
    return bit;
  }

  static_assert(kFirstProbeKey + kMaxProbes <= 32, "a bit for each key");

  LineSink& out_;
  const Fans& fans_;
  const Relays& relays_;
  const ProbeTable& probes_;
  const Settings& settings_;
  uint16_t seq_ = 0;
  uint32_t keys_ = 0;
  uint8_t places_ = 0;
  uint8_t turning_ = 0;
  bool hello_ = false;
  bool status_ = false;
};

}  // namespace roost
