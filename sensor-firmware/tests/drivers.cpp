// Each chip's driver against a chip that does what the data sheet says.
#include <cmath>
#include <set>

#include "check.h"
#include "fakes.h"

using roost::Bme280;
using roost::Dht22;
using roost::Ds18b20;
using roost::Measurement;
using roost::Sht31;

namespace {

void sht31(Checks& checks) {
  const uint8_t sheet[] = {0xBE, 0xEF};
  checks.equal(Sht31::crc8(sheet), 0x92, "CRC-8 of the data sheet");
  checks.equal(Sht31::temperature_centi(0), -4500, "lowest temperature");
  checks.equal(Sht31::temperature_centi(0xFFFF), 13000, "highest temperature");
  checks.equal(Sht31::temperature_centi(0x6666), 2500, "25 C");
  checks.equal(Sht31::humidity_centi(0), 0, "lowest humidity");
  checks.equal(Sht31::humidity_centi(0xFFFF), 10000, "highest humidity");
  FakeBus bus;
  FakeSht31& chip = bus.add<FakeSht31>(0, 0x45);
  checks.equal(Sht31::is_there(bus, 0x44), false, "no chip at the first address");
  checks.equal(Sht31::is_there(bus, 0x45), true, "a chip at the second address");
  chip.wrong_crc = true;
  checks.equal(Sht31::is_there(bus, 0x45), false, "a chip of another maker has other checksums");
}

// The data sheet's compensation in floating point, chapter 8.1: another way to the same values.
struct Reference {
  double temperature, humidity;
};

Reference reference(const Bme280::Calibration& c, int32_t raw_t, int32_t raw_h) {
  const double v1 = (raw_t / 16384.0 - c.t1 / 1024.0) * c.t2;
  const double v2 = std::pow(raw_t / 131072.0 - c.t1 / 8192.0, 2) * c.t3;
  const double fine = v1 + v2;
  double h = fine - 76800.0;
  h = (raw_h - (c.h4 * 64.0 + c.h5 / 16384.0 * h)) *
      (c.h2 / 65536.0 * (1.0 + c.h6 / 67108864.0 * h * (1.0 + c.h3 / 67108864.0 * h)));
  h *= 1.0 - c.h1 * h / 524288.0;
  return {fine / 5120.0, std::fmin(std::fmax(h, 0.0), 100.0)};
}

void bme280_compensation(Checks& checks) {
  const Bme280::Calibration typical = {27504, 26435, -1000, 75, 0, 370, 313, 50, 30};
  const int32_t fine = Bme280::fine_temperature(typical, 519888);
  checks.equal(fine, 128422, "fine temperature of the data sheet's example");
  checks.equal(Bme280::temperature_centi(fine), 2508, "temperature of the data sheet's example");
  const Bme280::Calibration others[] = {typical,
                                        {28009, 25654, 50, 75, 0, 363, 340, 0, 30},
                                        {28485, 26735, 50, 75, 0, 361, 333, 50, 30},
                                        {27000, 26000, -1000, 0, 2, 340, 300, -20, -7}};
  double worst_t = 0, worst_h = 0;
  for (const auto& c : others) {
    for (int32_t raw_t = 350000; raw_t <= 680000; raw_t += 1777) {
      for (int32_t raw_h = 15000; raw_h <= 45000; raw_h += 997) {
        const Reference want = reference(c, raw_t, raw_h);
        const int32_t got = Bme280::fine_temperature(c, raw_t);
        worst_t = std::fmax(worst_t, std::fabs(Bme280::temperature_centi(got) - want.temperature * 100));
        worst_h = std::fmax(worst_h, std::fabs(Bme280::humidity_centi(c, got, raw_h) - want.humidity * 100));
      }
    }
  }
  checks.equal(worst_t <= 1.0, true, "temperature within a hundredth, worst " + std::to_string(worst_t));
  checks.equal(worst_h <= 4.0, true, "humidity within four hundredths of a percent, worst " + std::to_string(worst_h));
}

void bme280(Checks& checks) {
  FakeBus bus;
  FakeBme280& chip = bus.add<FakeBme280>(0, 0x76);
  checks.equal(Bme280::is_there(bus, 0x76), true, "the id is right");
  checks.equal(Bme280::fetch(bus, 0x76).valid, false, "nothing was measured yet");
  checks.equal(Bme280::start(bus, 0x76), true, "it starts");
  const Measurement m = Bme280::fetch(bus, 0x76);
  const Reference want = reference({27504, 26435, -1000, 75, 0, 370, 313, 50, 30}, 519888, 28000);
  checks.equal(m.valid && m.has_humidity, true, "both values");
  checks.equal(m.temperature_centi, 2508, "temperature through the registers");
  checks.equal(std::fabs(m.humidity_centi - want.humidity * 100) < 4, true, "humidity through the registers");
  chip.registers[0xF3] = 0x08;
  checks.equal(Bme280::fetch(bus, 0x76).valid, false, "it still measures");
  chip.registers[0xF3] = 0;
  chip.results(1000000, 28000);
  checks.equal(Bme280::fetch(bus, 0x76).valid, false, "hotter than a chip can be");
  chip.registers[0xD0] = 0x58;
  checks.equal(Bme280::is_there(bus, 0x76), false, "a BMP280 is none");
  chip.answers = false;
  checks.equal(Bme280::start(bus, 0x76), false, "a silent chip does not start");
}

Measurement decoded(std::array<uint8_t, 9> scratchpad) {
  scratchpad[8] = roost::one_wire_crc8(scratchpad.data(), 8);
  return Ds18b20::decode(scratchpad.data());
}

void ds18b20_scratchpads(Checks& checks) {
  const uint8_t digits[] = {'1', '2', '3', '4', '5', '6', '7', '8', '9'};
  checks.equal(roost::one_wire_crc8(digits, 9), 0xA1, "check value of the CRC-8");
  struct Row {
    uint16_t raw;
    int centi;
  };
  // The data sheet's table.
  for (const Row& row : {Row{0x07D0, 12500}, Row{0x0191, 2506}, Row{0x00A2, 1013}, Row{0x0008, 50}, Row{0x0000, 0},
                         Row{0xFFF8, -50}, Row{0xFF5E, -1013}, Row{0xFE6F, -2506}, Row{0xFC90, -5500}}) {
    const Measurement m = decoded({static_cast<uint8_t>(row.raw), static_cast<uint8_t>(row.raw >> 8), 0, 0, 0x7F});
    checks.equal(m.valid, true, "a scratchpad of the table");
    checks.equal(m.temperature_centi, row.centi, "temperature of the table");
    checks.equal(m.has_humidity, false, "it measures no humidity");
  }
  checks.equal(decoded({0x97, 0x01, 0, 0, 0x1F}).temperature_centi, 2500, "9 bits: the last three mean nothing");
  checks.equal(decoded({0x50, 0x05, 0, 0, 0x7F}).valid, false, "85 C is what it says after power-on");
  checks.equal(decoded({0x51, 0x05, 0, 0, 0x7F}).valid, true, "85.06 C is a temperature");
  checks.equal(decoded({0x10, 0xF8, 0, 0, 0x7F}).valid, false, "-127 C is none");
  checks.equal(decoded({0xD1, 0x07, 0, 0, 0x7F}).valid, false, "hotter than 125 C is none");
  checks.equal(decoded({}).valid, false, "all zeros, a line held down");
  const std::array<uint8_t, 9> ones = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};
  checks.equal(Ds18b20::decode(ones.data()).valid, false, "all ones, a line without a chip");
}

