// Lines the hub writes. See PROTOCOL.md. Every line fits in kMaxLine, so that appending needs no error path: the longest,
// a hello, has 13 + 32 + 1 + 48 + 7 = 101 bytes.
#pragma once

#include <stdint.h>

#include "crc16.h"
#include "measurement.h"
#include "place.h"

namespace roost {

constexpr uint8_t kMaxLine = 120;

// What became of a command.
enum class AckCode : uint8_t { kDone = 0, kUnsupported = 1, kInvalid = 2, kFailed = 3 };

// One line from '$' to the line feed.
class Frame {
 public:
  static Frame reading(uint16_t seq, uint8_t probe, Kind kind, const Measurement& m) {
    Frame frame('R', seq);
    frame.field(probe);
    frame.optional(m.valid, m.temperature_centi);
    frame.optional(m.valid && m.has_humidity, m.humidity_centi);
    frame.field(static_cast<uint8_t>(kind));
    return frame.finish();
  }

  static Frame hello(uint16_t seq, uint8_t version, const char* firmware, const char* capabilities) {
    Frame frame('H', seq);
    frame.field(version);
    frame.field(firmware);
    frame.field(capabilities);
    return frame.finish();
  }

  static Frame fan(uint16_t seq, uint8_t fan, uint16_t duty_centi, bool counted, uint16_t rpm) {
    Frame frame('T', seq);
    frame.field(fan);
    frame.field(duty_centi);
    frame.optional(counted, rpm);
    return frame.finish();
  }

  static Frame status(uint16_t seq, uint32_t uptime_s, uint8_t relays_on, uint8_t relays_there, bool silent) {
    Frame frame('S', seq);
    frame.field(static_cast<int32_t>(uptime_s));
    frame.field(relays_on);
    frame.field(relays_there);
    frame.field(silent ? 1 : 0);
    return frame.finish();
  }

  static Frame identity(uint16_t seq, uint8_t probe, const Place& place) {
    Frame frame('I', seq);
    frame.field(probe);
    frame.field(static_cast<uint8_t>(place.kind));
    frame.field(PlaceText(place).c_str());
    return frame.finish();
  }

  static Frame setting(uint16_t seq, uint8_t key, uint16_t value) {
    Frame frame('V', seq);
    frame.field(key);
    frame.field(value);
    return frame.finish();
  }

  static Frame ack(uint16_t command_seq, AckCode code) {
    Frame frame('A', command_seq);
    frame.field(static_cast<uint8_t>(code));
    return frame.finish();
  }

  const char* bytes() const { return bytes_; }
  uint8_t length() const { return length_; }

 private:
  Frame(char type, uint16_t seq) : length_(0) {
    put('$');
    put(type);
    field(seq);
  }

  Frame& finish() {
    const uint16_t crc = crc16(bytes_ + 1, static_cast<uint8_t>(length_ - 1));
    put('*');
    for (int8_t shift = 12; shift >= 0; shift = static_cast<int8_t>(shift - 4)) {
      put("0123456789ABCDEF"[(crc >> shift) & 0xF]);
    }
    put('\r');
    put('\n');
    return *this;
  }

  void field(const char* text) {
    put(',');
    while (*text != '\0') {
      put(*text++);
    }
  }

  void field(int32_t value) {
    put(',');
    number(value);
  }

  void optional(bool there, int32_t value) {
    put(',');
    if (there) {
      number(value);
    }
  }

  void number(int32_t value) {
    if (value < 0) {
      put('-');
      value = -value;
    }
    char digits[10];
    uint8_t count = 0;
    do {
      digits[count++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (count != 0) {
      put(digits[--count]);
    }
  }

  void put(char byte) {
    if (length_ < kMaxLine) {
      bytes_[length_++] = byte;
    }
  }

  char bytes_[kMaxLine];
  uint8_t length_;
};

}  // namespace roost
