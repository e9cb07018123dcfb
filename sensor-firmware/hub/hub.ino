// Roost hub for the Arduino Uno, Nano and Mega: up to eight probes, four fans and eight relays behind one serial line. What
// it does is in hub.h; this file joins it to the board.

#include <EEPROM.h>
#include <Wire.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "board.h"
#include "hub.h"

static roost::WireBus i2c;
static roost::OneWirePins one_wire;
static roost::PulsePins pulse;
static roost::OutputPins outputs;
static roost::Eeprom eeprom;
static roost::SerialSink line;
static roost::Hub hub(roost::Board{{i2c, one_wire, pulse}, outputs, eeprom, line});

ISR(TIMER0_COMPA_vect) { roost::count_tachometers(); }
ISR(TIMER0_COMPB_vect, ISR_ALIASOF(TIMER0_COMPA_vect));

// After a watchdog reset the watchdog is still on, with its shortest time: stop it before anything else runs.
extern "C" void stop_watchdog(void) __attribute__((naked, used, section(".init3")));
extern "C" void stop_watchdog(void) {
  MCUSR = 0;
  wdt_disable();
}

void setup() {
  wdt_enable(WDTO_2S);
  outputs.begin();
  line.begin();
  i2c.begin();
  set_sleep_mode(SLEEP_MODE_IDLE);
  hub.begin(millis());
}

void loop() {
  wdt_reset();
  while (Serial.available() > 0) {
    hub.receive(static_cast<char>(Serial.read()));
  }
  static uint32_t ticked_ms;
  const uint32_t now_ms = millis();
  if (now_ms != ticked_ms) {
    ticked_ms = now_ms;
    hub.tick(now_ms);
  }
  // Timer 0 wakes the processor three times in a millisecond, a byte on the line at once.
  sleep_mode();
}
