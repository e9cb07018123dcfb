// What a chip on the I2C bus does when its address is sent, and when bytes are.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FIRST_CHANNEL 1

typedef struct i2c_chip {
    // 0: the hub's own bus. FIRST_CHANNEL and up: behind the multiplexer.
    int channel;
    uint8_t address;
    // Its address was sent. Returns whether it acknowledges.
    bool (*select)(struct i2c_chip *chip, bool reading, uint64_t now_us);
    // A byte was written to it.
    void (*write)(struct i2c_chip *chip, uint8_t byte, uint64_t now_us);
    // A byte is read from it.
    uint8_t (*read)(struct i2c_chip *chip);
} i2c_chip;