void ds18b20(Checks& checks) {
  FakeOneWire bus;
  FakeDs18b20 warm(rom_of(1)), cold(rom_of(2));
  cold.raw = -10 * 16;
  bus.lines[1] = {&warm, &cold};
  checks.equal(Ds18b20::fetch(bus, 1, warm.rom.data()).valid, false, "85 C before the first measurement");
  checks.equal(Ds18b20::start(bus, 1, warm.rom.data()) && Ds18b20::start(bus, 1, cold.rom.data()), true, "both start");
  checks.equal(Ds18b20::fetch(bus, 1, warm.rom.data()).temperature_centi, 2500, "each by its number");
  checks.equal(Ds18b20::fetch(bus, 1, cold.rom.data()).temperature_centi, -1000, "each by its number");
  warm.wrong_crc = true;
  checks.equal(Ds18b20::fetch(bus, 1, warm.rom.data()).valid, false, "a wrong checksum");
  checks.equal(Ds18b20::fetch(bus, 1, rom_of(3).data()).valid, false, "a chip that is not there");
  checks.equal(Ds18b20::start(bus, 2, warm.rom.data()), false, "a line without chips");
}

void search(Checks& checks) {
  // Serial numbers that differ early, late and not at all in the lower bits; from a simple generator.
  std::vector<std::unique_ptr<FakeDs18b20>> chips;
  FakeOneWire bus;
  uint64_t serial = 0x123456789ABC;
  for (int number = 0; number <= 20; ++number) {
    roost::OneWireSearch search;
    search.restart();
    std::multiset<Rom> found;
    for (int i = 0; i < 100 && !search.is_done(); ++i) {
      if (search.next(bus, 1)) {
        Rom rom;
        std::copy(search.rom(), search.rom() + 8, rom.begin());
        found.insert(rom);
      }
    }
    std::multiset<Rom> there;
    for (const auto& chip : chips) {
      there.insert(chip->rom);
    }
    checks.equal(found == there, true, "each of " + std::to_string(number) + " chips is found once");
    serial = number % 3 == 0 ? serial + 1 : serial * 6364136223846793005ULL + 1442695040888963407ULL;
    chips.push_back(std::make_unique<FakeDs18b20>(rom_of(serial & 0xFFFFFFFFFFFF)));
    bus.lines[1].push_back(chips.back().get());
  }
}

