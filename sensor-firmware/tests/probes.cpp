// Chips, multiplexer and numbering.
#include "check.h"
#include "fakes.h"
#include "probe_table.h"

using roost::ProbeTable;
using roost::Sht31;

namespace {

roost::Measurement measure(ProbeTable& table, uint8_t probe) {
  table.start(probe);
  return table.fetch(probe);
}

void conversions(Checks& checks) {
  const uint8_t sheet[] = {0xBE, 0xEF};
  checks.equal(Sht31::crc8(sheet), 0x92, "CRC-8 of the data sheet");
  checks.equal(Sht31::temperature_centi(0), -4500, "lowest temperature");
  checks.equal(Sht31::temperature_centi(0xFFFF), 13000, "highest temperature");
  checks.equal(Sht31::temperature_centi(0x6666), 2500, "25 C");
  checks.equal(Sht31::humidity_centi(0), 0, "lowest humidity");
  checks.equal(Sht31::humidity_centi(0xFFFF), 10000, "highest humidity");
}

void direct(Checks& checks) {
  FakeBus bus;
  bus.chips[0x44];
  bus.chips[0x45].raw_temperature = 0;
  ProbeTable table(bus);
  checks.equal(measure(table, 1).temperature_centi, 2500, "0x44 is probe 1");
  checks.equal(measure(table, 2).temperature_centi, -4500, "0x45 is probe 2");
  checks.equal(measure(table, 3).valid, false, "there is no probe 3 without a multiplexer");
  checks.equal(table.is_known(3), false, "probe 3 is not known");
  bus.multiplexer = true;
  bus.channels = 0;
  checks.equal(measure(table, 1).valid, true, "a multiplexer that comes later renumbers nothing");
}

void multiplexed(Checks& checks) {
  FakeBus bus;
  bus.multiplexer = true;
  bus.chips[FakeBus::behind(0)];
  bus.chips[FakeBus::behind(5)].raw_temperature = 0xFFFF;
  ProbeTable table(bus);
  checks.equal(measure(table, 1).temperature_centi, 2500, "channel 0 is probe 1");
  checks.equal(measure(table, 6).temperature_centi, 13000, "channel 5 is probe 6");
  checks.equal(measure(table, 2).valid, false, "channel 1 is empty");
  bus.multiplexer = false;
  bus.chips[0x44];
  checks.equal(measure(table, 1).valid, false, "a silent multiplexer renumbers nothing");
}

void failures(Checks& checks) {
  FakeBus bus;
  FakeBus::Chip& chip = bus.chips[0x44];
  ProbeTable table(bus);
  chip.answers = false;
  checks.equal(measure(table, 1).valid, false, "no chip yet");
  checks.equal(table.is_known(1), false, "not known yet");
  chip.answers = true;
  checks.equal(measure(table, 1).valid, true, "it came");
  chip.answers = false;
  checks.equal(measure(table, 1).valid, false, "it went: no old value");
  checks.equal(table.is_known(1), true, "still known");
  chip.answers = true;
  chip.wrong_crc = true;
  checks.equal(measure(table, 1).valid, false, "wrong checksum: no value");
  chip.wrong_crc = false;
  checks.equal(measure(table, 1).valid, true, "it came back");
  checks.equal(table.fetch(1).valid, false, "nothing to fetch without a start");
}

}  // namespace

void test_probes(Checks& checks) {
  conversions(checks);
  direct(checks);
  multiplexed(checks);
  failures(checks);
}
