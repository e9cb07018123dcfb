// The hub: measures each probe once a second, drives fans and relays as it is told, and goes to the safe side when nobody
// tells. No clock and no port of its own: it is told the time and handed bytes, so that it runs on a PC as on the board.
//
// A second has one slot of 125 ms for each probe number:
//
//   0 ms          20 ms                60 ms                     125 ms
//   | start chip  | fetch, send        | look for one new chip   | next probe ...
#pragma once

#include <stdint.h>

#include "answered.h"
#include "command.h"
#include "fans.h"
#include "probe_search.h"
#include "probe_table.h"
#include "relays.h"
#include "reports.h"

namespace roost {

// What the hub is made of.
struct Board {
  Wires wires;
  Outputs& outputs;
  Memory& memory;
  LineSink& line;
};

class Hub {
 public:
  static constexpr uint16_t kRoundMs = 1000;
  static constexpr uint16_t kSlotMs = kRoundMs / kMaxProbes;
  static constexpr uint16_t kSearchMs = 60;
  static constexpr uint16_t kHelloMs = 10000;

  explicit Hub(const Board& board)
      : memory_(board.memory),
        fans_(board.outputs, settings_),
        relays_(board.outputs, board.wires.i2c, board.memory, settings_),
        probes_(board.wires, board.memory, settings_),
        search_(probes_, settings_),
        reports_(board.line, fans_, relays_, probes_, settings_) {}

  // Call once: fans to full and relays as they were, before the first bytes are read.
  void begin(uint32_t now_ms) {
    now_ms_ = second_ms_ = hello_ms_ = now_ms;
    kSettingsJournal.load(memory_, settings_);
    fans_.begin(now_ms);
    relays_.begin();
    probes_.begin();
    search_.whole_round();
    reports_.everything();
  }

  // Call at least every few milliseconds with a clock that may wrap.
  void tick(uint32_t now_ms) {
    now_ms_ = now_ms;
    if (now_ms - hello_ms_ >= kHelloMs) {
      hello_ms_ = now_ms;
      reports_.everything();
    }
    if (now_ms - second_ms_ >= 1000) {
      second_ms_ += 1000;
      tick_second();
    }
    if (fans_.count(now_ms)) {
      reports_.turning();
    }
    tick_slot();
    tell_changes();
    reports_.speak(uptime_s_, is_silent_);
  }

  // Take one byte from the host.
  void receive(char byte) {
    Command command;
    if (reader_.push(byte, command)) {
      obey(command);
    }
  }

 private:
  void tick_second() {
    ++uptime_s_;
    answered_.age(now_ms_);
    relays_.refresh();
    if (!is_silent_ && now_ms_ - heard_ms_ >= settings_.silence_s * 1000UL) {
      is_silent_ = true;
      fans_.full();
      answered_.forget();
      reports_.turning();
    }
  }

  void tick_slot() {
    if (!has_rounds_) {
      // The first round begins when the search of begin(), which takes its time, is over.
      has_rounds_ = true;
      slot_began_ms_ = now_ms_;
      probes_.start(probe_);
    }
    const uint32_t in_slot = now_ms_ - slot_began_ms_;
    if (step_ == 0 && in_slot >= ProbeTable::kFetchMs) {
      step_ = 1;
      Measurement measured;
      if (probes_.fetch(probe_, measured)) {
        reports_.reading(probe_, measured);
      }
    }
    if (step_ == 1 && in_slot >= kSearchMs) {
      step_ = 2;
      const uint8_t found = search_.step();
      if (found != 0) {
        reports_.place(found);
      }
    }
    if (in_slot >= kSlotMs) {
      // Late by a whole round: begin anew instead of catching up in a burst.
      slot_began_ms_ = in_slot > kRoundMs ? now_ms_ : slot_began_ms_ + kSlotMs;
      probe_ = static_cast<uint8_t>(probe_ % kMaxProbes + 1);
      step_ = 0;
      probes_.start(probe_);
    }
  }

  // A status when what it says changed.
  void tell_changes() {
    const Told now = {relays_.on(), relays_.there(), is_silent_};
    if (now.on != told_.on || now.there != told_.there || now.silent != told_.silent) {
      told_ = now;
      reports_.status();
    }
  }

