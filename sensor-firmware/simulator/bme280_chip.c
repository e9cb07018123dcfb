#include "bme280_chip.h"

#include <string.h>

#define ID 0x60
#define BMP280_ID 0x58
// Longest time of one measurement of temperature and one of humidity.
#define MEASURE_US 6400

enum { REGISTER_ID = 0xD0, CONTROL_HUMIDITY = 0xF2, STATUS = 0xF3, CONTROL = 0xF4, TEMPERATURE = 0xFA, HUMIDITY = 0xFD };

// As in the data sheet: dig_T1 to T3, dig_H1 to H6. H4 and H5 have twelve bits and share a byte.
static const uint16_t T1 = 27504, T2 = 26435;
static const int16_t T3 = -1000;
static const uint8_t H1 = 75, H3 = 0;
static const int16_t H2 = 370, H4 = 313, H5 = 50;
static const int8_t H6 = 30;

static void put_word(bme280_chip *chip, uint8_t at, uint16_t value)
{
    chip->registers[at] = (uint8_t)value;
    chip->registers[at + 1] = (uint8_t)(value >> 8);
}

static void put_results(bme280_chip *chip, int32_t temperature, int32_t humidity)
{
    chip->registers[TEMPERATURE] = (uint8_t)(temperature >> 12);
    chip->registers[TEMPERATURE + 1] = (uint8_t)(temperature >> 4);
    chip->registers[TEMPERATURE + 2] = (uint8_t)(temperature << 4);
    chip->registers[HUMIDITY] = (uint8_t)(humidity >> 8);
    chip->registers[HUMIDITY + 1] = (uint8_t)humidity;
}

static double fine_temperature(double raw)
{
    double offset = raw / 131072.0 - T1 / 8192.0;
    return (raw / 16384.0 - T1 / 1024.0) * T2 + offset * offset * T3;
}

static double percent(double fine, double raw)
{
    double h = fine - 76800.0;
    h = (raw - (H4 * 64.0 + H5 / 16384.0 * h)) *
        (H2 / 65536.0 * (1.0 + H6 / 67108864.0 * h * (1.0 + H3 / 67108864.0 * h)));
    return h * (1.0 - H1 * h / 524288.0);
}

// Both formulas rise with the raw value: halve the interval until the value is found.
static void measure(bme280_chip *chip)
{
    int32_t low = 0, high = (1 << 20) - 1;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (fine_temperature(middle) / 51.2 < chip->feels->temperature_centi)
            low = middle + 1;
        else
            high = middle;
    }
    int32_t temperature = low;
    double fine = fine_temperature(temperature);
    low = 0, high = (1 << 16) - 1;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (percent(fine, middle) * 100.0 < chip->feels->humidity_centi)
            low = middle + 1;
        else
            high = middle;
    }
    put_results(chip, temperature, low);
}

static void finish_measurement(bme280_chip *chip, uint64_t now_us)
{
    if (chip->measuring && now_us >= chip->ready_us) {
        chip->measuring = false;
        chip->registers[STATUS] = 0;
        measure(chip);
    }
}

static bool bme280_select(i2c_chip *bus, bool reading, uint64_t now_us)
{
    bme280_chip *chip = (bme280_chip *)bus;
    finish_measurement(chip, now_us);
    chip->registers[REGISTER_ID] = chip->feels->garbled ? BMP280_ID : ID;
    chip->naming = !reading;
    return !chip->feels->failed;
}

static void write_register(bme280_chip *chip, uint8_t at, uint8_t value, uint64_t now_us)
{
    if (at != CONTROL && at != CONTROL_HUMIDITY)
        return;
    chip->registers[at] = value;
    // One measurement, of temperature once and humidity once; of humidity as it was set before.
    bool forced = at == CONTROL && ((value & 3) == 1 || (value & 3) == 2);
    if (forced && value >> 5 == 1 && chip->registers[CONTROL_HUMIDITY] == 1) {
        chip->measuring = true;
        chip->registers[STATUS] = 0x08;
        chip->ready_us = now_us + MEASURE_US;
    }
}

static void bme280_write(i2c_chip *bus, uint8_t byte, uint64_t now_us)
{
    bme280_chip *chip = (bme280_chip *)bus;
    if (chip->naming)
        chip->at = byte;
    else
        write_register(chip, chip->at, byte, now_us);
    // Register and value come in pairs.
    chip->naming = !chip->naming;
}

static uint8_t bme280_read(i2c_chip *bus)
{
    bme280_chip *chip = (bme280_chip *)bus;
    return chip->registers[chip->at++];
}

void bme280_init(bme280_chip *chip, int channel, uint8_t address, const feeling *feels)
{
    *chip = (bme280_chip){.bus = {channel, address, bme280_select, bme280_write, bme280_read}, .feels = feels};
    put_word(chip, 0x88, T1);
    put_word(chip, 0x8A, T2);
    put_word(chip, 0x8C, (uint16_t)T3);
    chip->registers[0xA1] = H1;
    put_word(chip, 0xE1, (uint16_t)H2);
    chip->registers[0xE3] = H3;
    chip->registers[0xE4] = (uint8_t)(H4 >> 4);
    chip->registers[0xE5] = (uint8_t)((H4 & 0xF) | (H5 & 0xF) << 4);
    chip->registers[0xE6] = (uint8_t)(H5 >> 4);
    chip->registers[0xE7] = (uint8_t)H6;
    // What the results are before the first measurement.
    put_results(chip, 0x80000, 0x8000);
}
