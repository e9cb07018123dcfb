// Fans, relays, the fail-safe, and commands that come twice.
#include "check.h"
#include "fakes.h"

namespace {

// A hub whose general pins 3 and 4 drive relays.
void wire_relays(Rig& rig) {
  roost::Settings settings;
  settings.roles[2] = settings.roles[3] = static_cast<uint8_t>(roost::Role::kRelay);
  roost::kSettingsJournal.save(rig.memory, settings);
}

void fans_turn_and_are_counted(Checks& checks) {
  Rig rig;
  rig.start();
  checks.equal(rig.outputs.duty[0], 10000, "full before anyone speaks");
  checks.equal(count(rig.run(5000), "$T,"), 0U, "a fan that never turned is not known");
  checks.equal(rig.say("F,1,2,2500"), std::string("A,1,0"), "a fan is set");
  checks.equal(rig.outputs.duty[1], 2500, "and driven so");
  checks.equal(rig.outputs.duty[0], 10000, "the others go on");
  rig.run(2500);
  // 50 pulses in each of the next seconds: 1500 turns a minute.
  std::string text;
  for (int i = 0; i < 200; ++i) {
    rig.outputs.pulses[1] = static_cast<uint16_t>(rig.outputs.pulses[1] + 1);
    text += rig.run(20);
    checks.equal(rig.outputs.duty[1], 2500, "nothing changes it");
  }
  checks.equal(count(text, ",2,2500,1500*") >= 1, true, "its turns are told: " + text);
  checks.equal(rig.say("C,2,2,1"), std::string("A,2,0"), "one pulse a turn");
  checks.equal(rig.say("C,3,1,5"), std::string("A,3,0"), "fans 1 and 3 are expected");
  text = rig.run(2100);
  checks.equal(count(text, ",1,10000,0*"), 1U, "an expected fan that stands still is told: " + text);
  checks.equal(count(text, ",3,10000,0*"), 1U, "the other one too");
}

void silence_is_safe(Checks& checks) {
  Rig rig;
  wire_relays(rig);
  rig.start(UINT32_MAX - 20000);
  rig.say("F,1,1,3000");
  rig.say("P,2,3,1");
  checks.equal(rig.outputs.level(3), 0, "a relay that is active low is on");
  checks.equal(count(rig.run(29000), ",4,12,0*"), 3U, "the status says that the host is there");
  checks.equal(rig.outputs.duty[0], 3000, "29 s of silence change nothing, over the wrap of the clock");
  const std::string text = rig.run(2500);
  checks.equal(rig.outputs.duty[0], 10000, "30 s of silence: full");
  checks.equal(rig.outputs.level(3), 0, "relays stay");
  checks.equal(count(text, ",4,12,1*"), 1U, "the status says so: " + text);
  rig.say("R,3,1,2000,4000,1");
  rig.say("A,3,0");
  rig.say("ZZ,3");
  checks.equal(count(rig.run(50), ",4,12,0*"), 0U, "lines that are no commands are no host");
  checks.equal(rig.say("B,4"), std::string("A,4,0"), "a beat");
  checks.equal(count(rig.run(50), ",4,12,0*"), 1U, "ends the silence");
  checks.equal(rig.outputs.duty[0], 10000, "a fan stays at full until it is told");
  rig.say("F,5,1,4000");
  for (int i = 0; i < 10; ++i) {
    rig.run(9000);
    rig.say("B," + std::to_string(10 + i));
  }
  checks.equal(rig.outputs.duty[0], 4000, "beats keep the hub calm");
  rig.say("C,30,3,5");
  rig.say("F,31,1,4500");
  rig.run(6100);
  checks.equal(rig.outputs.duty[0], 10000, "the time is a setting");
  rig.say("F,31,1,4500");
  checks.equal(rig.outputs.duty[0], 4500, "after the fail-safe the same bytes are done again");
}

void once_and_for_all(Checks& checks) {
  Rig rig;
  wire_relays(rig);
  rig.start();
  rig.say("P,1,3,1");
  rig.say("P,2,3,0");
  const int changes = rig.outputs.changes;
  checks.equal(rig.say("P,1,3,1"), std::string("A,1,0"), "the same bytes get the same answer");
  checks.equal(rig.outputs.level(3), 1, "and do nothing, though another command came between");
  rig.say("F,3,9,1");
  checks.equal(rig.say("F,3,9,1"), std::string("A,3,2"), "a refusal is the same too");
  checks.equal(rig.outputs.changes, changes, "nothing moved");
  checks.equal(rig.say("P,1,4,1"), std::string("A,1,0"), "another command with a number that was used");
  checks.equal(rig.outputs.level(4), 0, "is done");
  rig.run(11000);
  checks.equal(rig.say("P,1,4,0"), std::string("A,1,0"), "later, another command");
  checks.equal(rig.outputs.level(4), 1, "is done");
  rig.run(11000);
  checks.equal(rig.say("P,1,4,1"), std::string("A,1,0"), "the bytes of a command of 22 s ago");
  checks.equal(rig.outputs.level(4), 0, "are a new command");
}

void relays_outlive_a_restart(Checks& checks) {
  Rig rig;
  wire_relays(rig);
  rig.start();
  rig.say("P,1,4,1");
  rig.outputs.pins.clear();
  rig.start();
  checks.equal(rig.outputs.level(4), 0, "on again");
  checks.equal(rig.outputs.level(3), 1, "off again");
  checks.equal(rig.outputs.level(1), -1, "pins of other roles are not driven");
  rig.say("C,2,14,0");
  checks.equal(rig.outputs.level(4), -1, "a pin that is no relay any more is let go");
  checks.equal(rig.say("P,3,4,1"), std::string("A,3,2"), "and there is no such relay");
  rig.say("C,4,14,1");
  checks.equal(rig.outputs.level(4), 1, "as a relay again it begins switched off");
  rig.say("C,5,4,0");
  checks.equal(rig.outputs.level(4), 0, "active high: off is low");
  const long writes = rig.memory.writes;
  rig.run(60000);
  checks.equal(rig.memory.writes, writes, "a minute of nothing writes nothing");
}

void an_expander_has_the_relays(Checks& checks) {
  Rig rig;
  wire_relays(rig);
  rig.start();
  rig.say("P,1,3,1");
  auto& expander = rig.i2c.add<FakeExpander>(0, 0x3F);
  const std::string text = rig.run(1100);
  checks.equal(count(text, ",4,255,0*"), 1U, "it is found while running, with the relays as they were: " + text);
  checks.equal(static_cast<int>(expander.levels), 0xFB, "relay 3 is on");
  checks.equal(rig.outputs.level(3), -1, "the general pin is free");
  rig.say("P,2,8,1");
  checks.equal(static_cast<int>(expander.levels), 0x7B, "relay 8 too");
  expander.answers = false;
  checks.equal(rig.say("P,3,1,1"), std::string("A,3,3"), "a silent one does not obey");
  expander.answers = true;
  checks.equal(rig.say("P,3,1,1"), std::string("A,3,0"), "the same command is tried again");
  checks.equal(static_cast<int>(expander.levels), 0x7A, "and done");
  expander.levels = 0xFF;
  rig.run(1100);
  checks.equal(static_cast<int>(expander.levels), 0x7A, "one that lost its power gets its levels again");
  expander.answers = false;
  rig.start();
  rig.run(3000);
  expander.answers = true;
  rig.run(1100);
  checks.equal(static_cast<int>(expander.levels), 0x7A, "one that was silent when the hub started, too");
}

void settings_over_the_line(Checks& checks) {
  Rig rig;
  rig.i2c.add<FakeSht31>(0, 0x44);
  rig.start();
  rig.run(100);
  checks.equal(rig.say("C,1,3,17"), std::string("A,1,0"), "a setting");
  checks.equal(count(rig.run(5), ",3,17*"), 1U, "is told back");
  rig.start();
  rig.run(100);
  rig.say("G,2,3");
  rig.say("G,3,21");
  const std::string text = rig.run(5);
  checks.equal(count(text, "$V,"), 2U, "two settings are told");
  checks.equal(count(text, ",3,17*") + count(text, ",21,1*"), 2U, "as they are, after a restart: " + text);
  const long writes = rig.memory.writes;
  rig.say("C,7,3,17");
  checks.equal(rig.memory.writes, writes, "what is there already is not written");
  rig.i2c.chips.clear();
  rig.say("C,4,21,0");
  checks.equal(count(rig.run(5000), "$R,"), 0U, "a forgotten probe gives no readings");
}

}  // namespace

void test_outputs(Checks& checks) {
  fans_turn_and_are_counted(checks);
  silence_is_safe(checks);
  once_and_for_all(checks);
  relays_outlive_a_restart(checks);
  an_expander_has_the_relays(checks);
  settings_over_the_line(checks);
}
