// Reads the lines a host sends. Whatever has no right checksum is dropped without an answer.
#pragma once

#include <stdint.h>
#include <string.h>

#include "crc16.h"
#include "frame.h"

namespace roost {

struct Command {
  char type;        // the letter after '$'; '\0' when the type has more than one byte
  uint16_t seq;     // what the answer carries
  bool has_fields;  // more fields follow seq
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
    return sum == crc16(line_, body) && parse_body(body, command);
  }

  // The value of an upper-case hexadecimal digit, or -1.
  static int8_t hex_value(char digit) {
    if (digit >= '0' && digit <= '9') {
      return static_cast<int8_t>(digit - '0');
    }
    return digit >= 'A' && digit <= 'F' ? static_cast<int8_t>(digit - 'A' + 10) : static_cast<int8_t>(-1);
  }

  // TYPE,seq[,fields]. The number must be canonical: no sign, no leading zero.
  bool parse_body(uint8_t body, Command& command) const {
    const char* comma = static_cast<const char*>(memchr(line_, ',', body));
    if (comma == nullptr || comma == line_) {
      return false;
    }
    command.type = comma == line_ + 1 ? line_[0] : '\0';
    const char* const end = line_ + body;
    const char* at = comma + 1;
    const char* const first = at;
    uint32_t seq = 0;
    for (; at != end && *at >= '0' && *at <= '9'; ++at) {
      seq = seq * 10 + static_cast<uint32_t>(*at - '0');
      if (seq > UINT16_MAX) {
        return false;
      }
    }
    const bool canonical = at != first && (at == first + 1 || *first != '0');
    if (!canonical || (at != end && *at != ',')) {
      return false;
    }
    command.seq = static_cast<uint16_t>(seq);
    command.has_fields = at != end;
    return true;
  }

  char line_[kMaxLine - 1];  // what follows '$'
  uint8_t length_ = 0;
  bool inside_ = false;
};

}  // namespace roost
