// Reads the lines a host sends. Whatever has no right checksum is dropped without an answer.
#pragma once

#include <stdint.h>
#include <string.h>

#include "crc16.h"
#include "frame.h"

namespace roost {

constexpr uint8_t kMaxFields = 2;

struct Command {
  char type;                    // the letter after '$'; '\0' when the type has more than one byte
  uint16_t seq;                 // what the answer carries
  uint16_t sum;                 // checksum of the line: tells one command from another with the same seq
  bool is_sound;                // at most kMaxFields fields follow seq, all of them numbers
  uint8_t count;                // fields after seq
  uint16_t fields[kMaxFields];  // their values

  // Whether there are just so many fields.
  bool has(uint8_t wanted) const { return is_sound && count == wanted; }
};

// Takes the line's bytes, finds its place again at every '$', holds at most one line.
class CommandReader {
 public:
  // Take one byte. True when it ends a good line; `command` then holds it.
  bool push(char byte, Command& command) {
    if (byte == '$') {
      inside_ = true;
      length_ = 0;
      return false;
    }
    if (!inside_) {
      return false;
    }
    if (length_ == sizeof line_) {
      inside_ = false;
      return false;
    }
    line_[length_++] = byte;
    if (byte != '\n') {
      return false;
    }
    inside_ = false;
    return parse(command);
  }

 private:
  static constexpr uint8_t kTail = 7;  // "*CCCC\r\n"

  bool parse(Command& command) const {
    if (length_ < kTail) {
      return false;
    }
    const uint8_t body = static_cast<uint8_t>(length_ - kTail);
    const char* tail = line_ + body;
    if (tail[0] != '*' || tail[5] != '\r') {
      return false;
    }
    uint16_t sum = 0;
    for (uint8_t i = 1; i <= 4; ++i) {
      const int8_t digit = hex_value(tail[i]);
      if (digit < 0) {
        return false;
      }
      sum = static_cast<uint16_t>((sum << 4) | static_cast<uint16_t>(digit));
    }
    command.sum = sum;
    return sum == crc16(line_, body) && parse_body(body, command);
  }

  // The value of an upper-case hexadecimal digit, or -1.
  static int8_t hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
      return static_cast<int8_t>(digit - '0');
    }
    return digit >= 'A' && digit <= 'F' ? static_cast<int8_t>(digit - 'A' + 10) : static_cast<int8_t>(-1);
  }

  // TYPE,seq[,field…]. A line whose seq is no number cannot be answered; one with other senseless fields can.
  bool parse_body(uint8_t body, Command& command) const {
    const char* comma = static_cast<const char*>(memchr(line_, ',', body));
    if (comma == nullptr || comma == line_) {
      return false;
    }
    command.type = comma == line_ + 1 ? line_[0] : '\0';
    const char* const end = line_ + body;
    const char* at = comma + 1;
    if (!number(at, end, command.seq)) {
      return false;
    }
    command.is_sound = true;
    command.count = 0;
    while (at != end && command.is_sound) {
      ++at;
      command.is_sound = command.count < kMaxFields && number(at, end, command.fields[command.count]);
      ++command.count;
    }
    return true;
  }

  // Read a number up to the next comma or the end. It must be canonical (no sign, no leading zero) and fit.
  static bool number(const char*& at, const char* end, uint16_t& value) {
    const char* const first = at;
    uint32_t sum = 0;
    for (; at != end && *at >= '0' && *at <= '9'; ++at) {
      sum = sum * 10 + static_cast<uint32_t>(*at - '0');
      if (sum > UINT16_MAX) {
        return false;
      }
    }
    value = static_cast<uint16_t>(sum);
    const bool canonical = at != first && (at == first + 1 || *first != '0');
    return canonical && (at == end || *at == ',');
  }

  char line_[kMaxLine - 1];  // what follows '$'
  uint8_t length_ = 0;
  bool inside_ = false;
};

}  // namespace roost
