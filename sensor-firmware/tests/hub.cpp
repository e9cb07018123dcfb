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

// A small generator (xorshift), so that noise is the same on every run.
struct Noise {
  uint32_t state = 2463534242;
  uint32_t next() {
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
  }
};

// One bit in a hundred is wrong, and between two commands are up to 16 bytes of noise.
void commands_on_a_bad_line(Checks& checks) {
  Rig rig;
  rig.start();
  Noise noise;
  int good = 0, done = 0, forged = 0;
  for (int i = 0; i < 60000; ++i) {
    const std::string body = "F," + std::to_string(i % 65536) + ",1," + std::to_string(i % 10001);
    char tail[8];
    snprintf(tail, sizeof tail, "*%04X\r\n", roost::crc16(body.data(), static_cast<uint8_t>(body.size())));
    std::string line = "$" + body + tail;
    bool damaged = false;
    for (size_t bit = 0; bit < line.size() * 8; ++bit) {
      if (noise.next() % 100 == 0) {
        line[bit / 8] = static_cast<char>(line[bit / 8] ^ 1 << bit % 8);
        damaged = true;
      }
    }
    for (uint32_t left = noise.next() % 17; left > 0; --left) {
      rig.hub->receive(static_cast<char>(noise.next() >> 8));
    }
    rig.sink.text.clear();
    for (char byte : line) {
      rig.hub->receive(byte);
    }
    const bool answered = count(rig.sink.text, "$A," + std::to_string(i % 65536) + ",0*") == 1;
    good += damaged ? 0 : 1;
    done += !damaged && answered && rig.outputs.duty[0] == i % 10001 ? 1 : 0;
    forged += damaged && !rig.sink.text.empty() ? 1 : 0;
  }
  checks.equal(good > 3000 && good < 20000, true, "some are good: " + std::to_string(good));
  checks.equal(done * 100 >= good * 99, true, "of the good ones are done: " + std::to_string(done));
  checks.equal(forged <= 2, true, "of the others are answered: " + std::to_string(forged));
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
  Noise random;
  const std::string likely = "$FPCGBQ,0123456789*ABCDEF\r\n";
  rig.sink.text.clear();
  for (int i = 0; i < 2000000; ++i) {
    const uint32_t state = random.next();
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
  commands_on_a_bad_line(checks);
  noise(checks);
}
