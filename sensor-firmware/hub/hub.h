// The hub: reads each probe once a second, says hello, answers commands. No clock and no port of its own: it is told the
// time and handed bytes, so that it runs on a PC as on the board.
//
// A second has one slot of 125 ms for each probe number:
//
//   0 ms          20 ms                      125 ms
//   | start chip  | fetch, send reading      | next probe ...
#pragma once

#include <stdint.h>

#include "command.h"
#include "frame.h"
#include "i2c_bus.h"
#include "probe_table.h"
#include "version.h"

namespace roost {

// Where the hub's lines go.
class LineSink {
 public:
  // Bytes that can be taken without waiting.
  virtual uint8_t room() const = 0;
  virtual void send(const char* bytes, uint8_t length) = 0;

 protected:
  ~LineSink() = default;
};

class Hub {
 public:
  static constexpr uint16_t kRoundMs = 1000;
  static constexpr uint16_t kSlotMs = kRoundMs / kMaxProbes;
  static constexpr uint16_t kHelloMs = 10000;

  Hub(I2cBus& bus, LineSink& out) : probes_(bus), out_(out) {}

  // Call at least every few milliseconds with a clock that may wrap.
  void tick(uint32_t now_ms) {
    if (!begun_) {
      begun_ = true;
      slot_began_ms_ = now_ms;
      hello_ms_ = now_ms;
      hello();
      probes_.start(probe_);
    }
    if (now_ms - hello_ms_ >= kHelloMs) {
      hello_ms_ = now_ms;
      hello();
    }
    answer_query();
    tick_slot(now_ms);
  }

  // Take one byte from the host.
  void receive(char byte) {
    Command command;
    if (reader_.push(byte, command)) {
      obey(command);
    }
  }

 private:
  void tick_slot(uint32_t now_ms) {
    const uint32_t in_slot = now_ms - slot_began_ms_;
    if (!fetched_ && in_slot >= Sht31::kMeasureMs) {
      fetched_ = true;
      report();
    }
    if (in_slot >= kSlotMs) {
      // Late by a whole round: begin anew instead of catching up in a burst.
      slot_began_ms_ = in_slot > kRoundMs ? now_ms : slot_began_ms_ + kSlotMs;
      probe_ = static_cast<uint8_t>(probe_ % kMaxProbes + 1);
      fetched_ = false;
      probes_.start(probe_);
    }
  }

  void report() {
    const Measurement measured = probes_.fetch(probe_);
    if (probes_.is_known(probe_)) {
      send(Frame::reading(seq_++, probe_, measured));
    }
  }

  void hello() { send(Frame::hello(seq_++, kProtocolVersion, kFirmware, kCapabilities)); }

  // A queried hello waits for room, and many queries get one, so that a flood of them cannot stop the readings.
  void answer_query() {
    if (queried_ && out_.room() >= kHelloRoom) {
      queried_ = false;
      hello();
    }
  }

  // Commands may come twice: what they ask for is a state, not a step. Without room the answer is left out: the host
  // asks again.
  void obey(const Command& command) {
    AckCode code = AckCode::kUnsupported;
    if (command.type == 'Q') {
      code = command.has_fields ? AckCode::kInvalid : AckCode::kDone;
      queried_ = queried_ || code == AckCode::kDone;
    }
    const Frame answer = Frame::ack(command.seq, code);
    if (out_.room() >= answer.length()) {
      send(answer);
    }
  }

  void send(const Frame& frame) { out_.send(frame.bytes(), frame.length()); }

  // "$H,65535,1," and "," and "*CCCC\r\n" around two texts.
  static constexpr uint8_t kHelloRoom = 11 + sizeof kFirmware - 1 + 1 + sizeof kCapabilities - 1 + 7;

  ProbeTable probes_;
  LineSink& out_;
  CommandReader reader_;
  uint32_t slot_began_ms_ = 0;
  uint32_t hello_ms_ = 0;
  uint16_t seq_ = 0;
  uint8_t probe_ = 1;
  bool begun_ = false;
  bool fetched_ = false;
  bool queried_ = false;
};

}  // namespace roost
