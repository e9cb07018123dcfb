// Finding chips, numbering them, and keeping the numbers.
#include "check.h"
#include "fakes.h"

using roost::Kind;
using roost::Measurement;
using roost::PlaceText;
using roost::ProbeSearch;
using roost::ProbeTable;

namespace {

// A table with its search on a rig, without a hub.
struct Bench {
  Rig rig;
  roost::Settings settings;
  std::unique_ptr<ProbeTable> table;
  std::unique_ptr<ProbeSearch> search;

  void start() {
    table = std::make_unique<ProbeTable>(rig.wires(), rig.memory, settings);
    search = std::make_unique<ProbeSearch>(*table, settings);
    table->begin();
    search->whole_round();
  }

  Measurement measure(uint8_t probe) {
    Measurement out;
    table->start(probe);
    return table->fetch(probe, out) ? out : roost::kNoMeasurement;
  }

  std::string place(uint8_t probe) { return PlaceText(table->place(probe)).c_str(); }
};

void numbers_by_place(Checks& checks) {
  Bench bench;
  bench.rig.i2c.add<FakeSht31>(0, 0x44);
  bench.rig.i2c.add<FakeSht31>(0, 0x45).raw_temperature = 0x4000;
  bench.start();
  checks.equal(bench.measure(1).temperature_centi, 2500, "0x44 is probe 1");
  checks.equal(bench.measure(2).temperature_centi, -125, "0x45 is probe 2");
  checks.equal(bench.place(2), std::string("0x45"), "where probe 2 is");
  checks.equal(bench.table->is_known(3), false, "there is no probe 3");

  Bench behind;
  behind.rig.i2c.multiplexer = true;
  behind.rig.i2c.add<FakeSht31>(1, 0x44);
  behind.rig.i2c.add<FakeSht31>(6, 0x44).raw_temperature = 0xF000;
  behind.rig.i2c.add<FakeBme280>(6, 0x77);
  behind.start();
  checks.equal(behind.measure(1).temperature_centi, 2500, "channel 0 is probe 1");
  checks.equal(behind.measure(6).temperature_centi, 11907, "channel 5 is probe 6");
  checks.equal(behind.measure(2).temperature_centi, 2508, "its second chip has the lowest free number");
  checks.equal(behind.place(2), std::string("ch5/0x77"), "where probe 2 is");
  behind.rig.i2c.multiplexer = false;
  checks.equal(behind.measure(1).valid, false, "a silent multiplexer fails its probes");
  behind.rig.i2c.multiplexer = true;
  checks.equal(behind.measure(1).valid, true, "and they come back");

  Bench both;
  both.rig.i2c.multiplexer = true;
  both.rig.i2c.add<FakeSht31>(0, 0x44);
  both.rig.i2c.add<FakeSht31>(4, 0x45).raw_temperature = 0x4000;
  both.start();
  checks.equal(both.place(1), std::string("0x44"), "a chip on the own bus beside the multiplexer");
  checks.equal(both.place(4), std::string("ch3/0x45"), "and one behind it");
  checks.equal(both.table->is_known(2), false, "the own bus is not found again through the channels");
}

void all_kinds(Checks& checks) {
  Bench bench;
  FakeDs18b20 a(rom_of(7)), b(rom_of(8)), other(rom_of(9, 0x01));
  b.raw = 30 * 16;
  bench.rig.one_wire.lines[1] = {&a, &b, &other};
  bench.rig.pulse.chips[2] = FakePulses::bytes(400, 215);
  bench.rig.i2c.add<FakeBme280>(0, 0x76);
  bench.start();
  checks.equal(bench.place(1), std::string("0x76"), "the BME280");
  for (uint8_t probe = 2; probe <= 3; ++probe) {
    checks.equal(bench.table->place(probe).kind == Kind::kDs18b20, true, "a DS18B20");
    Measurement m;
    bench.table->start(probe);
    checks.equal(bench.table->fetch(probe, m), false, "it says nothing while it measures for the first time");
  }
  const bool a_first = bench.place(2) == PlaceText(roost::Place::one_wire(a.rom.data())).c_str();
  checks.equal(bench.measure(a_first ? 2 : 3).temperature_centi, 2500, "one DS18B20");
  checks.equal(bench.measure(a_first ? 3 : 2).temperature_centi, 3000, "the other DS18B20");
  checks.equal(bench.place(4), std::string("pin2"), "the DHT22");
  checks.equal(bench.table->is_known(5), false, "a 1-Wire chip of another kind is no probe");
  const int calls = bench.rig.pulse.calls[2];
  int said = 0;
  for (int round = 0; round < 7; ++round) {
    Measurement m;
    bench.table->start(4);
    if (bench.table->fetch(4, m)) {
      checks.equal(m.temperature_centi, 2150, "what the DHT22 feels");
      ++said;
    }
  }
  checks.equal(said, 3, "a DHT22 is left in peace for two rounds, then read every other one");
  checks.equal(bench.rig.pulse.calls[2] - calls, 3, "and not more often");
}

void numbers_stay(Checks& checks) {
  Bench bench;
  FakeDs18b20 a(rom_of(0x70)), b(rom_of(0x10)), c(rom_of(0x05));
  a.raw = 16;
  b.raw = 2 * 16;
  c.raw = 3 * 16;
  const auto value = [&bench](uint8_t probe) {
    bench.measure(probe);
    return static_cast<int>(bench.measure(probe).temperature_centi);
  };
  bench.rig.one_wire.lines[1] = {&a};
  bench.start();
  bench.rig.one_wire.lines[1] = {&a, &b};
  bench.search->whole_round();
  checks.equal(value(1), 100, "the first");
  checks.equal(value(2), 200, "the second, plugged in later");
  // Restarted with another one found first, on another line.
  bench.settings.roles[4] = static_cast<uint8_t>(roost::Role::kOneWire);
  bench.rig.one_wire.lines[1] = {&c, &b};
  bench.rig.one_wire.lines[5] = {&a};
  bench.start();
  checks.equal(value(1), 100, "it moved to another line and kept its number");
  checks.equal(value(2), 200, "it was plugged in another order and kept its number");
  checks.equal(value(3), 300, "a new one gets a new number");
  // One is missing when the hub starts.
  bench.rig.one_wire.lines[5] = {};
  bench.start();
  checks.equal(bench.table->is_known(1), true, "a missing one keeps its number");
  checks.equal(bench.measure(1).valid, false, "and has no value");
  bench.rig.one_wire.lines[1] = {&c, &b, &a};
  for (int i = 0; i < 60; ++i) {
    bench.search->step();
  }
  checks.equal(value(1), 100, "it comes back");
  bench.table->forget(2);
  bench.rig.one_wire.lines[1] = {&c, &a};
  bench.start();
  checks.equal(bench.table->is_known(2), false, "a forgotten one stays forgotten");
  checks.equal(bench.table->is_known(3), true, "the others are known");
}

void eight_at_most(Checks& checks) {
  Bench bench;
  std::vector<std::unique_ptr<FakeDs18b20>> chips;
  for (uint64_t i = 0; i < 10; ++i) {
    chips.push_back(std::make_unique<FakeDs18b20>(rom_of(i)));
    bench.rig.one_wire.lines[1].push_back(chips.back().get());
  }
  bench.start();
  for (uint8_t probe = 1; probe <= 8; ++probe) {
    checks.equal(bench.table->is_known(probe), true, "eight chips have numbers");
  }
  const auto cells = bench.rig.memory.writes;
  for (int i = 0; i < 200; ++i) {
    checks.equal(static_cast<int>(bench.search->step()), 0, "there is no ninth");
  }
  checks.equal(bench.rig.memory.writes, cells, "searching on writes nothing");
}

void roles_are_respected(Checks& checks) {
  Bench bench;
  FakeDs18b20 chip(rom_of(1));
  bench.rig.one_wire.lines[1] = {&chip};
  bench.rig.pulse.chips[2] = FakePulses::bytes(400, 215);
  bench.start();
  checks.equal(bench.table->is_known(1) && bench.table->is_known(2), true, "both are found");
  bench.settings.roles[0] = bench.settings.roles[1] = static_cast<uint8_t>(roost::Role::kRelay);
  const int resets = bench.rig.one_wire.resets, calls = bench.rig.pulse.calls[2];
  for (int i = 0; i < 60; ++i) {
    bench.measure(1);
    bench.measure(2);
    bench.search->step();
  }
  checks.equal(bench.rig.one_wire.resets, resets, "a line that became a relay is left alone");
  checks.equal(bench.rig.pulse.calls[2], calls, "a wire that became a relay is left alone");
}

void failures(Checks& checks) {
  Bench bench;
  FakeSht31& chip = bench.rig.i2c.add<FakeSht31>(0, 0x44);
  chip.answers = false;
  bench.start();
  checks.equal(bench.table->is_known(1), false, "not known yet");
  chip.answers = true;
  bench.search->whole_round();
  checks.equal(bench.measure(1).valid, true, "it came");
  chip.answers = false;
  checks.equal(bench.measure(1).valid, false, "it went: no old value");
  checks.equal(bench.table->is_known(1), true, "still known");
  chip.answers = true;
  chip.wrong_crc = true;
  checks.equal(bench.measure(1).valid, false, "wrong checksum: no value");
  chip.wrong_crc = false;
  checks.equal(bench.measure(1).valid, true, "it came back");
  chip.raw_temperature = 0;
  checks.equal(bench.measure(1).valid, false, "-45 C: the line cannot carry it");
  Measurement m;
  checks.equal(bench.table->fetch(1, m), false, "nothing to fetch without a start");
}

}  // namespace

void test_probes(Checks& checks) {
  numbers_by_place(checks);
  all_kinds(checks);
  numbers_stay(checks);
  eight_at_most(checks);
  roles_are_respected(checks);
  failures(checks);
}
