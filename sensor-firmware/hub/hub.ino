// Roost hub for the Arduino Uno: up to eight SHT31 probes behind one serial line. What it does is in hub.h; this file
// joins it to the board.

#include <Wire.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "board.h"
#include "hub.h"

static roost::WireBus bus;
static roost::SerialSink line;
static roost::Hub hub(bus, line);

// After a watchdog reset the watchdog is still on, with its shortest time: stop it before anything else runs.
extern "C" void stop_watchdog(void) __attribute__((naked, used, section(".init3")));
extern "C" void stop_watchdog(void) {
  MCUSR = 0;
  wdt_disable();
}

void setup() {
  wdt_enable(WDTO_2S);
  line.begin();
  bus.begin();
  set_sleep_mode(SLEEP_MODE_IDLE);
}

void loop() {
  wdt_reset();
  while (Serial.available() > 0) {
    hub.receive(static_cast<char>(Serial.read()));
  }
  hub.tick(millis());
  // Timer 0 wakes the processor about every millisecond, a byte on the line at once.
  sleep_mode();
}
