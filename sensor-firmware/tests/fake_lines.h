// Lines of 1-Wire chips, and DHT22 on wires of their own.
#pragma once

#include <array>
#include <map>
#include <vector>

#include "hub.h"

using Rom = std::array<uint8_t, 8>;

// A chip's number with its checksum, from six bytes of serial number.
inline Rom rom_of(uint64_t serial, uint8_t family = 0x28) {
  Rom rom{};
  rom[0] = family;
  for (int i = 0; i < 6; ++i) {
    rom[1 + i] = static_cast<uint8_t>(serial >> (8 * i));
  }
  rom[7] = roost::one_wire_crc8(rom.data(), 7);
  return rom;
}

struct FakeDs18b20 {
  Rom rom;
  int16_t raw = 25 * 16;
  bool has_power = true;  // without it a measurement is forgotten, and the power-on value is there
  bool wrong_crc = false;
  std::array<uint8_t, 9> scratchpad{};

  explicit FakeDs18b20(const Rom& number) : rom(number) { store(85 * 16); }
  void measure() { store(has_power ? raw : 85 * 16); }
  void store(int16_t value) {
    scratchpad = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8), 0x4B, 0x46, 0x7F, 0xFF, 0x0C, 0x10, 0};
    scratchpad[8] = roost::one_wire_crc8(scratchpad.data(), 8);
  }
};

// Lines of 1-Wire chips, bit by bit, all chips of a line at once.
struct FakeOneWire final : roost::OneWireBus {
  std::map<uint8_t, std::vector<FakeDs18b20*>> lines;
  int resets = 0;

  bool reset(uint8_t pin) override {
    ++resets;
    heard_ = lines[pin];
    state_ = State::kCommand;
    bits_ = byte_ = 0;
    return !heard_.empty();
  }

  void write_bit(uint8_t, bool bit) override {
    switch (state_) {
      case State::kCommand:
        byte_ |= (bit ? 1U : 0U) << bits_;
        if (++bits_ == 8) {
          command();
        }
        break;
      case State::kMatch:
        keep(bit);
        if (++bits_ == 64) {
          state_ = State::kCommand;
          bits_ = byte_ = 0;
        }
        break;
      case State::kSearch:
        keep(bit);
        ++bits_;
        complement_ = false;
        break;
      case State::kIdle:
      case State::kRead: break;
    }
  }

  bool read_bit(uint8_t) override {
    bool level = true;
    for (const FakeDs18b20* chip : heard_) {
      if (state_ == State::kSearch && bits_ < 64) {
        level &= bit_of(chip->rom.data()) != complement_;
      } else if (state_ == State::kRead && bits_ < 72) {
        level &= bit_of(chip->scratchpad.data()) != (chip->wrong_crc && bits_ == 71);
      }
    }
    complement_ = !complement_;
    bits_ += state_ == State::kRead ? 1 : 0;
    return level;
  }

 private:
  enum class State { kCommand, kMatch, kSearch, kRead, kIdle };

  bool bit_of(const uint8_t* bytes) const { return (bytes[bits_ / 8] >> (bits_ % 8) & 1) != 0; }

  void keep(bool bit) {
    std::vector<FakeDs18b20*> kept;
    for (FakeDs18b20* chip : heard_) {
      if (bit_of(chip->rom.data()) == bit) {
        kept.push_back(chip);
      }
    }
    heard_ = kept;
  }

  void command() {
    bits_ = 0;
    complement_ = false;
    switch (byte_) {
      case 0x55: state_ = State::kMatch; break;
      case 0xF0: state_ = State::kSearch; break;
      case 0xBE: state_ = State::kRead; break;
      case 0x44:
        for (FakeDs18b20* chip : heard_) {
          chip->measure();
        }
        state_ = State::kIdle;
        break;
      default: state_ = State::kIdle;
    }
  }

  std::vector<FakeDs18b20*> heard_;
  State state_ = State::kIdle;
  unsigned bits_ = 0;
  unsigned byte_ = 0;
  bool complement_ = false;
};

// DHT22 by their pulses; `late_us` is what an interrupt adds to or takes from one.
struct FakePulses final : roost::PulseWire {
  std::map<uint8_t, std::array<uint8_t, 5>> chips;
  int stops_after = 1000;
  int late_us = 0;
  std::map<uint8_t, int> calls;

  static std::array<uint8_t, 5> bytes(uint16_t humidity, uint16_t temperature) {
    std::array<uint8_t, 5> out = {static_cast<uint8_t>(humidity >> 8), static_cast<uint8_t>(humidity),
                                  static_cast<uint8_t>(temperature >> 8), static_cast<uint8_t>(temperature), 0};
    out[4] = static_cast<uint8_t>(out[0] + out[1] + out[2] + out[3]);
    return out;
  }

  void call(uint8_t) override { at_ = 0; }

  uint8_t pulse(uint8_t pin, bool high) override {
    calls[pin] += at_ == 0 ? 1 : 0;
    const int i = at_++;
    const auto found = chips.find(pin);
    if (found == chips.end() || i >= stops_after) {
      return 0;
    }
    // 30 us high, 80 low, 80 high, then 40 bits of low and high.
    static constexpr uint8_t kStart[] = {30, 80, 80};
    const bool is_high = i < 3 ? i != 1 : (i - 3) % 2 == 1;
    if (is_high != high) {
      return 0;
    }
    if (i < 3) {
      return kStart[i];
    }
    const int bit = (i - 3) / 2;
    const bool one = (found->second[static_cast<size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0;
    return static_cast<uint8_t>(!is_high ? 50 : one ? 70 - late_us : 27 + late_us);
  }

 private:
  int at_ = 0;
};
