// Where what is in the EEPROM. An Uno has 1024 bytes of it.
#pragma once

#include "journal.h"
#include "place.h"
#include "settings.h"

namespace roost {

// Settings change a few times in a life, relays some times a day: 16 records bear 1.6 million changes.
constexpr Journal<Settings> kSettingsJournal(0, 2);
constexpr Journal<uint8_t> kRelayJournal(32, 16);

// A chip's place is written once for each probe.
constexpr Journal<Place> probe_journal(uint8_t probe) {
  return Journal<Place>(static_cast<uint16_t>(96 + (probe - 1) * 2 * Journal<Place>::kRecord), 2);
}

static_assert(2 * Journal<Settings>::kRecord <= 32, "settings end before relays");
static_assert(32 + 16 * Journal<uint8_t>::kRecord <= 96, "relays end before probes");
static_assert(96 + kMaxProbes * 2 * Journal<Place>::kRecord <= 1024, "probes end before the EEPROM does");

}  // namespace roost
