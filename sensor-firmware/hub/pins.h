// Which pins of which board are what. See docs/operate/hub.md for the wiring.
//
// Fans have the pins of timers that nothing else uses; timer 0 is the clock. A fan wants 21 to 28 kHz: a timer of 16 bits
// gives 25 kHz, timer 2 of the Uno, which has 8 bits, 31.4 kHz.
#pragma once

#include <Arduino.h>

namespace roost {

#if defined(__AVR_ATmega328P__)  // Uno, Nano

constexpr uint8_t kFanPins[] = {9, 10, 11, 3};
constexpr uint8_t kGeneralPins[] = {2, 4, 5, 6, 7, 8, 12, 13};

inline void begin_tachometers() {
  DDRC &= 0xF0;
  PORTC |= 0x0F;
}
// A0 to A3: bit n - 1 for fan n.
inline uint8_t read_tachometers() { return PINC & 0x0F; }

inline void begin_fan_timers() {
  ICR1 = 320;
  TCCR1A = _BV(COM1A1) | _BV(COM1B1);
  TCCR1B = _BV(WGM13) | _BV(CS10);
  TCCR2A = _BV(COM2A1) | _BV(COM2B1) | _BV(WGM20);
  TCCR2B = _BV(CS20);
}

inline void set_fan_timer(uint8_t fan, uint16_t duty_centi) {
  const uint16_t of320 = static_cast<uint16_t>((320UL * duty_centi + 5000) / 10000);
  const uint8_t of255 = static_cast<uint8_t>((255UL * duty_centi + 5000) / 10000);
  switch (fan) {
    case 1: OCR1A = of320; break;
    case 2: OCR1B = of320; break;
    case 3: OCR2A = of255; break;
    default: OCR2B = of255; break;
  }
}

#elif defined(__AVR_ATmega2560__)  // Mega

constexpr uint8_t kFanPins[] = {11, 12, 6, 7};
constexpr uint8_t kGeneralPins[] = {22, 23, 24, 25, 26, 27, 28, 29};

inline void begin_tachometers() {
  DDRK &= 0xF0;
  PORTK |= 0x0F;
}
// A8 to A11: bit n - 1 for fan n.
inline uint8_t read_tachometers() { return PINK & 0x0F; }

inline void begin_fan_timers() {
  ICR1 = 320;
  TCCR1A = _BV(COM1A1) | _BV(COM1B1);
  TCCR1B = _BV(WGM13) | _BV(CS10);
  ICR4 = 320;
  TCCR4A = _BV(COM4A1) | _BV(COM4B1);
  TCCR4B = _BV(WGM43) | _BV(CS40);
}

inline void set_fan_timer(uint8_t fan, uint16_t duty_centi) {
  const uint16_t of320 = static_cast<uint16_t>((320UL * duty_centi + 5000) / 10000);
  switch (fan) {
    case 1: OCR1A = of320; break;
    case 2: OCR1B = of320; break;
    case 3: OCR4A = of320; break;
    default: OCR4B = of320; break;
  }
}

#else
#error "no pins are known for this board: Uno, Nano and Mega are"
#endif

}  // namespace roost
