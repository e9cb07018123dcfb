// The wires between the processor's TWI and the chips: the hub's own bus, and a TCA9548A when a chip is behind it.
#pragma once

#include <sim_avr.h>

#include "i2c_chip.h"

#define MAX_I2C_CHIPS 24

typedef struct {
    avr_t *avr;
    i2c_chip *chips[MAX_I2C_CHIPS];
    int count;
    bool has_multiplexer;

    // The multiplexer's register: a bit for each connected channel.
    uint8_t channels;
    // Who acknowledged the address of the running transfer.
    bool multiplexer_selected;
    i2c_chip *selected;
} i2c_wires;

// Join the wires to the processor, with no chip on them.
void i2c_wires_attach(i2c_wires *wires, avr_t *avr);
// Join a chip to the wires. Returns false when there are too many.
bool i2c_wires_add(i2c_wires *wires, i2c_chip *chip);
