// One simulated BME280: its registers, a calibration, and raw values that by its data sheet's formulas in floating point mean
// what it feels. The firmware has them in integers, so that each checks the other.
#pragma once

#include "feeling.h"
#include "i2c_chip.h"

typedef struct {
    i2c_chip bus;
    const feeling *feels;
    uint8_t registers[256];
    // The register that is next, and whether the next byte written names one.
    uint8_t at;
    bool naming;
    // When the running measurement is done, in microseconds.
    uint64_t ready_us;
    bool measuring;
} bme280_chip;

void bme280_init(bme280_chip *chip, int channel, uint8_t address, const feeling *feels);
