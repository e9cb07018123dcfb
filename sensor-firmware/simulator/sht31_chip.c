#include "sht31_chip.h"

#include <string.h>

// Longest time of a single shot at high repeatability.
#define MEASURE_US 15000

static const uint8_t SINGLE_SHOT_HIGH[2] = {0x24, 0x00};

// CRC-8 of two bytes, polynomial 0x31 from 0xFF, as in the data sheet.
static uint8_t crc8(const uint8_t *two)
{
    uint8_t crc = 0xFF;
    for (int i = 0; i < 2; i++) {
        crc ^= two[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (uint8_t)(crc & 0x80 ? crc << 1 ^ 0x31 : crc << 1);
    }
    return crc;
}

// `part` of `whole` on the chip's 16-bit scale; what is off the scale stops at its end.
static uint16_t raw_of(int64_t part, int64_t whole)
{
    int64_t raw = (part * 65535 + whole / 2) / whole;
    return (uint16_t)(raw < 0 ? 0 : raw > 65535 ? 65535 : raw);
}

static void put_word(uint8_t *out, uint16_t raw)
{
    out[0] = (uint8_t)(raw >> 8);
    out[1] = (uint8_t)raw;
    out[2] = crc8(out);
}

void sht31_init(sht31_chip *chip)
{
    *chip = (sht31_chip){.temperature_centi = 2200, .humidity_centi = 4500};
}

bool sht31_select(sht31_chip *chip, bool reading, uint64_t now_us)
{
    if (chip->failed)
        return false;
    chip->command_bytes = 0;
    chip->read_bytes = 0;
    if (!reading)
        return true;
    if (!chip->measuring || now_us < chip->ready_us)
        return false;
    chip->measuring = false;
    put_word(chip->result, raw_of(chip->temperature_centi + 4500, 17500));
    put_word(chip->result + 3, raw_of(chip->humidity_centi, 10000));
    return true;
}

void sht31_write(sht31_chip *chip, uint8_t byte, uint64_t now_us)
{
    if (chip->command_bytes == sizeof chip->command)
        return;
    chip->command[chip->command_bytes++] = byte;
    if (chip->command_bytes == sizeof chip->command && memcmp(chip->command, SINGLE_SHOT_HIGH, 2) == 0) {
        chip->measuring = true;
        chip->ready_us = now_us + MEASURE_US;
    }
}

uint8_t sht31_read(sht31_chip *chip)
{
    return chip->read_bytes < sizeof chip->result ? chip->result[chip->read_bytes++] : 0xFF;
}
