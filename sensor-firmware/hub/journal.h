// A value in EEPROM that no power cut loses: several records, written in turn, of which the newest whole one counts.
//
//   | number | value … | checksum |   number | value … | checksum |   …
//
// A record is cut short by a power cut at any byte: then its checksum is wrong and the one before it counts.
#pragma once

#include <stdint.h>

#include "crc16.h"
#include "memory.h"

namespace roost {

// T is of bytes only. `slots` is 2 to 64; more spread the wear, for a cell bears 100,000 writes.
template <class T>
class Journal {
 public:
  static constexpr uint16_t kRecord = 1 + sizeof(T) + 2;

  constexpr Journal(uint16_t at, uint8_t slots) : at_(at), slots_(slots) {}

  // The newest whole value. False, and `value` as it was, when there is none.
  bool load(Memory& memory, T& value) const {
    const uint8_t slot = newest(memory);
    if (slot == kNoSlot) {
      return false;
    }
    auto* bytes = reinterpret_cast<uint8_t*>(&value);
    for (uint8_t i = 0; i < sizeof(T); ++i) {
      bytes[i] = memory.read(static_cast<uint16_t>(address(slot) + 1 + i));
    }
    return true;
  }

  void save(Memory& memory, const T& value) const {
    const uint8_t last = newest(memory);
    const uint8_t number = last == kNoSlot ? 0 : static_cast<uint8_t>(memory.read(address(last)) + 1);
    uint16_t at = address(last == kNoSlot ? 0 : static_cast<uint8_t>((last + 1) % slots_));
    uint16_t sum = crc16_update(kStart, number);
    memory.write(at++, number);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    for (uint8_t i = 0; i < sizeof(T); ++i) {
      sum = crc16_update(sum, bytes[i]);
      memory.write(at++, bytes[i]);
    }
    memory.write(at++, static_cast<uint8_t>(sum));
    memory.write(at, static_cast<uint8_t>(sum >> 8));
  }

 private:
  // Another layout of the EEPROM starts from another number, so that records of an older firmware are not taken for ours.
  static constexpr uint16_t kLayout = 1;
  static constexpr uint16_t kStart = kCrc16Start ^ kLayout;
  static constexpr uint8_t kNoSlot = 0xFF;

  uint16_t address(uint8_t slot) const { return static_cast<uint16_t>(at_ + slot * kRecord); }

  bool is_whole(Memory& memory, uint8_t slot) const {
    const uint16_t at = address(slot);
    uint16_t sum = kStart;
    for (uint16_t i = 0; i < kRecord - 2; ++i) {
      sum = crc16_update(sum, memory.read(static_cast<uint16_t>(at + i)));
    }
    return memory.read(at + kRecord - 2) == (sum & 0xFF) && memory.read(at + kRecord - 1) == sum >> 8;
  }

  // The slot of the newest whole record, or kNoSlot.
  uint8_t newest(Memory& memory) const {
    uint8_t slot = kNoSlot;
    uint8_t number = 0;
    for (uint8_t i = 0; i < slots_; ++i) {
      const uint8_t candidate = memory.read(address(i));
      // Numbers wrap; records in use are fewer than half of all numbers apart.
      const bool newer = slot == kNoSlot || static_cast<int8_t>(static_cast<uint8_t>(candidate - number)) > 0;
      if (newer && is_whole(memory, i)) {
        number = candidate;
        slot = i;
      }
    }
    return slot;
  }

  uint16_t at_;
  uint8_t slots_;
};

}  // namespace roost
