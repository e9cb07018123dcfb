// One simulated SHT31: what its data sheet says it answers on the bus.
#pragma once

#include "feeling.h"
#include "i2c_chip.h"

typedef struct {
    i2c_chip bus;
    const feeling *feels;
    uint8_t command[2];
    uint8_t command_bytes;
    // When the running measurement is done, in microseconds; then its result may be read once.
    uint64_t ready_us;
    bool measuring;
    uint8_t result[6];
    uint8_t result_bytes;
    uint8_t read_bytes;
} sht31_chip;

void sht31_init(sht31_chip *chip, int channel, uint8_t address, const feeling *feels);
