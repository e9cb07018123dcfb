// The eight general pins of an Uno (D2, D4 to D8, D12, D13), as the wires outside see them.
//
// A pin with a chip is a line that is pulled up: it is low while the firmware or the chip pulls it low, and the chip hears
// when the firmware does. What the firmware makes of the others is said on standard output, when it lasts as long as a
// relay needs to follow:
//
//   pin N low | high | input
#pragma once

#include <sim_avr.h>
#include <stdbool.h>

#define GENERAL_PINS 8

// A chip hears that the firmware pulls its line low, or lets it go.
typedef void (*line_listener)(void *chip, bool low, avr_cycle_count_t now);

typedef struct {
    avr_t *avr;
    struct {
        line_listener listener;
        void *chip;
        bool pulled_low;
        const char *told;
    } pins[GENERAL_PINS];
    // Ports B and D.
    struct {
        uint8_t direction, output, driven_low;
        uint8_t lines;
    } ports[2];
} general_pins;

void general_pins_attach(general_pins *pins, avr_t *avr);
// Say what changed. Call every few milliseconds.
void general_pins_service(general_pins *pins);
// Join a chip to pin `pin`, 1 to GENERAL_PINS. Returns false when one is there.
bool general_pins_add(general_pins *pins, int pin, line_listener listener, void *chip);
// The chip at a pin pulls its line low, or lets it go.
void general_pins_pull(general_pins *pins, int pin, bool low);
