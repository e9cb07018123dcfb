// What is kept in EEPROM, with the power cut at every byte.
#include "journal.h"

#include "check.h"
#include "fakes.h"
#include "layout.h"

using roost::Journal;
using roost::Settings;

namespace {

struct Pair {
  uint8_t a, b;
};

void newest_counts(Checks& checks) {
  FakeMemory memory;
  const Journal<Pair> journal(100, 4);
  Pair value = {7, 7};
  checks.equal(journal.load(memory, value), false, "an EEPROM from the factory holds nothing");
  checks.equal(value.a, 7, "and leaves the value as it was");
  memory.cells.assign(1024, 0);
  checks.equal(journal.load(memory, value), false, "one full of zeros neither");
  // Over all numbers of a record and back.
  for (int i = 0; i < 1000; ++i) {
    journal.save(memory, Pair{static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 8)});
    Pair read = {0, 0};
    const bool right = journal.load(memory, read) && read.a == (i & 0xFF) && read.b == i >> 8;
    if (!right) {
      checks.equal(i, -1, "the newest record counts");
      return;
    }
  }
  checks.equal(memory.read(99), 0, "nothing is written before its place");
  checks.equal(memory.read(static_cast<uint16_t>(100 + 4 * Journal<Pair>::kRecord)), 0, "nothing is written behind its place");
}

void no_power_cut_loses_it(Checks& checks) {
  int cuts = 0;
  for (uint8_t slots : {2, 5}) {
    for (long after = 0; after < 40; ++after) {
      FakeMemory memory;
      const Journal<Pair> journal(0, slots);
      uint8_t kept = 0;
      memory.writes_left = 200 + after;
      try {
        for (uint8_t i = 1; i < 200; ++i) {
          journal.save(memory, Pair{i, static_cast<uint8_t>(~i)});
          kept = i;
        }
      } catch (const PowerCut&) {
        ++cuts;
      }
      Pair read = {0, 0};
      const bool whole = journal.load(memory, read) && read.b == static_cast<uint8_t>(~read.a);
      checks.equal(whole, true, "something whole is there after a cut at byte " + std::to_string(200 + after));
      checks.equal(read.a == kept || read.a == kept + 1, true, "it is the last that was kept, or the one being written");
      memory.writes_left = -1;
      journal.save(memory, Pair{250, 5});
      checks.equal(journal.load(memory, read) && read.a == 250, true, "the next one counts");
    }
  }
  checks.equal(cuts, 80, "every write was cut");
}

void damage_is_seen(Checks& checks) {
  FakeMemory memory;
  Settings stored;
  stored.silence_s = 12;
  roost::kSettingsJournal.save(memory, stored);
  int lost = 0;
  for (uint16_t at = 0; at < Journal<Settings>::kRecord; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      FakeMemory damaged = memory;
      damaged.cells[at] = static_cast<uint8_t>(damaged.cells[at] ^ 1 << bit);
      Settings read;
      lost += roost::kSettingsJournal.load(damaged, read) ? 0 : 1;
    }
  }
  checks.equal(lost, 8 * Journal<Settings>::kRecord, "one wrong bit anywhere is seen");
}

void settings(Checks& checks) {
  Settings s;
  uint16_t value = 0;
  for (int key = 0; key <= 255; ++key) {
    const bool is_one = (key >= 1 && key <= 4) || (key >= 11 && key <= 18);
    checks.equal(s.get(static_cast<uint8_t>(key), value), is_one, "key " + std::to_string(key));
    checks.equal(s.set(static_cast<uint8_t>(key), 256), false, "a value that fits no byte");
  }
  checks.equal(s.set(roost::kSilenceKey, 4) || s.set(roost::kSilenceKey, 31), false, "silence out of range");
  checks.equal(s.set(roost::kSilenceKey, 5) && s.get(roost::kSilenceKey, value) && value == 5, true, "silence is set");
}

}  // namespace

void test_journal(Checks& checks) {
  newest_counts(checks);
  no_power_cut_loses_it(checks);
  damage_is_seen(checks);
  settings(checks);
}
