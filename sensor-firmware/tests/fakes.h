// A bus with chips, and a sink that keeps what was sent.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "hub.h"

struct FakeBus final : roost::I2cBus {
  struct Chip {
    bool answers = true;
    bool wrong_crc = false;
    uint16_t raw_temperature = 0x6666;
    uint16_t raw_humidity = 0x8000;
    bool measured = false;
  };

  bool multiplexer = false;
  uint8_t channels = 0;
  // By address, or 0x44 + 0x100 * (channel + 1) behind the multiplexer.
  std::map<int, Chip> chips;

  static int behind(int channel) { return 0x44 + 0x100 * (channel + 1); }

  Chip* find(uint8_t address) {
    int key = address;
    for (int channel = 0; multiplexer && channel < 8; ++channel) {
      if (channels >> channel & 1) {
        key = address + 0x100 * (channel + 1);
      }
    }
    const auto found = chips.find(key);
    return found == chips.end() || !found->second.answers ? nullptr : &found->second;
  }

  bool write(uint8_t address, const uint8_t* bytes, uint8_t count) override {
    if (address == 0x70) {
      channels = bytes[0];
      return multiplexer;
    }
    Chip* chip = find(address);
    if (chip == nullptr || count != 2 || bytes[0] != 0x24 || bytes[1] != 0x00) {
      return false;
    }
    return chip->measured = true;
  }

  bool read(uint8_t address, uint8_t* bytes, uint8_t count) override {
    Chip* chip = find(address);
    if (chip == nullptr || !chip->measured || count != 6) {
      return false;
    }
    chip->measured = false;
    put(bytes, chip->raw_temperature);
    put(bytes + 3, chip->raw_humidity);
    bytes[5] = static_cast<uint8_t>(bytes[5] ^ (chip->wrong_crc ? 1 : 0));
    return true;
  }

  static void put(uint8_t* out, uint16_t raw) {
    out[0] = static_cast<uint8_t>(raw >> 8);
    out[1] = static_cast<uint8_t>(raw);
    out[2] = roost::Sht31::crc8(out);
  }
};

struct FakeSink final : roost::LineSink {
  uint8_t free = 63;
  std::string text;
  uint8_t room() const override { return free; }
  void send(const char* bytes, uint8_t length) override { text.append(bytes, length); }
};
