// One simulated DHT22, by the times of its edges. It answers 1 s after it gets power and every 2 s, as its data sheet
// allows; asked more often it is silent.
#pragma once

#include "feeling.h"
#include "general_pins.h"

typedef struct {
    general_pins *pins;
    int pin;
    const feeling *feels;
    avr_cycle_count_t fell, next_answer;
    uint8_t bytes[5];
    // Edges of the running answer that are done.
    int edges;
    bool answering;
} dht22_chip;

// A chip at a general pin. Returns false when the pin is taken.
bool dht22_init(dht22_chip *chip, general_pins *pins, int pin, const feeling *feels);
