// One simulated SHT31: what its data sheet says it answers on the bus.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    // What it feels. Hundredths of a degree Celsius, hundredths of a percent.
    int32_t temperature_centi;
    int32_t humidity_centi;
    // It does not answer at all.
    bool failed;

    uint8_t command[2];
    uint8_t command_bytes;
    // When the running measurement is done, in microseconds; then `result` may be read once.
    uint64_t ready_us;
    bool measuring;
    uint8_t result[6];
    uint8_t read_bytes;
} sht31_chip;

// Feel what a room feels: 22 C, 45 %.
void sht31_init(sht31_chip *chip);
// Its address was sent. Returns whether it acknowledges: not when failed, not for reading while it has no result.
bool sht31_select(sht31_chip *chip, bool reading, uint64_t now_us);
// A byte was written to it.
void sht31_write(sht31_chip *chip, uint8_t byte, uint64_t now_us);
// A byte is read from it.
uint8_t sht31_read(sht31_chip *chip);
