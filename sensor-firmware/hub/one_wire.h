// Maxim's 1-Wire: bytes, chip numbers, and the search that finds every chip on a line. The timing of single bits is the
// board's.
#pragma once

#include <stdint.h>
#include <string.h>

namespace roost {

// The lines' bits. A line is a general pin, pulled up by 4.7 kOhm.
class OneWireBus {
 public:
  // Reset the chips of a line. False when none answers, or the line does not rise.
  virtual bool reset(uint8_t pin) = 0;
  virtual void write_bit(uint8_t pin, bool bit) = 0;
  virtual bool read_bit(uint8_t pin) = 0;

  void write_byte(uint8_t pin, uint8_t byte) {
    for (uint8_t i = 0; i < 8; ++i) {
      write_bit(pin, (byte >> i & 1) != 0);
    }
  }

  uint8_t read_byte(uint8_t pin) {
    uint8_t byte = 0;
    for (uint8_t i = 0; i < 8; ++i) {
      byte = static_cast<uint8_t>(byte | (read_bit(pin) ? 1U << i : 0U));
    }
    return byte;
  }

  // Reset the line and speak to one chip. False when no chip answers the reset.
  bool select(uint8_t pin, const uint8_t* rom) {
    if (!reset(pin)) {
      return false;
    }
    write_byte(pin, kMatchRom);
    for (uint8_t i = 0; i < kRomBytes; ++i) {
      write_byte(pin, rom[i]);
    }
    return true;
  }

  static constexpr uint8_t kRomBytes = 8;
  static constexpr uint8_t kMatchRom = 0x55;
  static constexpr uint8_t kSearchRom = 0xF0;

 protected:
  ~OneWireBus() = default;
};

// Dallas CRC-8: polynomial 0x31 reflected, from 0. "123456789" gives A1.
inline uint8_t one_wire_crc8(const uint8_t* bytes, uint8_t count) {
  uint8_t crc = 0;
  for (uint8_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    for (uint8_t bit = 0; bit < 8; ++bit) {
      crc = static_cast<uint8_t>((crc & 1) ? (crc >> 1) ^ 0x8C : crc >> 1);
    }
  }
  return crc;
}

// Finds the chips of a line, one each time: all send the bits of their numbers at once, and where they differ the line is
// searched again with the other bit.
class OneWireSearch {
 public:
  // Begin with the first chip.
  void restart() {
    memset(rom_, 0, sizeof rom_);
    last_fork_ = 0;
    is_done_ = false;
  }

  // Whether the last chip was found, or the search failed.
  bool is_done() const { return is_done_; }

  // Find the next chip. False when there is none, or the line was disturbed; rom() is then nothing.
  bool next(OneWireBus& bus, uint8_t pin) {
    if (is_done_ || !bus.reset(pin)) {
      is_done_ = true;
      return false;
    }
    bus.write_byte(pin, OneWireBus::kSearchRom);
    uint8_t fork = 0;
    for (uint8_t i = 1; i <= kBits; ++i) {
      const bool bit = bus.read_bit(pin);
      const bool complement = bus.read_bit(pin);
      if (bit && complement) {
        is_done_ = true;
        return false;
      }
      // Where chips differ: as the last time, at the last fork the other way, beyond it first the chips with 0.
      const bool differ = bit == complement;
      const bool taken = !differ ? bit : i < last_fork_ ? get(i) : i == last_fork_;
      if (differ && !taken) {
        fork = i;
      }
      set(i, taken);
      bus.write_bit(pin, taken);
    }
    last_fork_ = fork;
    is_done_ = fork == 0;
    const bool is_good = one_wire_crc8(rom_, OneWireBus::kRomBytes - 1) == rom_[OneWireBus::kRomBytes - 1];
    // A line held down gives only zeros, whose checksum is right.
    return is_good && rom_[0] != 0;
  }

  // The number of the chip that was found.
  const uint8_t* rom() const { return rom_; }

 private:
  static constexpr uint8_t kBits = 8 * OneWireBus::kRomBytes;

  bool get(uint8_t bit) const { return (rom_[(bit - 1) / 8] >> ((bit - 1) % 8) & 1) != 0; }
  void set(uint8_t bit, bool value) {
    const uint8_t mask = static_cast<uint8_t>(1U << ((bit - 1) % 8));
    uint8_t& byte = rom_[(bit - 1) / 8];
    byte = static_cast<uint8_t>(value ? byte | mask : byte & ~mask);
  }

  uint8_t rom_[OneWireBus::kRomBytes] = {};
  uint8_t last_fork_ = 0;
  bool is_done_ = true;
};

}  // namespace roost
