// An I2C bus with a multiplexer and chips that do what their data sheets say.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>

#include "hub.h"

struct FakeChip {
  bool answers = true;
  virtual ~FakeChip() = default;
  virtual bool write(const uint8_t* bytes, uint8_t count) = 0;
  virtual bool read(uint8_t* bytes, uint8_t count) = 0;
};

struct FakeSht31 final : FakeChip {
  bool wrong_crc = false;
  uint16_t raw_temperature = 0x6666;
  uint16_t raw_humidity = 0x8000;
  uint16_t command = 0;

  bool write(const uint8_t* bytes, uint8_t count) override {
    command = count == 2 ? static_cast<uint16_t>(bytes[0] << 8 | bytes[1]) : 0;
    return command == 0x2400 || command == 0xF32D;
  }

  bool read(uint8_t* bytes, uint8_t count) override {
    if (command == 0xF32D && count == 3) {
      put(bytes, 0x8010);
    } else if (command == 0x2400 && count == 6) {
      put(bytes, raw_temperature);
      put(bytes + 3, raw_humidity);
    } else {
      return false;
    }
    command = 0;
    bytes[count - 1] = static_cast<uint8_t>(bytes[count - 1] ^ (wrong_crc ? 1 : 0));
    return true;
  }

  static void put(uint8_t* out, uint16_t raw) {
    out[0] = static_cast<uint8_t>(raw >> 8);
    out[1] = static_cast<uint8_t>(raw);
    out[2] = roost::Sht31::crc8(out);
  }
};

// Registers only: what they mean is the driver's to know.
struct FakeBme280 final : FakeChip {
  std::array<uint8_t, 256> registers{};
  uint8_t at = 0;
  int32_t raw_temperature = 519888;
  int32_t raw_humidity = 28000;

  FakeBme280() {
    registers[0xD0] = 0x60;
    word(0x88, 27504);
    word(0x8A, 26435);
    word(0x8C, static_cast<uint16_t>(-1000));
    registers[0xA1] = 75;
    word(0xE1, 370);
    registers[0xE3] = 0;
    // H4 = 313 = 0x139, H5 = 50 = 0x032: E4 = 13, E5 = 2 | 9, E6 = 03.
    registers[0xE4] = 0x13;
    registers[0xE5] = 0x29;
    registers[0xE6] = 0x03;
    registers[0xE7] = 30;
    not_measured();
  }

  void word(uint8_t place, uint16_t value) {
    registers[place] = static_cast<uint8_t>(value);
    registers[place + 1] = static_cast<uint8_t>(value >> 8);
  }

  void results(int32_t temperature, int32_t humidity) {
    registers[0xFA] = static_cast<uint8_t>(temperature >> 12);
    registers[0xFB] = static_cast<uint8_t>(temperature >> 4);
    registers[0xFC] = static_cast<uint8_t>(temperature << 4);
    registers[0xFD] = static_cast<uint8_t>(humidity >> 8);
    registers[0xFE] = static_cast<uint8_t>(humidity);
  }
  void not_measured() { results(0x80000, 0x8000); }

  bool write(const uint8_t* bytes, uint8_t count) override {
    at = bytes[0];
    if (count == 2) {
      registers[at] = bytes[1];
      // A forced measurement, with temperature and humidity asked for.
      if (at == 0xF4 && (bytes[1] & 3) == 1 && bytes[1] >> 5 == 1 && registers[0xF2] == 1) {
        results(raw_temperature, raw_humidity);
      }
    }
    return true;
  }

  bool read(uint8_t* bytes, uint8_t count) override {
    for (uint8_t i = 0; i < count; ++i) {
      bytes[i] = registers[static_cast<uint8_t>(at + i)];
    }
    return true;
  }
};

struct FakeExpander final : FakeChip {
  uint8_t levels = 0xFF;
  bool write(const uint8_t* bytes, uint8_t count) override {
    levels = bytes[count - 1];
    return true;
  }
  bool read(uint8_t* bytes, uint8_t count) override {
    bytes[0] = levels;
    return count == 1;
  }
};

struct FakeBus final : roost::I2cBus {
  bool multiplexer = false;
  uint8_t channels = 0;
  // By channel (0: the own bus, else channel + 1) and address.
  std::map<std::pair<int, int>, std::unique_ptr<FakeChip>> chips;

  template <class Chip>
  Chip& add(int channel, int address) {
    auto chip = std::make_unique<Chip>();
    Chip& out = *chip;
    chips[{channel, address}] = std::move(chip);
    return out;
  }

  FakeChip* find(uint8_t address) {
    for (auto& entry : chips) {
      const int channel = entry.first.first;
      const bool is_reached = channel == 0 || (multiplexer && (channels >> (channel - 1) & 1));
      if (is_reached && entry.first.second == address && entry.second->answers) {
        return entry.second.get();
      }
    }
    return nullptr;
  }

  bool write(uint8_t address, const uint8_t* bytes, uint8_t count) override {
    if (address == 0x70) {
      channels = bytes[0];
      return multiplexer;
    }
    FakeChip* chip = find(address);
    return chip != nullptr && chip->write(bytes, count);
  }

  bool read(uint8_t address, uint8_t* bytes, uint8_t count) override {
    FakeChip* chip = find(address);
    return chip != nullptr && chip->read(bytes, count);
  }
};
