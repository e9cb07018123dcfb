#include "board.h"

#include <avr_extint.h>
#include <stdio.h>
#include <string.h>

void board_attach(board *all, avr_t *avr)
{
    all->chips = 0;
    // Nobody uses the interrupts of D2 and D3; simavr would look at them in every cycle in which they are low.
    avr_extint_set_strict_lvl_trig(avr, 0, 0);
    avr_extint_set_strict_lvl_trig(avr, 1, 0);
    i2c_wires_attach(&all->i2c, avr);
    general_pins_attach(&all->pins, avr);
    fans_attach(&all->fans, avr);
    for (int i = 0; i < MAX_CHIPS; i++)
        all->feels[i] = ROOM;
}

static bool add_i2c(board *all, const char *kind, int channel, int address)
{
    int at = all->chips;
    const feeling *feels = &all->feels[at];
    i2c_chip *chip = NULL;
    if (strcmp(kind, "sht31") == 0) {
        sht31_init(&all->sht31[at], channel, (uint8_t)address, feels);
        chip = &all->sht31[at].bus;
    } else if (strcmp(kind, "bme280") == 0) {
        bme280_init(&all->bme280[at], channel, (uint8_t)address, feels);
        chip = &all->bme280[at].bus;
    } else if (strcmp(kind, "pcf8574") == 0) {
        pcf8574_init(&all->pcf8574[at], channel, (uint8_t)address, feels);
        chip = &all->pcf8574[at].bus;
    }
    return chip && i2c_wires_add(&all->i2c, chip);
}

static bool add_ds18b20(board *all, int pin, uint64_t serial)
{
    ds18b20_line *line = &all->lines[pin - 1];
    if (!all->has_line[pin - 1] && !ds18b20_line_init(line, &all->pins, pin))
        return false;
    all->has_line[pin - 1] = true;
    return ds18b20_line_add(line, serial, &all->feels[all->chips]);
}

// Whether the whole of `place` was read.
static bool ends(const char *place, int end)
{
    return end > 0 && place[end] == '\0';
}

static bool add_at(board *all, const char *kind, const char *place)
{
    int channel = 0, address = 0, pin = 0, end = 0;
    unsigned long long serial = 0;
    if (sscanf(place, "0x%2x%n", (unsigned *)&address, &end) == 1 && ends(place, end))
        return add_i2c(all, kind, 0, address);
    end = 0;
    if (sscanf(place, "ch%1d/0x%2x%n", &channel, (unsigned *)&address, &end) == 2 && ends(place, end))
        return channel < 8 && add_i2c(all, kind, FIRST_CHANNEL + channel, address);
    end = 0;
    if (sscanf(place, "pin%1d/%12llx%n", &pin, &serial, &end) == 2 && ends(place, end))
        return strcmp(kind, "ds18b20") == 0 && pin >= 1 && pin <= GENERAL_PINS && add_ds18b20(all, pin, serial);
    end = 0;
    if (sscanf(place, "pin%1d%n", &pin, &end) == 1 && ends(place, end))
        return strcmp(kind, "dht22") == 0 && pin >= 1 && pin <= GENERAL_PINS &&
               dht22_init(&all->dht22[pin - 1], &all->pins, pin, &all->feels[all->chips]);
    return false;
}

bool board_add(board *all, const char *chip)
{
    char kind[16];
    int end = 0;
    if (all->chips == MAX_CHIPS || sscanf(chip, "%15[a-z0-9]@%n", kind, &end) != 1 || end == 0 ||
        !add_at(all, kind, chip + end))
        return false;
    all->chips++;
    return true;
}

void board_hang(board *all)
{
    // "rjmp .-2", a jump to itself, in the last word of the flash, where a boot loader would be.
    avr_t *avr = all->i2c.avr;
    avr->flash[avr->flashend - 1] = 0xFF;
    avr->flash[avr->flashend] = 0xCF;
    avr->pc = avr->flashend - 1;
    avr->state = cpu_Running;
}

void board_service(board *all)
{
    general_pins_service(&all->pins);
    fans_service(&all->fans);
}

bool board_add_probes(board *all, int probes, bool direct)
{
    for (int i = 0; i < probes; i++) {
        if (!add_i2c(all, "sht31", direct ? 0 : FIRST_CHANNEL + i, direct ? 0x44 + i : 0x44))
            return false;
        all->chips++;
    }
    return true;
}
