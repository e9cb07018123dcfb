// A board on a PC: an EEPROM whose power can be cut, pins that remember their levels, a sink that keeps what was sent, and
// a hub with all of it and its chips.
#pragma once

#include <array>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fake_i2c.h"
#include "fake_lines.h"
#include "hub.h"

struct PowerCut {};

struct FakeMemory final : roost::Memory {
  std::vector<uint8_t> cells = std::vector<uint8_t>(1024, 0xFF);
  // Writes until the power is cut.
  long writes_left = -1;
  long writes = 0;

  uint8_t read(uint16_t at) override { return cells.at(at); }
  void write(uint16_t at, uint8_t byte) override {
    if (cells.at(at) == byte) {
      return;
    }
    if (writes_left == 0) {
      throw PowerCut();
    }
    --writes_left;
    ++writes;
    cells.at(at) = byte;
  }
};

struct FakeOutputs final : roost::Outputs {
  std::array<int, roost::kFans> duty{};
  std::array<uint16_t, roost::kFans> pulses{};
  // -1: an input.
  std::map<int, int> pins;
  int changes = 0;

  int level(int pin) { return pins.count(pin) != 0 ? pins[pin] : -1; }
  void set_fan(uint8_t fan, uint16_t duty_centi) override {
    duty.at(fan - 1U) = duty_centi;
    ++changes;
  }
  uint16_t fan_pulses(uint8_t fan) override { return pulses.at(fan - 1U); }
  void drive_pin(uint8_t pin, bool high) override {
    pins[pin] = high ? 1 : 0;
    ++changes;
  }
  void release_pin(uint8_t pin) override { pins[pin] = -1; }
};

struct FakeSink final : roost::LineSink {
  uint8_t free = 63;
  std::string text;
  uint8_t room() const override { return free; }
  void send(const char* bytes, uint8_t length) override { text.append(bytes, length); }
};

// A hub and all it is wired to. The wiring outlives restarts of the hub, as on a board.
struct Rig {
  FakeBus i2c;
  FakeOneWire one_wire;
  FakePulses pulse;
  FakeOutputs outputs;
  FakeMemory memory;
  FakeSink sink;
  std::unique_ptr<roost::Hub> hub;
  uint32_t now = 0;

  roost::Wires wires() { return {i2c, one_wire, pulse}; }

  void start(uint32_t at = 0) {
    now = at;
    hub = std::make_unique<roost::Hub>(roost::Board{wires(), outputs, memory, sink});
    hub->begin(now);
  }

  // Run for `ms`; what was sent in that time.
  std::string run(uint32_t ms) {
    sink.text.clear();
    for (uint32_t i = 0; i < ms; ++i) {
      hub->tick(now++);
    }
    return sink.text;
  }

  // Say a command's body, for example "F,1,2,5000"; what is answered at once.
  std::string say(const std::string& body) {
    char tail[8];
    snprintf(tail, sizeof tail, "*%04X\r\n", roost::crc16(body.data(), static_cast<uint8_t>(body.size())));
    sink.text.clear();
    for (char byte : "$" + body + tail) {
      hub->receive(byte);
    }
    // Without "$" and checksum.
    const size_t star = sink.text.find('*');
    return star == std::string::npos ? "" : sink.text.substr(1, star - 1);
  }
};

// How often `part` is in `text`.
inline size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}
