// One simulated PCF8574: eight pins, high when it gets power. What they are is said on standard output, as a relay board's
// lamps say it:
//
//   pcf8574 0xFB
#pragma once

#include "feeling.h"
#include "i2c_chip.h"

typedef struct {
    i2c_chip bus;
    const feeling *feels;
    uint8_t levels;
} pcf8574_chip;

void pcf8574_init(pcf8574_chip *chip, int channel, uint8_t address, const feeling *feels);
