#include "pcf8574_chip.h"

#include <stdio.h>

static bool pcf8574_select(i2c_chip *bus, bool reading, uint64_t now_us)
{
    (void)reading;
    (void)now_us;
    return !((pcf8574_chip *)bus)->feels->failed;
}

static void pcf8574_write(i2c_chip *bus, uint8_t byte, uint64_t now_us)
{
    (void)now_us;
    pcf8574_chip *chip = (pcf8574_chip *)bus;
    if (chip->levels != byte)
        printf("pcf8574 0x%02X\n", byte);
    chip->levels = byte;
}

static uint8_t pcf8574_read(i2c_chip *bus)
{
    return ((pcf8574_chip *)bus)->levels;
}

void pcf8574_init(pcf8574_chip *chip, int channel, uint8_t address, const feeling *feels)
{
    *chip = (pcf8574_chip){
        .bus = {channel, address, pcf8574_select, pcf8574_write, pcf8574_read}, .feels = feels, .levels = 0xFF};
}
