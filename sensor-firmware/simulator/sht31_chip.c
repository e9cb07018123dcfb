#include "sht31_chip.h"

#include <string.h>

// Longest time of a single shot at high repeatability.
#define MEASURE_US 15000
// Nothing to say of itself but that it was switched on.
#define STATUS 0x8010

static const uint8_t SINGLE_SHOT_HIGH[2] = {0x24, 0x00};
static const uint8_t READ_STATUS[2] = {0xF3, 0x2D};

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

static void answer(sht31_chip *chip, uint16_t raw)
{
    uint8_t *out = chip->result + chip->result_bytes;
    out[0] = (uint8_t)(raw >> 8);
    out[1] = (uint8_t)raw;
    out[2] = crc8(out) ^ (chip->feels->garbled ? 1 : 0);
    chip->result_bytes += 3;
}

static bool is_command(const sht31_chip *chip, const uint8_t *command)
{
    return chip->command_bytes == 2 && memcmp(chip->command, command, 2) == 0;
}

// For reading it acknowledges only when it has something to say.
static bool sht31_select(i2c_chip *bus, bool reading, uint64_t now_us)
{
    sht31_chip *chip = (sht31_chip *)bus;
    if (chip->feels->failed)
        return false;
    chip->read_bytes = chip->result_bytes = 0;
    if (!reading) {
        chip->command_bytes = 0;
        return true;
    }
    if (is_command(chip, READ_STATUS)) {
        answer(chip, STATUS);
    } else if (chip->measuring && now_us >= chip->ready_us) {
        chip->measuring = false;
        answer(chip, raw_of(chip->feels->temperature_centi + 4500, 17500));
        answer(chip, raw_of(chip->feels->humidity_centi, 10000));
    }
    chip->command_bytes = 0;
    return chip->result_bytes > 0;
}

static void sht31_write(i2c_chip *bus, uint8_t byte, uint64_t now_us)
{
    sht31_chip *chip = (sht31_chip *)bus;
    if (chip->command_bytes == sizeof chip->command)
        return;
    chip->command[chip->command_bytes++] = byte;
    if (is_command(chip, SINGLE_SHOT_HIGH)) {
        chip->measuring = true;
        chip->ready_us = now_us + MEASURE_US;
    }
}

static uint8_t sht31_read(i2c_chip *bus)
{
    sht31_chip *chip = (sht31_chip *)bus;
    return chip->read_bytes < chip->result_bytes ? chip->result[chip->read_bytes++] : 0xFF;
}

void sht31_init(sht31_chip *chip, int channel, uint8_t address, const feeling *feels)
{
    *chip = (sht31_chip){.bus = {channel, address, sht31_select, sht31_write, sht31_read}, .feels = feels};
}
