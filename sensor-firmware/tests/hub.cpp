// The hub over time.
#include "hub.h"

#include "check.h"
#include "fakes.h"

namespace {

void every_probe_each_second(Checks& checks) {
  Rig rig;
  rig.i2c.multiplexer = true;
  for (int channel = 1; channel <= 8; ++channel) {
    rig.i2c.add<FakeSht31>(channel, 0x44);
  }
  rig.start(UINT32_MAX - 5000);
  const std::string text = rig.run(10000);
  checks.equal(text.compare(0, 5, "$H,0,"), 0, "hello comes first");
  checks.equal(count(text, "$R,"), 80U, "8 probes in 10 seconds, over the clock's wrap");
  checks.equal(count(text, "$H,"), 1U, "hello in 10 seconds");
  checks.equal(count(text, "$I,"), 8U, "where each probe is");
  checks.equal(count(rig.run(10000), "$I,"), 8U, "and again with the next hello");
}

void silence_of_a_chip(Checks& checks) {
  Rig rig;
  rig.start();
  checks.equal(count(rig.run(3000), "$R,"), 0U, "no chip, no reading");
  FakeSht31& chip = rig.i2c.add<FakeSht31>(0, 0x44);
  std::string text = rig.run(4000);
  checks.equal(count(text, ",1,1,0x44*"), 1U, "it is found, and told where");
  checks.equal(count(text, ",1,2500,5000,1*") >= 2, true, "its readings with its kind");
  chip.answers = false;
  text = rig.run(2000);
  checks.equal(count(text, ",1,,,1*"), 2U, "empty fields when it fails");
  checks.equal(count(text, "2500"), 0U, "no old value");
}

void a_full_line(Checks& checks) {
  Rig rig;
  rig.start();
  rig.run(100);
  rig.sink.free = 0;
  checks.equal(rig.say("Q,7"), std::string(), "no answer without room");
  checks.equal(rig.run(1), std::string(), "nothing is sent without room");
  rig.sink.free = 63;
  checks.equal(count(rig.run(1), "$H,"), 1U, "the hello follows when there is room");
  for (int i = 0; i < 100; ++i) {
    rig.say("Q,8");
  }
  checks.equal(count(rig.run(100), "$H,"), 1U, "a flood of queries gets one hello");
}

// Any bytes are taken, and none of them moves a fan or a relay.
void noise(Checks& checks) {
  Rig rig;
  roost::Settings settings;
  settings.roles[2] = static_cast<uint8_t>(roost::Role::kRelay);
  roost::kSettingsJournal.save(rig.memory, settings);
  rig.start();
  rig.say("F,1,1,4000");
  const int changes = rig.outputs.changes;
  uint32_t state = 2463534242;
  const std::string likely = "$FPCGBQ,0123456789*ABCDEF\r\n";
  rig.sink.text.clear();
  for (int i = 0; i < 2000000; ++i) {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    rig.hub->receive((state & 0x100) != 0 ? static_cast<char>(state >> 16) : likely[(state >> 16) % likely.size()]);
  }
  checks.equal(rig.outputs.changes, changes, "two million bytes of noise move nothing");
  checks.equal(count(rig.sink.text, ",0*"), 0U, "and no command is done");
}

}  // namespace

void test_hub(Checks& checks) {
  every_probe_each_second(checks);
  silence_of_a_chip(checks);
  a_full_line(checks);
  noise(checks);
}