  // The types of a hub's own lines: a plug that loops them back must start nothing.
  static bool is_hubs_own(char type) { return type != '\0' && strchr("RHTSIVA", type) != nullptr; }

  void obey(const Command& command) {
    if (is_hubs_own(command.type)) {
      return;
    }
    AckCode code;
    if (!answered_.find(command, now_ms_, code)) {
      code = execute(command);
      const bool changes = command.type == 'F' || command.type == 'P' || command.type == 'C';
      if (changes && code != AckCode::kFailed) {
        answered_.note(command, now_ms_, code);
      }
    }
    if (code != AckCode::kUnsupported) {
      heard_ms_ = now_ms_;
      is_silent_ = false;
    }
    reports_.answer(command.seq, code);
  }

  AckCode execute(const Command& command) {
    const uint16_t* fields = command.fields;
    switch (command.type) {
      case 'Q':
        if (!command.has(0)) {
          return AckCode::kInvalid;
        }
        reports_.everything();
        return AckCode::kDone;
      case 'B': return command.has(0) ? AckCode::kDone : AckCode::kInvalid;
      case 'F': return command.has(2) ? set_fan(fields[0], fields[1]) : AckCode::kInvalid;
      case 'P': return command.has(2) ? set_relay(fields[0], fields[1]) : AckCode::kInvalid;
      case 'G': return command.has(1) && fields[0] <= 0xFF ? get(fields[0]) : AckCode::kInvalid;
      case 'C': return command.has(2) && fields[0] <= 0xFF ? set(fields[0], fields[1]) : AckCode::kInvalid;
      default: return AckCode::kUnsupported;
    }
  }

  AckCode set_fan(uint16_t fan, uint16_t duty_centi) {
    if (fan < 1 || fan > kFans || duty_centi > Fans::kFull) {
      return AckCode::kInvalid;
    }
    fans_.set(static_cast<uint8_t>(fan), duty_centi);
    return AckCode::kDone;
  }

  AckCode set_relay(uint16_t relay, uint16_t on) {
    if (relay < 1 || relay > kRelays || on > 1) {
      return AckCode::kInvalid;
    }
    return relays_.set(static_cast<uint8_t>(relay), on == 1);
  }

  AckCode get(uint16_t key) {
    return reports_.setting(static_cast<uint8_t>(key)) ? AckCode::kDone : AckCode::kInvalid;
  }

  AckCode set(uint16_t key, uint16_t value) {
    if (key >= kFirstProbeKey && key < kFirstProbeKey + kMaxProbes) {
      if (value != 0) {
        return AckCode::kInvalid;
      }
      probes_.forget(static_cast<uint8_t>(key - kFirstProbeKey + 1));
      return get(key);
    }
    uint16_t before = 0;
    const bool is_setting = settings_.get(static_cast<uint8_t>(key), before);
    if (!is_setting || !settings_.set(static_cast<uint8_t>(key), value)) {
      return AckCode::kInvalid;
    }
    // The EEPROM bears 100,000 writes: none for what is there already.
    if (value != before) {
      kSettingsJournal.save(memory_, settings_);
      relays_.apply_roles();
      relays_.refresh();
    }
    return get(key);
  }

  struct Told {
    uint8_t on;
    uint8_t there;
    bool silent;
  };

  Memory& memory_;
  Settings settings_;
  Fans fans_;
  Relays relays_;
  ProbeTable probes_;
  ProbeSearch search_;
  Reports reports_;
  CommandReader reader_;
  Answered answered_;
  uint32_t now_ms_ = 0;
  uint32_t second_ms_ = 0;
  uint32_t hello_ms_ = 0;
  uint32_t heard_ms_ = 0;
  uint32_t slot_began_ms_ = 0;
  uint32_t uptime_s_ = 0;
  Told told_ = {0, 0, true};
  uint8_t probe_ = 1;
  uint8_t step_ = 0;
  bool has_rounds_ = false;
  bool is_silent_ = true;
};

}  // namespace roost