void dht22(Checks& checks) {
  FakePulses wire;
  checks.equal(Dht22::read(wire, 2).valid, false, "no chip");
  wire.chips[2] = FakePulses::bytes(652, 351);
  Measurement m = Dht22::read(wire, 2);
  checks.equal(m.valid && m.has_humidity, true, "both values");
  checks.equal(m.temperature_centi, 3510, "35.1 C, the data sheet's example");
  checks.equal(m.humidity_centi, 6520, "65.2 %, the data sheet's example");
  wire.chips[2] = FakePulses::bytes(652, 0x8065);
  checks.equal(Dht22::read(wire, 2).temperature_centi, -1010, "below zero by sign and size");
  wire.late_us = 18;
  checks.equal(Dht22::read(wire, 2).temperature_centi, -1010, "with pulses 18 us off");
  wire.late_us = 0;
  wire.chips[2][4] ^= 1;
  checks.equal(Dht22::read(wire, 2).valid, false, "a wrong sum");
  for (int pulses : {0, 1, 2, 3, 10, 82}) {
    wire.chips[2] = FakePulses::bytes(652, 351);
    wire.stops_after = pulses;
    checks.equal(Dht22::read(wire, 2).valid, false, "it stops after " + std::to_string(pulses) + " pulses");
  }
  wire.stops_after = 1000;
  struct Row {
    uint16_t humidity, temperature;
    bool valid;
  };
  for (const Row& row : {Row{1000, 800, true}, Row{1001, 200, false}, Row{500, 801, false}, Row{500, 0x8190, true},
                         Row{500, 0x8191, false}, Row{0, 0, false}, Row{33020, 200, false}, Row{500, 0, true}}) {
    const auto bytes = FakePulses::bytes(row.humidity, row.temperature);
    checks.equal(Dht22::decode(bytes.data()).valid, row.valid,
                 "range of " + std::to_string(row.humidity) + ", " + std::to_string(row.temperature));
  }
}

}  // namespace

void test_drivers(Checks& checks) {
  sht31(checks);
  bme280_compensation(checks);
  bme280(checks);
  ds18b20_scratchpads(checks);
  ds18b20(checks);
  search(checks);
  dht22(checks);
}
