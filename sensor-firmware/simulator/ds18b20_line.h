// A 1-Wire line with simulated DS18B20, by the times of its edges. A bit whose times are outside of the data sheet's makes
// all chips lose their place until the next reset, and is said on standard error: such a firmware would fail on a longer
// wire.
#pragma once

#include "feeling.h"
#include "general_pins.h"

#define MAX_DS18B20 10

typedef struct {
    const feeling *feels;
    uint8_t rom[8];
    uint8_t scratchpad[9];
    // It still hears what is said since the last reset.
    bool listens;
    bool measuring;
    avr_cycle_count_t ready;
} ds18b20_chip;

typedef struct {
    general_pins *pins;
    int pin;
    ds18b20_chip chips[MAX_DS18B20];
    int count;

    enum { LINE_LOST, LINE_COMMAND, LINE_MATCH, LINE_SEARCH, LINE_READ, LINE_IDLE } state;
    uint8_t command;
    int bits;
    // Where a search is with its present bit: it is read, its complement is read, one is chosen.
    int turn;
    avr_cycle_count_t fell;
} ds18b20_line;

// A line at a general pin. Returns false when the pin is taken.
bool ds18b20_line_init(ds18b20_line *line, general_pins *pins, int pin);
// A chip with this serial number (48 bits). Returns false when the line is full.
bool ds18b20_line_add(ds18b20_line *line, uint64_t serial, const feeling *feels);
