// Remembers the commands that were answered a while ago, so that one that comes again is answered the same and not done
// again.
#pragma once

#include <stdint.h>

#include "command.h"
#include "frame.h"

namespace roost {

class Answered {
 public:
  static constexpr uint8_t kKept = 4;
  static constexpr uint16_t kKeptMs = 10000;

  // Whether these very bytes were answered; `code` is then the answer.
  bool find(const Command& command, uint32_t now_ms, AckCode& code) const {
    for (const Entry& entry : entries_) {
      const bool same = entry.used && entry.seq == command.seq && entry.sum == command.sum;
      if (same && now_ms - entry.at_ms <= kKeptMs) {
        code = entry.code;
        return true;
      }
    }
    return false;
  }

  void note(const Command& command, uint32_t now_ms, AckCode code) {
    entries_[next_] = Entry{now_ms, command.seq, command.sum, code, true};
    next_ = static_cast<uint8_t>((next_ + 1) % kKept);
  }

  // Forget all: what was done is undone, so that the same bytes ask for something again.
  void forget() {
    for (Entry& entry : entries_) {
      entry.used = false;
    }
  }

  // Forget what is too old; at least once in the time a clock of 32 bits needs to wrap.
  void age(uint32_t now_ms) {
    for (Entry& entry : entries_) {
      entry.used = entry.used && now_ms - entry.at_ms <= kKeptMs;
    }
  }

 private:
  struct Entry {
    uint32_t at_ms;
    uint16_t seq;
    uint16_t sum;
    AckCode code;
    bool used;
  };

  Entry entries_[kKept] = {};
  uint8_t next_ = 0;
};

}  // namespace roost
